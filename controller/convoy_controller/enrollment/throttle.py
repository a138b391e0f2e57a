"""How many requests one address may make of the enrolment service: a token bucket each, in bounded memory.

A listener that everyone reaches must not let one caller keep the CA's key and the database busy. Reads no clock.
"""

from __future__ import annotations

from collections import OrderedDict

#: Requests that an address may make at once, and each second from then on. A site's boards share an address, and may
#: all be started together.
BURST = 100.0
RATE_PER_S = 5.0
#: Addresses remembered; the one heard of longest ago is forgotten first.
MOST_ADDRESSES = 10_000


class Throttle:
    """The buckets. All methods take `now` in seconds of one monotonic clock."""

    def __init__(
        self, burst: float = BURST, rate_per_s: float = RATE_PER_S, most_addresses: int = MOST_ADDRESSES
    ) -> None:
        self._burst = burst
        self._rate_per_s = rate_per_s
        self._most_addresses = most_addresses
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, address: str, now: float) -> float:
        """Count a request; 0 if it may be answered, else the seconds until one may be."""
        left, since = self._buckets.pop(address, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate_per_s)
        wait_s = 0.0 if left >= 1.0 else (1.0 - left) / self._rate_per_s
        self._buckets[address] = (left if wait_s else left - 1.0, now)
        if len(self._buckets) > self._most_addresses:
            self._buckets.popitem(last=False)
        return wait_s
