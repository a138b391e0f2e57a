"""One stage of one generation: which frames it takes, what it computes, what goes on to whom. No I/O, no clock.

This is the hot path: all that can be looked up beforehand is. The executor decides in which thread a stage computes.
"""

from __future__ import annotations

import statistics
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from convoy_schema import framing
from convoy_schema.frames import Frame, TensorData, choose
from convoy_schema.layers import Prepared
from convoy_schema.messages.boards import StagePulse
from convoy_schema.topics import FrameTopic, Topics
from convoy_schema.topology import Kind
from numpy.typing import NDArray

from convoy_device.fabric import Runnable
from convoy_device.fabric.processor import Processor
from convoy_device.verification import StagePlan

Array = NDArray[np.int8]
#: Runs one layer, or a whole network; the kinds are those of the layers after it, round and round.
RunWork = Callable[[Runnable, Sequence[Array], Sequence[Kind]], Array]

#: Frames whose residence is remembered for the median of a pulse.
_RESIDENCES = 1024
#: Receivers whose topics are remembered; gateways may come and go without end.
_TOPICS = 256


class Job(NamedTuple):
    """A frame accepted at `arrived` (monotonic seconds)."""

    frame: Frame
    rows: int
    arrived: float


#: A layer or network, the tensors it takes and the one it makes, and the kinds that the fabric runs after it; None
#: instead of them for a layer on the processor.
_Step = tuple[Runnable, Sequence[str], str, tuple[Kind, ...] | None]


class Stage:
    """The layers of one assignment, prepared (or its network as a whole), with the frames that wait for them.

    Those that the assignment leaves to the processor run on `processor`, in their turn.
    """

    def __init__(
        self,
        plan: StagePlan,
        works: Sequence[Runnable],
        board: str,
        topics: Topics,
        most_queued: int = 4096,
        processor: Processor | None = None,
    ) -> None:
        assignment = plan.assignment
        self.plan = plan
        self.key = plan.key
        own = frozenset(assignment.processor)
        #: What the fabric runs, in order.
        self.kinds = tuple(work.kind for work in works if isinstance(work, Prepared) and work.name not in own)
        #: Seconds a row takes, averaged over the latest frames; None until one was computed.
        self.row_s: float | None = None
        #: Frames refused, by reason.
        self.refused: Counter[str] = Counter()
        self._assignment = assignment
        #: Frames that may wait: the assignment's share, within what the board can hold.
        self._room = min(assignment.queue_frames, most_queued)
        self._board = board
        self._topics = topics
        self._topic_to: dict[str, str] = {}
        self._deployment = assignment.intent.deployment
        #: The latest topic whose generation is ours: the same object comes again and again.
        self._known_topic: FrameTopic | None = None
        self._senders = frozenset(assignment.previous)
        self._shapes = {name: plan.topology.tensor(name).shape for name in plan.takes}
        self._sizes = {name: plan.topology.tensor(name).size for name in plan.takes}
        self._processor = processor or Processor()
        self._steps = tuple(_steps(works, self.kinds, own))
        self._queue: deque[Job] = deque()
        self._residences: deque[int] = deque(maxlen=_RESIDENCES)
        self._frames = self._rows = self._busy_us = 0

    def accept(self, topic: FrameTopic, frame: Frame, now: float) -> str:
        """Queue `frame`, or say why not: generation, stage, sender, shape, budget or queue; '' when it was taken."""
        reason, rows = self._check(topic, frame)
        if reason:
            self.refused[reason] += 1
            return reason
        self._queue.append(Job(frame, rows, now))
        return ""

    def _check(self, topic: FrameTopic, frame: Frame) -> tuple[str, int]:
        assignment = self._assignment
        # Attribute by attribute: comparing the dataclasses would cost as much as all the rest of this.
        generation, own = frame.generation, assignment.generation
        if (
            generation.counter != own.counter
            or generation.epoch != own.epoch
            or frame.deployment != self._deployment
            or (topic is not self._known_topic and topic.generation != own)
        ):
            return "generation", 0
        if frame.stage != assignment.stage or topic.stage != assignment.stage:
            return "stage", 0
        self._known_topic = topic
        if topic.sender not in self._senders if self._senders else topic.sender != frame.gateway:
            return "sender", 0
        rows = self._count_rows(frame)
        if not rows:
            return "shape", 0
        if frame.budget_ms <= 0:
            return "budget", 0
        if len(self._queue) >= self._room:
            return "queue", 0
        return "", rows

    def _count_rows(self, frame: Frame) -> int:
        """Rows of the batch, 0 unless every tensor is there once, int8, of its shape and of as many rows."""
        tensors = frame.tensors
        if len(tensors) != len(self._shapes):
            return 0
        rows = tensors[0].shape[0] if tensors[0].shape else 0
        if rows > self._assignment.batch_rows:
            return 0
        seen = set()
        for tensor in tensors:
            name = tensor.name
            shape = self._shapes.get(name)
            if (
                shape is None
                or name in seen
                or tensor.shape != (rows, *shape)
                or tensor.dtype != "int8"
                or len(tensor.data) != rows * self._sizes[name]
            ):
                return 0
            seen.add(name)
        return rows

    def next(self, now: float) -> Job | None:
        """The frame to compute now; those whose budget ran out while they waited are refused."""
        while self._queue:
            job = self._queue.popleft()
            if job.frame.budget_ms > (now - job.arrived) * 1000:
                return job
            self.refused["budget"] += 1
        return None

    def compute(self, job: Job, run: RunWork) -> tuple[TensorData, ...]:
        """The tensors that leave the stage; those that only pass through are sent on as they came."""
        frame = job.frame
        values: dict[str, Array] = {
            tensor.name: np.frombuffer(tensor.data, np.int8).reshape(tensor.shape) for tensor in frame.tensors
        }
        self.forward(values, run)
        passing = {tensor.name: tensor for tensor in frame.tensors}
        return tuple(
            [
                passing[name] if name in passing else TensorData(name, values[name].shape, values[name].tobytes())
                for name in self.plan.gives
            ]
        )

    def forward(self, values: dict[str, Array], run: RunWork) -> None:
        """Add every tensor that the stage makes to `values`, each (rows, *shape)."""
        for work, inputs, output, upcoming in self._steps:
            arrays = [values[name] for name in inputs]
            values[output] = self._processor.run(work, arrays) if upcoming is None else run(work, arrays, upcoming)

    def outgoing(self, job: Job, tensors: tuple[TensorData, ...], now: float) -> tuple[str, bytes]:
        """Topic and payload of what leaves at `now`; raises `TooLargeError`."""
        frame, assignment = job.frame, self._assignment
        residence_us = int((now - job.arrived) * 1e6)
        receiver = choose(frame.batch, assignment.next).board if assignment.next else frame.gateway
        payload = framing.encode(
            Frame(
                frame.deployment,
                frame.generation,
                frame.stage + 1,
                frame.gateway,
                frame.batch,
                frame.requests,
                max(0.0, frame.budget_ms - residence_us / 1000),
                tensors,
                (*frame.residence_us, residence_us),
            )
        )
        return self._topic_of(receiver), payload

    def _topic_of(self, receiver: str) -> str:
        topic = self._topic_to.get(receiver)
        if topic is None:
            if len(self._topic_to) >= _TOPICS:
                self._topic_to.clear()
            assignment = self._assignment
            topic = self._topic_to[receiver] = self._topics.frame(
                self._board, receiver, assignment.intent.deployment, assignment.generation, assignment.stage + 1
            )
        return topic

    def computed(self, job: Job, busy_s: float, now: float) -> None:
        """Account for a frame that took `busy_s` and left at `now`."""
        self._frames += 1
        self._rows += job.rows
        self._busy_us += int(busy_s * 1e6)
        self._residences.append(int((now - job.arrived) * 1e6))
        row_s = busy_s / job.rows
        self.row_s = row_s if self.row_s is None else 0.8 * self.row_s + 0.2 * row_s

    @property
    def queued(self) -> int:
        """Frames that wait."""
        return len(self._queue)

    @property
    def credits(self) -> int:
        """Frames that it would still take."""
        return max(0, self._room - len(self._queue))

    def expected_s(self) -> float:
        """Seconds that the frame at the head should take; endless while nothing is known."""
        return float("inf") if self.row_s is None or not self._queue else self.row_s * self._queue[0].rows

    def pulse(self) -> StagePulse:
        """Figures since the start, and the median residence since the last pulse."""
        residence_us = int(statistics.median(self._residences)) if self._residences else 0
        self._residences.clear()
        return StagePulse(
            deployment=self._assignment.intent.deployment,
            generation=self._assignment.generation,
            frames=self._frames,
            rows=self._rows,
            queued=self.queued,
            credits=self.credits,
            busy_us=self._busy_us,
            residence_us=residence_us,
            refused=dict(self.refused),
        )


def _steps(works: Sequence[Runnable], kinds: tuple[Kind, ...], own: frozenset[str]) -> Iterator[_Step]:
    """The steps of `works`, of which the fabric runs `kinds` and the processor those named in `own`."""
    done = 0
    for work in works:
        if work.name in own:
            yield work, work.takes, work.gives, None
            continue
        done += 1
        yield work, work.takes, work.gives, tuple(kinds[(done + ahead) % len(kinds)] for ahead in range(len(kinds)))
