"""What the database's thread takes for each record of a kind, and for a transaction.

A fleet is deployed in virtual time whose controller writes everything into a real SQLite, and each piece of that is
timed. `calibration` writes it down.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from convoy_controller.database.engine import Database
from convoy_controller.database.recorder import Recorder
from convoy_controller.database.records import SavedGeneration

from convoy_simulator.costs import Records, calibration
from convoy_simulator.sizing import Question, estimate

#: The recorder's methods, and the kinds that `Records` has them under.
_KINDS = {
    "record_presence": "presence",
    "record_capability": "capability",
    "record_desired": "desired",
    "record_reported": "reported",
    "record_pulse": "pulse",
    "record_gateway_reported": "gateway",
    "record_symptom": "symptom",
    "end_symptom": "symptom",
    "record_event": "event",
}


class Times:
    """Seconds by kind, and how many records they were for; `ends` are seconds of transactions beside their records."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.counted: Counter[str] = Counter()
        self.ends: list[float] = []

    def add(self, kind: str, seconds: float, count: int = 1) -> None:
        """So many records of a kind took so long."""
        self.seconds[kind] += seconds  # type: ignore[assignment]
        self.counted[kind] += count

    def costs(self) -> dict[str, float]:
        """Seconds each, of every kind of which there were some."""
        return {kind: self.seconds[kind] / count for kind, count in self.counted.items() if count}


class TimedRecorder(Recorder):
    """Writes as the controller does. What a record leaves to be written by the transaction's end is written with it, so
    that its kind is charged for it.
    """

    times = Times()

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._saved: set[tuple[str, Any]] = set()
        for method, kind in _KINDS.items():
            setattr(self, method, self._timed(getattr(self, method), kind))

    def _timed(self, write: Any, kind: str) -> Any:
        def timed(*arguments: Any, **how: Any) -> Any:
            with self._charged(kind):
                return write(*arguments, **how)

        return timed

    @contextlib.contextmanager
    def _charged(self, kind: str, count: int = 1) -> Iterator[None]:
        began = time.thread_time()
        with super().transaction():
            yield
            if self._session is not None:
                self._session.flush()
        self.times.add(kind, time.thread_time() - began, count)

    def save_generation(self, placement: SavedGeneration) -> None:
        """See `Recorder`."""
        key = placement.deployment, placement.generation
        kind = "placement_again" if key in self._saved else "placement"
        self._saved.add(key)
        with self._charged(kind, len(placement.assignments)):
            super().save_generation(placement)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """See `Recorder`."""
        if self._session is not None:
            with super().transaction():
                yield
            return
        before = sum(self.times.seconds.values())
        began = time.thread_time()
        with super().transaction():
            yield
        inside = sum(self.times.seconds.values()) - before
        self.times.ends.append(time.thread_time() - began - inside)


def measured(boards: int = 300) -> Records:
    """Deploy twice onto so many boards; seconds of each kind, to the microsecond. What never came keeps its figure.

    What a transaction does for all of its records at its end is charged to them, in proportion.
    """
    TimedRecorder.times = times = Times()
    estimate(Question(boards, scenario="replace", hours=0.02, per_deployment=100), recorder=TimedRecorder)
    records_s = sum(times.seconds.values())
    least_s = min(times.ends)
    end_s = max(0.0, sum(times.ends) - least_s * len(times.ends))
    found = {kind: seconds * (1 + end_s / records_s) for kind, seconds in times.costs().items()}
    found["transaction"] = least_s
    before = dataclasses.asdict(calibration().records)
    return Records(**{kind: round(found.get(kind, before[kind]), 6) for kind in before})
