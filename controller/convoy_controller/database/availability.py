"""How much of a time a board was there, and how often it went away. None writes; all may raise `DatabaseError`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from convoy_controller.database.engine import Database
from convoy_controller.database.models import BoardRow
from convoy_controller.database.records import utc_now
from convoy_controller.database.telemetry_tables import AbsenceRow
from convoy_controller.errors import NotFoundError

#: Absences that one answer lists at most, the newest.
MOST_ABSENCES = 10_000


@dataclass(frozen=True)
class Absence:
    """A time in which a board was offline (`is_certain`), or not known to be there; `ended_at` None: it still is."""

    began_at: datetime
    ended_at: datetime | None
    is_certain: bool
    session: int
    reason: str


@dataclass(frozen=True)
class Availability:
    """Of a board between two dates, or from when it was first seen if that is later.

    `online` and `offline` are times of that; the rest of `known` it was not known which. `share` is online / (online +
    offline), None where there is neither. `absences` are those that touch the span, oldest first.
    """

    board: str
    since: datetime
    until: datetime
    online: timedelta
    offline: timedelta
    unknown: timedelta
    share: float | None
    absences: tuple[Absence, ...]


def availability(
    database: Database, board: str, since: datetime, until: datetime, *, now: datetime | None = None
) -> Availability:
    """How much of that time a board was there, as far as it is over; raises `NotFoundError` for an unknown one.

    Indexes: boards' key, `ix_absences_board_began_at`.
    """
    until = min(until, now or utc_now())
    with database.read() as db:
        row = db.get(BoardRow, board)
        if row is None:
            raise NotFoundError(f"there is no board {board!r}: see `convoy boards`", board=board)
        found = _absences(db, board, since, until)
        first_seen = row.first_seen
    began = until if first_seen is None else min(max(since, first_seen), until)
    away = {certain: sum(_within(found, certain, began, until), timedelta()) for certain in (True, False)}
    online = until - began - away[True] - away[False]
    judged = online + away[True]
    share = online / judged if judged else None
    return Availability(board, began, until, online, away[True], away[False], share, found)


def _absences(db: Session, board: str, since: datetime, until: datetime) -> tuple[Absence, ...]:
    overlapping = (AbsenceRow.ended_at.is_(None)) | (AbsenceRow.ended_at > since)
    query = select(AbsenceRow).where(AbsenceRow.board == board, AbsenceRow.began_at < until, overlapping)
    rows = db.scalars(query.order_by(AbsenceRow.began_at.desc(), AbsenceRow.id.desc()).limit(MOST_ABSENCES)).all()
    return tuple(Absence(row.began_at, row.ended_at, row.is_certain, row.session, row.reason) for row in reversed(rows))


def _within(absences: tuple[Absence, ...], certain: bool, since: datetime, until: datetime) -> list[timedelta]:
    """The parts of them inside the span; a date that a clock set back made nonsense of counts nothing."""
    return [
        max(timedelta(), min(each.ended_at or until, until) - max(each.began_at, since))
        for each in absences
        if each.is_certain is certain
    ]
