"""Long work that was asked for over the API: how far it is, and what came of it. Whoever does it says so here.

Dates tell people whether somebody is still at it; nothing is decided by them but what is shown.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from convoy_controller.database.engine import Database
from convoy_controller.database.models import OperationRow
from convoy_controller.database.records import OperationState
from convoy_controller.database.views import OperationLine
from convoy_controller.errors import InUseError, NotFoundError

#: Seconds without a sign of life after which work counts as lost.
SILENCE_S = 60.0
#: Operations remembered, and at work at once.
MOST_REMEMBERED, MOST_AT_ONCE = 1000, 2


def begin(database: Database, kind: str, subject: str, actor: str, now: datetime) -> int:
    """Announce work; its number. Raises `InUseError` while `MOST_AT_ONCE` of that kind are under way."""
    with database.write() as db:
        recent = OperationRow.beat_at > now - timedelta(seconds=SILENCE_S)
        busy = db.scalars(select(OperationRow.id).where(OperationRow.state == OperationState.RUNNING, recent)).all()
        if len(busy) >= MOST_AT_ONCE:
            raise InUseError(f"{len(busy)} operations are under way already: wait for {', '.join(map(str, busy))}")
        row = OperationRow(
            kind=kind,
            subject=subject,
            actor=actor,
            state=OperationState.RUNNING,
            step="",
            done=0,
            total=0,
            result={},
            code="",
            message="",
            started_at=now,
            beat_at=now,
        )
        db.add(row)
        db.flush()
        db.execute(delete(OperationRow).where(OperationRow.id <= row.id - MOST_REMEMBERED))
        return row.id


def beat(database: Database, number: int, now: datetime, step: str, done: int = 0, total: int = 0) -> None:
    """Say that somebody is at it, and how far."""
    with database.write() as db:
        row = db.get(OperationRow, number)
        if row is not None:
            row.beat_at, row.step, row.done, row.total = now, step, done, total


def succeed(database: Database, number: int, now: datetime, result: dict[str, Any]) -> None:
    """It is done, and that came of it, as JSON."""
    with database.write() as db:
        row = _under_way(db, number)
        if row is not None:
            row.state, row.result, row.beat_at, row.ended_at = OperationState.DONE, result, now, now


def fail(database: Database, number: int, now: datetime, code: str, message: str) -> None:
    """It has failed; of one that has ended already nothing changes."""
    with database.write() as db:
        row = _under_way(db, number)
        if row is not None:
            row.state, row.code, row.message = OperationState.FAILED, code[:60], message[:4000]
            row.beat_at = row.ended_at = now


def operation(database: Database, number: int, now: datetime) -> OperationLine:
    """One operation; raises `NotFoundError`. Index: the key."""
    with database.read() as db:
        row = db.get(OperationRow, number)
    if row is None:
        raise NotFoundError(f"there is no operation {number}: the list of operations shows those that are remembered")
    return _line(row, now)


def operations(database: Database, now: datetime) -> tuple[OperationLine, ...]:
    """Every operation that is remembered, the newest first. Index: the key."""
    with database.read() as db:
        return tuple(_line(row, now) for row in db.scalars(select(OperationRow).order_by(OperationRow.id.desc())))


def _under_way(db: Session, number: int) -> OperationRow | None:
    row = db.get(OperationRow, number)
    return row if row is not None and row.state is OperationState.RUNNING else None


def _line(row: OperationRow, now: datetime) -> OperationLine:
    is_lost = row.state is OperationState.RUNNING and now - row.beat_at > timedelta(seconds=SILENCE_S)
    return OperationLine(
        row.id,
        row.kind,
        row.subject,
        row.actor,
        OperationState.LOST if is_lost else row.state,
        row.step,
        row.done,
        row.total,
        row.result,
        row.code,
        row.message,
        row.started_at,
        row.ended_at,
    )
