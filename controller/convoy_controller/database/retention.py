"""What history is deleted, and when: events, ended sessions and past generations older than a number of days.

Deletes in small transactions, so that a writer waits milliseconds. The controller calls `sweep` every hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import InstrumentedAttribute, aliased

from convoy_controller.database.engine import Database
from convoy_controller.database.models import AssignmentRow, Base, EventRow, GenerationRow, SessionRow
from convoy_controller.database.records import GenerationState

#: Days that history is kept unless told otherwise.
KEEP_DAYS = 30
#: Rows deleted in one transaction, and transactions in one sweep of a table.
BATCH_ROWS = 1000
MOST_BATCHES = 1000


@dataclass(frozen=True)
class Swept:
    """Rows that one sweep deleted."""

    events: int
    sessions: int
    generations: int


def sweep(
    database: Database,
    now: datetime,
    keep_days: float = KEEP_DAYS,
    batch_rows: int = BATCH_ROWS,
    most_batches: int = MOST_BATCHES,
) -> Swept:
    """Delete what ended more than `keep_days` before `now`; at most `most_batches` times `batch_rows` of each table."""
    if keep_days < 0 or batch_rows < 1:
        raise ValueError(f"keep_days must be >= 0 and batch_rows >= 1, {keep_days} and {batch_rows} came")
    before = now - timedelta(days=keep_days)
    bounds = (batch_rows, most_batches)
    return Swept(
        _delete(database, EventRow.id, _old_events(before), bounds),
        _delete(database, SessionRow.id, _old_sessions(before), bounds),
        _delete(database, GenerationRow.id, _old_generations(before), bounds),
    )


def _old_events(before: datetime) -> Select[Any]:
    return select(EventRow.id).where(EventRow.at < before).order_by(EventRow.at)


def _old_sessions(before: datetime) -> Select[Any]:
    """A board's last session stays: it says why the board is not there."""
    later = aliased(SessionRow)
    last = select(func.max(later.id)).where(later.board == SessionRow.board).scalar_subquery()
    return select(SessionRow.id).where(SessionRow.ended_at < before, SessionRow.id != last)


def _old_generations(before: datetime) -> Select[Any]:
    ended = (GenerationState.RETIRED, GenerationState.ABANDONED)
    return select(GenerationRow.id).where(GenerationRow.state.in_(ended), GenerationRow.changed_at < before)


def _delete(database: Database, key: InstrumentedAttribute[int], old: Select[Any], bounds: tuple[int, int]) -> int:
    batch_rows, most_batches = bounds
    table = cast("type[Base]", key.class_)
    deleted = 0
    for _ in range(most_batches):
        with database.write() as db:
            numbers = db.scalars(old.limit(batch_rows)).all()
            if numbers and table is GenerationRow:
                db.execute(delete(AssignmentRow).where(AssignmentRow.generation_id.in_(numbers)))
            if numbers:
                db.execute(delete(table).where(key.in_(numbers)))
        deleted += len(numbers)
        if len(numbers) < batch_rows:
            break
    return deleted
