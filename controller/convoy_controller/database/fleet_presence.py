"""How much of a time the boards of the fleet were there, all together, hour by hour; of one board: `availability`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from convoy_controller.database.engine import Database
from convoy_controller.database.presence_hours import HOUR, hour_of
from convoy_controller.database.spans import KEEP_HOURS
from convoy_controller.database.status_models import PresenceHourRow
from convoy_controller.database.status_views import FleetAvailability, PresenceHour

#: Of boards online, offline, and not known to be either.
_Three = tuple[float, float, float]
_NONE: _Three = (0, 0, 0)


def fleet_availability(database: Database, since: datetime, until: datetime, now: datetime) -> FleetAvailability:
    """How long boards were online, offline or neither for certain, from `since` to `until`, or to `now`.

    The time is widened to whole hours and begins 400 days before `now` at the earliest; boards count from when they
    were first seen. Index: the key of `presence_hours`, which has one row for each hour in which anything changed.
    """
    begin, end = hour_of(max(since, now - KEEP_HOURS)), min(until, now)
    with database.read() as db:
        there, changes = _before(db, begin), _changes(db, begin, end)
    hours, totals, at = [], _NONE, begin
    while at < end:
        length_s = min(HOUR, now - at).total_seconds()
        boards, seconds = changes.get(at, (_NONE, _NONE))
        left_s = HOUR.total_seconds() - length_s  # of the hour, which its sums count
        spent = _three(t * length_s + s - left_s * b for t, b, s in zip(there, boards, seconds, strict=True))
        online, offline, unknown = (each / length_s for each in spent)
        hours.append(PresenceHour(at, online, offline, unknown, _share(online, offline)))
        there, totals = _sum(there, boards), _sum(totals, spent)
        at += HOUR
    last = min(at, now) if hours else begin
    return FleetAvailability(begin, last, *totals, _share(totals[0], totals[1]), tuple(hours))


def _before(db: Session, begin: datetime) -> _Three:
    """Boards when that hour begins."""
    row = PresenceHourRow
    sums = select(func.sum(row.online), func.sum(row.offline), func.sum(row.unknown)).where(row.at < begin)
    return _three(int(each or 0) for each in db.execute(sums).one())


def _changes(db: Session, begin: datetime, end: datetime) -> dict[datetime, tuple[_Three, _Three]]:
    """By hour: how many boards more, and what that makes of the hour in seconds."""
    row = PresenceHourRow
    counts, seconds = (row.online, row.offline, row.unknown), (row.online_s, row.offline_s, row.unknown_s)
    found = db.execute(select(row.at, *counts, *seconds).where(row.at >= begin, row.at < end))
    return {each[0]: (_three(each[1:4]), _three(each[4:7])) for each in found}


def _three(values: Iterable[float]) -> _Three:
    online, offline, unknown = values
    return online, offline, unknown


def _sum(one: _Three, other: _Three) -> _Three:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def _share(online: float, offline: float) -> float | None:
    return min(1.0, max(0.0, online / (online + offline))) if online + offline > 0 else None
