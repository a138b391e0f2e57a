"""How long history is kept, and in which spans of time it comes and goes. Deterministic: dates in, dates out.

A clock that is wrong must not
make young history old: so the newest spans *that hold anything* stay whatever the date is, as many as make up the time
that is kept. A clock a year ahead costs as much history as it has itself filled since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

#: How long raw samples, minutes and hours are kept, at least.
KEEP_RAW = timedelta(hours=3)
KEEP_MINUTES = timedelta(days=3)
KEEP_HOURS = timedelta(days=400)
#: Spans are counted from this Monday on.
_FIRST = datetime(1970, 1, 5, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Span:
    """From `begin` to before `end`."""

    begin: datetime
    end: datetime


@dataclass(frozen=True)
class Kept:
    """A table by time: rows go when they are older than `keep`. A partition of it is `width` wide, and `ahead` of them
    are there before they are needed.
    """

    table: str
    width: timedelta
    keep: timedelta
    ahead: int = 1

    @property
    def spans(self) -> int:
        """Spans that hold anything and stay whatever the date is."""
        return -(-self.keep // self.width)

    def span(self, at: datetime) -> Span:
        """The one that holds that moment."""
        begin = _FIRST + (at - _FIRST) // self.width * self.width
        return Span(begin, begin + self.width)

    def wanted(self, now: datetime) -> list[Span]:
        """Those that should be there."""
        present = self.span(now)
        later = [timedelta(0), *(self.width * number for number in range(1, self.ahead + 1))]
        return [Span(present.begin + by, present.end + by) for by in later]

    def oldest_kept(self, filled: Sequence[Span], now: datetime) -> datetime | None:
        """The date before which rows may go; None when none may. `filled` are the newest spans that hold anything."""
        if len(filled) < self.spans:
            return None
        return min(now - self.keep, sorted(span.begin for span in filled)[-self.spans])


#: Raw samples are needed for a minute until they are rolled up; two hours ahead, should nobody look for one.
RAW = tuple(Kept(f"{noun}_samples", timedelta(hours=1), KEEP_RAW, ahead=2) for noun in ("board", "stage", "feed"))
MINUTES = tuple(Kept(f"{noun}_minutes", timedelta(days=1), KEEP_MINUTES) for noun in ("board", "stage", "feed"))
HOURS = tuple(Kept(f"{noun}_hours", timedelta(days=28), KEEP_HOURS) for noun in ("board", "stage", "feed"))
TELEMETRY = (*RAW, *MINUTES, *HOURS)
#: What stays of events whatever the date is counted in rows.
EVENTS = Kept("events", timedelta(weeks=1), timedelta(days=30))
PARTITIONED = (EVENTS, *TELEMETRY)
