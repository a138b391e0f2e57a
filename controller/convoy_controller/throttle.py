"""How often each of many callers may do something: a token bucket each, in bounded memory. Reads no clock."""

from __future__ import annotations

from collections import OrderedDict

#: Callers remembered; the one heard of longest ago is forgotten first.
MOST_CALLERS = 10_000


class Throttle:
    """`burst` at once, and `rate_per_s` from then on, for each caller. `now` is in seconds of one monotonic clock."""

    def __init__(self, burst: float, rate_per_s: float, most_callers: int = MOST_CALLERS) -> None:
        self._burst = float(burst)
        self._rate_per_s = rate_per_s
        self._most_callers = most_callers
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, caller: str, now: float) -> float:
        """Count one more; 0 if it may be, else the seconds until one may."""
        left, since = self._buckets.pop(caller, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate_per_s)
        wait_s = 0.0 if left >= 1.0 else (1.0 - left) / self._rate_per_s
        self._buckets[caller] = (left if wait_s else left - 1.0, now)
        if len(self._buckets) > self._most_callers:
            self._buckets.popitem(last=False)
        return wait_s
