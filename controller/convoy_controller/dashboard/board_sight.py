"""What the page of one board shows, each part read in one go."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from convoy_controller.database import log_records, pages, queries
from convoy_controller.database.availability import Absence, availability
from convoy_controller.database.engine import Database
from convoy_controller.database.history import BoardPoint, board_over_time
from convoy_controller.database.pages import EventFilter
from convoy_controller.database.records import utc_now
from convoy_controller.database.views import BoardDetail, EventLine, LogLine, LogState, Why
from convoy_controller.errors import NotFoundError

EVENTS = 20
LOG_LINES = 200
#: How far back presence is looked at.
PRESENCE_DAYS = 7
#: What the charts may span, by the word in the address.
SPANS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "month": timedelta(days=30)}


@dataclass(frozen=True)
class BoardSight:
    """Why a board is where it is; `detail` None: it was never seen."""

    why: Why
    detail: BoardDetail | None


def board_sight(database: Database, board: str) -> BoardSight:
    """All that is known of it now; may raise `DatabaseError`."""
    try:
        detail = queries.board(database, board)
    except NotFoundError:
        return BoardSight(queries.why(database, board), None)
    return BoardSight(detail.why, detail)


def over_time(database: Database, board: str, span: str) -> tuple[BoardPoint, ...]:
    """What it did and how warm it was over the last `span`."""
    now = utc_now()
    return board_over_time(database, board, now - SPANS[span], now).points


@dataclass(frozen=True)
class Presence:
    """How much of the last days it was there, 0 to 1, or None where that is not known; and when it was away."""

    known: timedelta
    share: float | None
    absences: tuple[Absence, ...]


def presence(database: Database, board: str) -> Presence | None:
    """Rounded as it is shown, so that what is equal compares equal; None for a board that was never seen."""
    now = utc_now()
    try:
        found = availability(database, board, now - timedelta(days=PRESENCE_DAYS), now)
    except NotFoundError:
        return None
    known = timedelta(minutes=(found.until - found.since) // timedelta(minutes=1))
    return Presence(known, None if found.share is None else round(found.share, 4), found.absences)


def recent_events(database: Database, board: str) -> tuple[EventLine, ...]:
    """Its newest events, which outlive it."""
    return pages.events(database, EventFilter(board=board), EVENTS)


@dataclass(frozen=True)
class LogSight:
    """What is kept of its log, the newest last, and how far requests for more have come."""

    state: LogState
    lines: tuple[LogLine, ...]


def log_sight(database: Database, board: str) -> LogSight | None:
    """None for a board that was never seen."""
    try:
        return LogSight(log_records.log_state(database, board), log_records.log_lines(database, board, LOG_LINES))
    except NotFoundError:
        return None


def lasted(began: datetime, ended: datetime | None) -> timedelta:
    """How long something was, or has been until now."""
    return (ended or utc_now()) - began
