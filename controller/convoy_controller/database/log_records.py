"""What boards' daemons said, as far as somebody asked for it, and the requests themselves.

A row of `board_log_requests` is both: how often a board's log was asked for and answered, and up to which record it is
here. Asking is an owner's (`request_log`, any process), answering is the controller's, which polls. Of each board the
newest `KEPT_LINES` stay, whatever it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from convoy_schema.messages.logs import LogLevel, LogRecord
from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.orm import Session

from convoy_controller.database.engine import Database
from convoy_controller.database.models import BoardLogRequestRow, BoardLogRow, BoardRow
from convoy_controller.database.records import BoardPresence, LogOutcome, LogRequest, utc_now
from convoy_controller.database.views import LogLine, LogState
from convoy_controller.errors import NotFoundError

#: Lines kept of a board.
KEPT_LINES = 1000
#: Seconds after which nobody waits for an answer any more.
STALE_S = 30.0
_PENDING = select(BoardLogRequestRow).where(
    BoardLogRequestRow.asked_at >= bindparam("since", type_=BoardLogRequestRow.asked_at.type),
    BoardLogRequestRow.asked > BoardLogRequestRow.answered,
)
#: Each level with those that matter more.
_AT_LEAST = {level: tuple(list(LogLevel)[number:]) for number, level in enumerate(LogLevel)}


# Asking ---------------------------------------------------------------------------------------------------------------


def request_log(database: Database, board: str) -> int:
    """Ask for what a board has logged since the last time; returns the request's number. Raises `NotFoundError`."""
    with database.write() as db:
        _check(db, board)
        row = db.get(BoardLogRequestRow, board)
        if row is None:
            row = BoardLogRequestRow(
                board=board, asked=0, answered=0, asked_at=utc_now(), outcome=None, session=0, newest=0, lost=0
            )
            db.add(row)
        row.asked += 1
        row.asked_at = utc_now()
        return row.asked


def log_state(database: Database, board: str) -> LogState:
    """How far a board's log has come here. Raises `NotFoundError`. Index: the keys of boards and requests."""
    with database.read() as db:
        _check(db, board)
        row = db.get(BoardLogRequestRow, board)
        presence = db.scalar(select(BoardRow.presence).where(BoardRow.name == board))
        is_online = presence is BoardPresence.ONLINE
        if row is None:
            return LogState(board, is_online, 0, 0, None, 0)
        return LogState(board, is_online, row.asked, row.answered, row.outcome, row.lost)


def log_lines(
    database: Database,
    board: str,
    limit: int = 100,
    *,
    after: int | None = None,
    level: LogLevel = LogLevel.DEBUG,
    since: datetime | None = None,
) -> tuple[LogLine, ...]:
    """The newest `limit` lines that are here, the oldest first; with `after` those behind that id, beginning there.

    Raises `NotFoundError`. Index: `ix_board_log_lines_board_id`.
    """
    with database.read() as db:
        _check(db, board)
        wanted = select(BoardLogRow).where(BoardLogRow.board == board, BoardLogRow.level.in_(_AT_LEAST[level]))
        if since is not None:
            wanted = wanted.where(BoardLogRow.at >= since)
        if after is not None:
            found = list(db.scalars(wanted.where(BoardLogRow.id > after).order_by(BoardLogRow.id).limit(limit)))
        else:
            found = list(db.scalars(wanted.order_by(BoardLogRow.id.desc()).limit(limit)))[::-1]
        return tuple(_line(row) for row in found)


def _check(db: Session, board: str) -> None:
    if db.scalar(select(BoardRow.name).where(BoardRow.name == board)) is None:
        raise NotFoundError(f"there is no board {board!r}: see `convoy boards`", board=board)


def _line(row: BoardLogRow) -> LogLine:
    return LogLine(
        row.id,
        row.board,
        row.at,
        row.level,
        row.logger,
        row.sentence,
        row.deployment or None,
        row.generation or None,
        row.step or None,
        row.session,
        row.number,
    )


# Answering -----------------------------------------------------------------------------------------------------------


def pending_requests(database: Database) -> tuple[LogRequest, ...]:
    """What somebody still waits for. Index: `ix_board_log_requests_asked_at`."""
    with database.read() as db:
        rows = db.scalars(_PENDING, {"since": utc_now() - timedelta(seconds=STALE_S)})
        return tuple(LogRequest(row.board, row.asked, row.session, row.newest) for row in rows)


def add_lines(db: Session, now: datetime, board: str, session: int, records: Sequence[LogRecord], lost: int) -> None:
    """What came of a board; the oldest lines beyond `KEPT_LINES` go in the same transaction."""
    row = db.get(BoardLogRequestRow, board)
    if row is None:  # the board was forgotten meanwhile
        return
    if row.session != session:
        row.session, row.newest = session, 0
    fresh = [record for record in records if record.number > row.newest]
    row.lost = lost
    if not fresh:
        return
    row.newest = fresh[-1].number
    db.execute(insert(BoardLogRow), [_values(now, board, session, record) for record in fresh])
    oldest = select(BoardLogRow.id).where(BoardLogRow.board == board).order_by(BoardLogRow.id.desc())
    db.execute(
        delete(BoardLogRow).where(
            BoardLogRow.board == board, BoardLogRow.id <= oldest.offset(KEPT_LINES).limit(1).scalar_subquery()
        )
    )


def _values(now: datetime, board: str, session: int, record: LogRecord) -> dict[str, object]:
    # A board that claims an age which no date can have is as old as can be told.
    age = timedelta(milliseconds=min(record.age_ms, 10 * 365 * 86_400_000))
    return {
        "board": board,
        "session": session,
        "number": record.number,
        "at": now - age,
        "level": record.level,
        "logger": record.logger,
        "sentence": record.sentence,
        "deployment": record.deployment,
        "generation": record.generation,
        "step": record.step,
    }


def answer(db: Session, board: str, number: int, outcome: LogOutcome) -> None:
    """Request `number` is answered, and with it all before it."""
    row = db.get(BoardLogRequestRow, board)
    if row is not None:
        row.answered = max(row.answered, number)
        row.outcome = outcome
