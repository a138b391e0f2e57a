"""Two measurements of the gateway's core: recent latencies, and how many rows are answered a second.

Pure arithmetic over durations in seconds; the clock is the caller's.
"""

from __future__ import annotations

from collections import deque


class RecentLatency:
    """The last `size` latencies, and their quantiles."""

    def __init__(self, size: int = 1024) -> None:
        self._recent: deque[float] = deque(maxlen=size)

    def add(self, seconds: float) -> None:
        """Take in one latency; the oldest makes room."""
        self._recent.append(seconds)

    def quantiles_us(self) -> tuple[int, int]:
        """(p50, p99) in microseconds; zeros before the first."""
        if not self._recent:
            return 0, 0
        ordered = sorted(self._recent)
        last = len(ordered) - 1
        return int(ordered[last // 2] * 1e6), int(ordered[min(last, int(len(ordered) * 0.99))] * 1e6)


class Rate:
    """Rows answered a second, smoothed over about a second."""

    def __init__(self) -> None:
        self._rate = 0.0
        self._rows = 0
        self._since: float | None = None

    def add(self, rows: int, now: float) -> None:
        """Take in `rows` answered at `now`."""
        if self._since is None:
            self._since = now
        self._rows += rows
        elapsed = now - self._since
        if elapsed >= 0.2:
            fresh = self._rows / elapsed
            weight = min(1.0, elapsed) if self._rate else 1.0
            self._rate += weight * (fresh - self._rate)
            self._rows, self._since = 0, now

    def wait_s(self, rows: int) -> float:
        """How long `rows` will take at this rate; a second each while nothing is known: the first few will tell."""
        return rows / (self._rate or 1.0)

    def seconds_for(self, rows: int) -> float:
        """How long `rows` will take at this rate, between 0.05 and 5 s; 1 s while nothing is known."""
        return min(5.0, max(0.05, rows / self._rate)) if self._rate else 1.0
