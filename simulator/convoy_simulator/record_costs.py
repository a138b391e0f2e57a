"""What the database's thread takes for each record of a kind, and for a transaction.

A fleet is deployed in virtual time whose controller writes everything into a real SQLite, and each piece of that is
timed. `calibration` writes it down.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from convoy_simulator.costs import Records, calibration
from convoy_simulator.recorders import KindRecorder
from convoy_simulator.sizing import Question, estimate


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


class TimedRecorder(KindRecorder):
    """Writes as the controller does. What a record leaves to be written by the transaction's end is written with it, so
    that its kind is charged for it.
    """

    times = Times()

    def write(self, kind: str, count: int, record: Callable[..., Any], *arguments: Any, **how: Any) -> Any:
        """See `KindRecorder`."""
        began = time.thread_time()
        with super().transaction():
            written = record(*arguments, **how)
            if self._session is not None:
                self._session.flush()
        self.times.add(kind, time.thread_time() - began, count)
        return written

    @contextlib.contextmanager
    def transaction(self, reign: int | None = None) -> Iterator[None]:
        """See `Recorder`."""
        if self._session is not None:
            with super().transaction():
                yield
            return
        before = sum(self.times.seconds.values())
        began = time.thread_time()
        with super().transaction(reign):
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
