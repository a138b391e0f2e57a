"""Durations counted by how long they took: what a monitoring system sums over time and over processes.

Pure counting: the clock is the caller's, and what is written out of it is `metrics`' business.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

#: Seconds of a request or a write: from a fifth of what one hop takes to what nobody waits for.
FAST_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
#: Seconds of a recovery: a board's loss is noticed in one to four, and staging is given up after sixty.
SLOW_S = (0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0)


class Histogram:
    """Counts of durations up to each of `bounds` (seconds, ascending) and beyond the last, and their sum."""

    __slots__ = ("bounds", "counts", "seconds")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """Take in one duration."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.seconds += seconds

    @property
    def count(self) -> int:
        """Durations taken in."""
        return sum(self.counts)

    def copy(self) -> Histogram:
        """As it is now."""
        same = Histogram(self.bounds)
        same.counts, same.seconds = list(self.counts), self.seconds
        return same
