"""How many boards were online, offline or not known to be either, hour by hour: what the fleet's availability is of.

An hour says what changed in it, so a change of presence touches one row however long the time before it was, and a sum
over hours is exact to the second. Called by `board_records`; `Database.write` writes what its transaction counted.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from convoy_controller.database.records import BoardPresence
from convoy_controller.database.status_models import PresenceHourRow

if TYPE_CHECKING:
    from convoy_controller.database.engine import Database

HOUR = timedelta(hours=1)
_COUNTED = "presence hours"
_COLUMNS = ("online", "online_s", "offline", "offline_s", "unknown", "unknown_s")
_Hours = dict[datetime, dict[str, float]]


def hour_of(moment: datetime) -> datetime:
    """The beginning of the hour that `moment` is in."""
    return moment.astimezone(timezone.utc).replace(minute=0, second=0, microsecond=0)


def count(db: Session, at: datetime, presence: BoardPresence, boards: int) -> None:
    """From `at` on so many more known boards are in that presence, or fewer."""
    hour = hour_of(at)
    hours: _Hours = db.info.setdefault(_COUNTED, {})
    counts = hours.setdefault(hour, dict.fromkeys(_COLUMNS, 0))
    counts[presence.value] += boards
    counts[f"{presence.value}_s"] += boards * (hour + HOUR - at).total_seconds()


def write(db: Session) -> None:
    """Add what this transaction counted."""
    hours: _Hours = db.info.pop(_COUNTED, {})
    for hour, counts in hours.items():
        _add(db, hour, counts)


def _add(db: Session, hour: datetime, counts: dict[str, float]) -> None:
    row: Any = PresenceHourRow
    found = db.execute(
        update(row)
        .where(row.at == hour)
        .values({name: getattr(row, name) + change for name, change in counts.items()})
        .returning(row.at)
        .execution_options(synchronize_session=False)
    ).first()
    if found is None:
        db.execute(insert(row).values(at=hour, **counts))


def fold_old(database: Database, before: datetime) -> int:
    """`fold` as a transaction of its own."""
    with database.write() as db:
        return fold(db, before)


def fold(db: Session, before: datetime) -> int:
    """Put all hours before that of `before` into it, as if all had happened when it began; how many rows went."""
    hour = hour_of(before)
    row = PresenceHourRow
    gone, *sums = db.execute(
        select(func.count(), func.sum(row.online), func.sum(row.offline), func.sum(row.unknown)).where(row.at < hour)
    ).one()
    if gone:
        for presence, boards in zip(("online", "offline", "unknown"), sums, strict=True):
            count(db, hour, BoardPresence(presence), int(boards))
        db.execute(delete(row).where(row.at < hour))
    return int(gone)
