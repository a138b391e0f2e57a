"""How long an answer may take before it counts as lost, by how long answers took: RFC 6298's arithmetic.

Durations in seconds; the clock is the caller's.
"""

from __future__ import annotations

#: Beyond this many sendings in vain the wait doubles no more: no ceiling is above a thousand times a floor.
MOST_DOUBLINGS = 10


class RoundTrip:
    """Smoothed round-trip time and the timeout that follows from it: srtt + 4 rttvar as TCP reckons it, or 2 srtt.

    What is answered queues behind what else is: with more of it under way a round trip doubles and nothing is lost. A
    timeout close above a steady round trip would send it again, and the repeats would lengthen it further.

    `first_s` is the timeout before anything was measured; none is below `floor_s` or above `ceiling_s`. Only what was
    sent once, or has an id for each sending, is a sample (Karn's rule).
    """

    def __init__(self, first_s: float, floor_s: float, ceiling_s: float) -> None:
        self._first_s = first_s
        self._floor_s = floor_s
        self._ceiling_s = ceiling_s
        self._smoothed: float | None = None
        self._variation = 0.0

    def observe(self, sample: float) -> None:
        """Take in one measured round trip."""
        if self._smoothed is None:
            self._smoothed, self._variation = sample, sample / 2
            return
        self._variation += (abs(sample - self._smoothed) - self._variation) / 4
        self._smoothed += (sample - self._smoothed) / 8

    def timeout(self, attempts: int = 0) -> float:
        """Seconds to wait for an answer after `attempts` earlier ones went unanswered: doubled for each."""
        base = self._first_s
        if self._smoothed is not None:
            base = max(self._floor_s, self._smoothed + max(self._smoothed, 4 * self._variation))
        return min(self._ceiling_s, base * 2.0 ** min(attempts, MOST_DOUBLINGS))
