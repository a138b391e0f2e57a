"""Frames through stages: takes them off the wire, computes them in the order they came, sends what comes out.

A short stage computes at once in the event loop, a long one in the fabric's lane, so that pulses and pings go on. The
fabric belongs to one job at a time: while the lane configures or tests, frames wait in their stages' queues.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import Counter, deque
from collections.abc import Callable

from convoy_schema import framing
from convoy_schema.errors import ConvoyError, DecodeError, TopicError
from convoy_schema.frames import TensorData
from convoy_schema.names import Generation
from convoy_schema.topics import FrameTopic, Topics

from convoy_device.lane import Lane
from convoy_device.modules import Modules
from convoy_device.stage import Job, RunWork, Stage

#: The tensors of a frame, when computing them began and when it ended (monotonic seconds).
Outcome = tuple[tuple[TensorData, ...], float, float]

log = logging.getLogger(__name__)

#: A frame that should take as many seconds goes to a thread.
INLINE_S = 0.005
#: Topics remembered with their stage; senders are few, and what nobody sends stays out.
_ROUTES = 4096


class Executor:
    """The live stages of one board; every method is called from the event loop's thread.

    `send` takes topic and payload and says whether they went out; `clock` gives monotonic seconds. A frame that should
    take `inline_s` or more computes in the lane; 0 sends all of them there.
    """

    def __init__(
        self,
        board: str,
        topics: Topics,
        lane: Lane,
        modules: Modules,
        send: Callable[[str, bytes], bool],
        clock: Callable[[], float],
        inline_s: float = INLINE_S,
    ) -> None:
        self._board = board
        self._topics = topics
        self._lane = lane
        self._modules = modules
        self._send = send
        self._clock = clock
        self._inline_s = inline_s
        self._stages: dict[tuple[str, Generation], Stage] = {}
        #: How the layers of what is live reach the fabric.
        self._runs: dict[Stage, RunWork] = {}
        self._routes: dict[str, tuple[FrameTopic, Stage]] = {}
        self._order: deque[Stage] = deque()
        self._is_scheduled = False
        #: Frames that reached no stage, by reason.
        self.refused: Counter[str] = Counter()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What is live."""
        return tuple(self._stages.values())

    def activate(self, stage: Stage) -> None:
        """Let frames of its generation in."""
        self._routes.clear()
        self._runs.pop(self._stages.get(stage.key, stage), None)
        self._stages[stage.key] = stage
        self._runs[stage] = self._run_of(stage)
        self._modules.use(stage.key, stage.kinds)

    def deactivate(self, key: tuple[str, Generation]) -> None:
        """Refuse its frames from now on; those that wait are dropped, as their generation is."""
        self._routes.clear()
        stage = self._stages.pop(key, None)
        if stage is not None:
            del self._runs[stage]
            self.refused["generation"] += stage.queued
            self._modules.release(key)

    def take(self, topic: str, payload: bytes) -> None:
        """A frame from the wire; computed before this returns if nothing is in its way."""
        found = self._routes.get(topic) or self._route(topic)
        if found is None:
            return
        address, stage = found
        try:
            frame = framing.decode(payload)
        except DecodeError as error:
            self.refused["frame"] += 1
            log.warning("%s: frame on %s: %s", self._board, topic, error)
            return
        now = self._clock()
        if not stage.accept(address, frame, now):
            self._order.append(stage)
            if not self._is_scheduled:
                self._advance(now)

    def _route(self, topic: str) -> tuple[FrameTopic, Stage] | None:
        try:
            address = self._topics.parse(topic)
        except TopicError as error:
            self.refused["topic"] += 1
            log.warning("%s: %s", self._board, error)
            return None
        if not isinstance(address, FrameTopic) or address.receiver != self._board:
            self.refused["topic"] += 1
            return None
        stage = self._stages.get((address.deployment, address.generation))
        if stage is None:
            self.refused["generation"] += 1
            return None
        if len(self._routes) >= _ROUTES:
            self._routes.clear()
        found = self._routes[topic] = address, stage
        return found

    def pump(self) -> None:
        """Compute the next frame, if the fabric is free."""
        self._is_scheduled = False
        self._advance(self._clock())

    def _advance(self, now: float) -> None:
        while self._order and not self._lane.is_busy:
            stage = self._order.popleft()
            run = self._runs.get(stage)
            if run is None:
                continue
            expected_s = stage.expected_s()
            job = stage.next(now)
            if job is None:
                continue
            if expected_s >= self._inline_s:
                self._lane.submit(
                    functools.partial(self._compute, stage, job, run), functools.partial(self._computed, stage, job)
                )
                return
            try:
                outcome = self._compute(stage, job, run)
            except Exception as error:  # as in a lane: whatever a layer raises costs its frame and nothing else
                self._computed(stage, job, None, error)
            else:
                self._computed(stage, job, outcome, None)
            if self._order:
                # One frame a turn: the loop reads and answers pings in between.
                self._is_scheduled = True
                asyncio.get_running_loop().call_soon(self.pump)
            return

    def _compute(self, stage: Stage, job: Job, run: RunWork) -> Outcome:
        """In whichever thread has the fabric: the tensors, when it began and when it ended."""
        began = self._clock()
        tensors = stage.compute(job, run)
        return tensors, began, self._clock()

    def _run_of(self, stage: Stage) -> RunWork:
        images = stage.plan.images
        if not images:
            return self._modules.run_in_place
        run = self._modules.run
        return lambda layer, inputs, upcoming: run(layer, inputs, images, upcoming)

    def _computed(
        self,
        stage: Stage,
        job: Job,
        outcome: Outcome | None,
        error: BaseException | None,
    ) -> None:
        if stage not in self._runs:
            return  # the generation went away while it was computed: nothing of it leaves any more
        if outcome is None:
            reason = error.code if isinstance(error, ConvoyError) else "compute"
            stage.refused[reason] += 1
            log.error("%s: a frame of %s %s: %s", self._board, *stage.key, error, exc_info=_trace(error))
            return
        tensors, began, ended = outcome
        now = self._clock()
        try:
            topic, payload = stage.outgoing(job, tensors, now)
            sent = self._send(topic, payload)
        except ConvoyError as refused:
            stage.refused[refused.code] += 1
            log.error("%s: a frame of %s %s: %s", self._board, *stage.key, refused)
            return
        stage.computed(job, ended - began, now)
        if not sent:
            stage.refused["link"] += 1


def _trace(error: BaseException | None) -> BaseException | None:
    return None if isinstance(error, ConvoyError) else error
