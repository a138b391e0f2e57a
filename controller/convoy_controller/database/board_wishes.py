"""What owners want of single boards: out of service, restarted, labelled. The controller polls for it and acts.

Called by the API and the command line; `wishes_since` by the controller. Each change leaves an event.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import bindparam, delete, select
from sqlalchemy.orm import Session

from convoy_controller.database.board_records import new_event
from convoy_controller.database.engine import Database
from convoy_controller.database.expectations import Change
from convoy_controller.database.models import BoardRow, BoardWishRow
from convoy_controller.database.placement_records import next_count
from convoy_controller.database.records import BoardWish, NewEvent
from convoy_controller.database.status_models import BoardLabelRow
from convoy_controller.database.views import BoardWishes
from convoy_controller.errors import NotFoundError

_CHANGED_SINCE = select(BoardWishRow).where(BoardWishRow.revision > bindparam("since")).order_by(BoardWishRow.revision)


def drain_board(database: Database, board: str, now: datetime) -> Change:
    """Take a board out of every deployment, and place nothing on it; a repeat changes nothing. Raises `NotFoundError`.

    What it serves is served elsewhere first; where nothing else can, it goes on and the deployment says so.
    """
    with database.write() as db:
        row = _row(db, board)
        if row.drained_at is not None:
            return Change(row.revision, row.revision, False)
        row.drained_at = now
        return _changed(db, row, NewEvent("board-drained", f"{board} is to be drained", board=board), now)


def undrain_board(database: Database, board: str, now: datetime) -> Change:
    """Let a board take part again; a repeat changes nothing. Raises `NotFoundError`."""
    with database.write() as db:
        row = _row(db, board)
        if row.drained_at is None:
            return Change(row.revision, row.revision, False)
        row.drained_at = None
        return _changed(db, row, NewEvent("board-undrained", f"{board} may take part again", board=board), now)


def restart_board(database: Database, board: str, now: datetime, token: str = "", forced: bool = False) -> Change:
    """Have a board's daemon start anew, once; `token` '' draws one. Raises `NotFoundError`.

    It is taken out of service first, unless `forced`. The same token again is the same restart, and changes nothing.
    """
    with database.write() as db:
        row = _row(db, board)
        if token and row.restart_token == token:
            return Change(row.revision, row.revision, False)
        row.restart_token, row.restart_at, row.forced = token or secrets.token_hex(8), now, forced
        how = "at once" if forced else "once it holds nothing"
        return _changed(db, row, NewEvent("board-restart", f"{board} is to restart, {how}", board=board), now)


def label_board(database: Database, board: str, labels: Mapping[str, str]) -> Change:
    """Give a board these labels in place of those it had. Raises `NotFoundError`."""
    with database.write() as db:
        row = _row(db, board)
        if row.labels == dict(labels):
            return Change(row.revision, row.revision, False)
        row.labels = dict(labels)
        db.execute(delete(BoardLabelRow).where(BoardLabelRow.board == board))
        db.add_all(BoardLabelRow(board=board, key=key, value=value) for key, value in labels.items())
        before, row.revision = row.revision, next_count(db, "intent")
        return Change(before, row.revision, False)


def board_wishes(database: Database, board: str) -> BoardWishes:
    """What is wanted of one board; raises `NotFoundError`. Index: the key."""
    with database.read() as db:
        known, row = db.get(BoardRow, board), db.get(BoardWishRow, board)
        if known is None:
            raise _unknown(board)
        if row is None:
            return BoardWishes(board)
        return BoardWishes(
            board,
            row.drained_at is not None,
            row.drained_at,
            row.restart_token,
            row.restart_at,
            row.forced,
            bool(row.restart_token) and known.restarted != row.restart_token,
            {str(key): str(value) for key, value in row.labels.items()},
            row.revision,
        )


def wishes_since(db: Session, revision: int) -> tuple[BoardWish, ...]:
    """Wishes that changed after `revision`, the oldest change first. Index: `ix_board_wishes_revision`."""
    rows = db.scalars(_CHANGED_SINCE, {"since": revision})
    return tuple(
        BoardWish(row.board, row.drained_at is not None, row.restart_token, row.forced, row.revision) for row in rows
    )


def _row(db: Session, board: str) -> BoardWishRow:
    row = db.get(BoardWishRow, board)
    if row is None:
        if db.get(BoardRow, board) is None:
            raise _unknown(board)
        row = BoardWishRow(board=board, restart_token="", forced=False, labels={}, revision=0)
        db.add(row)
    return row


def _changed(db: Session, row: BoardWishRow, event: NewEvent, now: datetime) -> Change:
    before, row.revision = row.revision, next_count(db, "intent")
    new_event(db, now, event)
    return Change(before, row.revision, False)


def _unknown(board: str) -> NotFoundError:
    return NotFoundError(f"there is no board {board!r}: see `convoy boards`", board=board)
