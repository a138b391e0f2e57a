"""How long to wait, at most, before the next attempt to connect. Time is handed in, chance is the link's own.

The bound is as long as the broker has been away: one that was gone for a second is found again within the next, and one
that stays away is asked ever more rarely. (To double the bound with each attempt makes whoever drew short waits ask
often at first and then sleep through the broker's return.)
"""

from __future__ import annotations

#: Seconds: first and longest bound of the random wait. A thousand boards make two hundred attempts a second; for those
#: that are few, and that requests wait for, it is `FEW_MOST_S`.
BACKOFF_FIRST_S = 0.5
BACKOFF_MOST_S = 10.0
FEW_MOST_S = 2.0
#: Seconds: connections that were accepted and ended sooner make the waits between them grow.
STABLE_S = 1.0
_MOST_DOUBLINGS = 10


class Backoff:
    """The waits of one link, whose first attempt is at `now` (monotonic seconds, as everywhere here)."""

    def __init__(self, most_s: float, now: float) -> None:
        self._most_s = most_s
        self._away_since = now
        self._brief = 0

    def ended(self, began: float, now: float) -> None:
        """A connection that was accepted, and began at `began`, has ended."""
        self._brief = 0 if now - began > STABLE_S else min(self._brief + 1, _MOST_DOUBLINGS)
        self._away_since = now

    def bound_s(self, now: float) -> float:
        """Seconds that the wait before the next attempt may take; the wait is drawn evenly from 0 on."""
        return min(self._most_s, max(BACKOFF_FIRST_S * 2.0**self._brief, now - self._away_since))
