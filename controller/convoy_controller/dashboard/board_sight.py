"""What the page of one board shows, each part read in one go."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from convoy_controller.database import log_records, pages, queries
from convoy_controller.database.availability import Availability, availability
from convoy_controller.database.engine import Database
from convoy_controller.database.history import BoardPoint, Series, board_over_time
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


def over_time(database: Database, board: str, span: str) -> Series[BoardPoint]:
    """What it did and how warm it was over the last `span`, to whole seconds, so that what is equal compares equal."""
    now = utc_now()
    found = board_over_time(database, board, now - SPANS[span], now)
    return Series(found.step, found.since.replace(microsecond=0), found.until.replace(microsecond=0), found.points)


def presence(database: Database, board: str) -> Availability | None:
    """How much of the last days it was there; None for a board that was never seen."""
    now = utc_now()
    try:
        return availability(database, board, now - timedelta(days=PRESENCE_DAYS), now)
    except NotFoundError:
        return None


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
