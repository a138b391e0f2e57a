"""Frames that are out: which batch went under which id and generation, how many, and how long answers take.

Bookkeeping for one `lane`, which makes the decisions. An id given up stays known, so that a late answer counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from convoy_schema.frames import Frame
from convoy_schema.messages.gateways import InFlight
from convoy_schema.names import Generation
from convoy_schema.round_trip import RoundTrip

from convoy_controller.gateway.batches import Batch

#: How often abandoned batch ids are gone through, and how many are kept at most.
SWEEP_S = 1.0
MAX_ABANDONED = 4096
#: Seconds until a frame counts as lost: before anything was measured (long enough for a board to swap its modules for a
#: first batch), at least and at most.
FIRST_TIMEOUT_S = 1.0
FLOOR_S = 0.2
CEILING_S = 8.0


def _round_trip() -> RoundTrip:
    return RoundTrip(FIRST_TIMEOUT_S, FLOOR_S, CEILING_S)


@dataclass(slots=True)
class Sending:
    """A batch under one id and one generation; `due` is when it counts as lost."""

    batch: Batch
    rows: int
    generation: Generation
    stages: int
    sent_at: float
    due: float

    def refusal(self, frame: Frame) -> str:
        """Why `frame` cannot be its answer; '' when it can."""
        if frame.generation != self.generation:
            return "generation"
        if frame.stage != self.stages:
            return "stage"
        return self.batch.contract.refusal(frame, self.rows)


@dataclass(slots=True)
class _Flow:
    """One generation: frames in flight, and their round trips."""

    frames: int = 0
    trip: RoundTrip = field(default_factory=_round_trip)


class Flights:
    """Every sending of one deployment that may still be answered."""

    def __init__(self) -> None:
        self._flows: dict[Generation, _Flow] = {}
        self._out: dict[int, Sending] = {}
        self._abandoned: dict[int, Sending] = {}
        self._next_sweep = 0.0
        self._serving: Generation | None = None

    def __len__(self) -> int:
        return len(self._out)

    def __iter__(self) -> Iterator[tuple[int, Sending]]:
        """(batch counter, sending) of everything in flight now, the oldest first; may be changed meanwhile."""
        return iter(list(self._out.items()))

    def serve(self, generation: Generation | None) -> None:
        """New frames go under `generation`; others are forgotten as soon as nothing of theirs is in flight."""
        self._serving = generation
        self._flows = {g: flow for g, flow in self._flows.items() if flow.frames or g == generation}
        if generation is not None:
            self._flows.setdefault(generation, _Flow())

    def frames(self, generation: Generation) -> int:
        """Frames in flight under `generation`."""
        flow = self._flows.get(generation)
        return flow.frames if flow is not None else 0

    def timeout(self, generation: Generation, attempts: int = 0) -> float:
        """Seconds to wait for an answer under `generation` after `attempts` that went unanswered."""
        flow = self._flows.get(generation)
        return (flow.trip if flow is not None else _round_trip()).timeout(attempts)

    def depart(self, counter: int, sending: Sending) -> None:
        """Note a sending; its generation is being served."""
        self._flows[sending.generation].frames += 1
        self._out[counter] = sending

    def find(self, counter: int) -> Sending | None:
        """What went under this id, if it may still be answered."""
        return self._out.get(counter) or self._abandoned.get(counter)

    def arrive(self, counter: int, now: float) -> bool:
        """The answer to this id is there; returns whether it was the last frame of a generation that serves no more."""
        sending = self._abandoned.pop(counter, None) or self._out[counter]
        flow = self._flows.get(sending.generation)
        if flow is not None:
            flow.trip.observe(now - sending.sent_at)
        return self._release(counter) if counter in self._out else False

    def abandon(self, counter: int) -> bool:
        """Await this id no longer; returns as `arrive` does. It stays known while some of its rows are unanswered."""
        sending = self._out[counter]
        if len(self._abandoned) >= MAX_ABANDONED:
            del self._abandoned[next(iter(self._abandoned))]
        self._abandoned[counter] = sending
        return self._release(counter)

    def sweep(self, now: float) -> None:
        """Forget abandoned ids whose rows are all answered or given up."""
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_S
            self._abandoned = {c: s for c, s in self._abandoned.items() if s.batch.unanswered()}

    def report(self) -> tuple[InFlight, ...]:
        """Frames awaited, by generation."""
        return tuple(InFlight(g, flow.frames) for g, flow in sorted(self._flows.items()) if flow.frames)[-64:]

    def _release(self, counter: int) -> bool:
        generation = self._out.pop(counter).generation
        flow = self._flows[generation]
        flow.frames -= 1
        if flow.frames or generation == self._serving:
            return False
        del self._flows[generation]
        return True
