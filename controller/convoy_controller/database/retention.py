"""What history is deleted, and when: events, ended sessions, past generations and boards' logs that are too old.

The audit and boards' absences stay longer, since they are asked about later. What is deleted of telemetry is in
`upkeep`, and so is what becomes of events in PostgreSQL: there they go by whole partitions, and here only those that
lie in no partition of their own.

Deletes in small transactions, so that a writer waits milliseconds. The controller calls `sweep` every hour, unless
`ClockWatch` has seen the date leap. A clock that was wrong all along is why the newest rows stay whatever their dates.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, ScalarSelect, Select, column, delete, func, select, table
from sqlalchemy.orm import InstrumentedAttribute, aliased

from convoy_controller.database.engine import Database
from convoy_controller.database.models import (
    AssignmentRow,
    AuditRow,
    Base,
    BoardLogRow,
    EventRow,
    GenerationRow,
    SessionRow,
    UtcDateTime,
)
from convoy_controller.database.records import GenerationState
from convoy_controller.database.telemetry_tables import AbsenceRow

log = logging.getLogger(__name__)

#: Days that history is kept unless told otherwise.
KEEP_DAYS = 30
#: Days that the audit is kept at least.
KEEP_AUDIT_DAYS = 365
#: Days that boards' absences are kept at least, as long as hours of telemetry.
KEEP_ABSENCE_DAYS = 400
#: The newest rows of each table stay, however old the clock makes them.
KEEP_ROWS = 10_000
#: Seconds by which the date may leave the monotonic clock between two looks, and for how long it is then distrusted.
LEAP_S = 60.0
DISTRUST_S = 24 * 3600.0
#: Rows deleted in one transaction, and transactions in one sweep of a table.
BATCH_ROWS = 1000
MOST_BATCHES = 1000


@dataclass(frozen=True)
class Swept:
    """Rows that one sweep deleted."""

    events: int
    sessions: int
    generations: int
    audit: int = 0
    log_lines: int = 0
    absences: int = 0


class ClockWatch:
    """Whether the date may be used to call history old: it must move as the monotonic clock does. Deterministic."""

    def __init__(self, date: datetime, now: float) -> None:
        self._date, self._now = date, now
        self._trusted_at = now

    def is_trusted(self, date: datetime, now: float) -> bool:
        """At `now` (monotonic seconds): False for `DISTRUST_S` after a leap, for someone to put it right."""
        leapt_s = (date - self._date).total_seconds() - (now - self._now)
        self._date, self._now = date, now
        if abs(leapt_s) > LEAP_S:
            log.warning(
                "the date leapt by %.0f s to %s: old history stays for a day", leapt_s, f"{date:%Y-%m-%d %H:%M}"
            )
            self._trusted_at = now + DISTRUST_S
        return now >= self._trusted_at


def sweep(
    database: Database,
    now: datetime,
    keep_days: float = KEEP_DAYS,
    batch_rows: int = BATCH_ROWS,
    most_batches: int = MOST_BATCHES,
    keep_rows: int = KEEP_ROWS,
) -> Swept:
    """Delete what ended more than `keep_days` before `now`, but for the newest `keep_rows` of each table.

    At most `most_batches` times `batch_rows` of each are deleted.
    """
    if keep_days < 0 or batch_rows < 1 or keep_rows < 0:
        raise ValueError(
            f"keep_days and keep_rows must be >= 0 and batch_rows >= 1, {keep_days}, {keep_rows} and {batch_rows} came"
        )
    before = now - timedelta(days=keep_days)
    absent_before = now - timedelta(days=max(keep_days, KEEP_ABSENCE_DAYS))
    bounds = (batch_rows, most_batches)
    return Swept(
        _delete(database, EventRow.id, _old_events(database, before, keep_rows), bounds),
        _delete(database, SessionRow.id, _old_sessions(before, keep_rows), bounds),
        _delete(database, GenerationRow.id, _old_generations(before, keep_rows), bounds),
        _delete(
            database, AuditRow.id, _old_audit(now - timedelta(days=max(keep_days, KEEP_AUDIT_DAYS)), keep_rows), bounds
        ),
        _delete(database, BoardLogRow.id, _old_log_lines(before, keep_rows), bounds),
        _delete(database, AbsenceRow.id, _old_absences(absent_before, keep_rows), bounds),
    )


def _beyond(key: InstrumentedAttribute[int], keep_rows: int) -> ColumnElement[bool]:
    """All but the newest `keep_rows`: numbers only grow, whatever dates do."""
    return key <= _newest(key, keep_rows)


def _newest(key: InstrumentedAttribute[int], keep_rows: int) -> ScalarSelect[Any]:
    return select(func.max(key) - keep_rows).scalar_subquery()


def _old_events(database: Database, before: datetime, keep_rows: int) -> Select[Any]:
    if database.engine.dialect.name != "postgresql":
        return select(EventRow.id).where(EventRow.at < before, _beyond(EventRow.id, keep_rows)).order_by(EventRow.at)
    rows = table("events_default", column("id"), column("at", UtcDateTime()))
    return select(rows.c.id).where(rows.c.at < before, rows.c.id <= _newest(EventRow.id, keep_rows)).order_by(rows.c.at)


def _old_audit(before: datetime, keep_rows: int) -> Select[Any]:
    return select(AuditRow.id).where(AuditRow.at < before, _beyond(AuditRow.id, keep_rows)).order_by(AuditRow.at)


def _old_sessions(before: datetime, keep_rows: int) -> Select[Any]:
    """A board's last session stays: it says why the board is not there."""
    later = aliased(SessionRow)
    last = select(func.max(later.id)).where(later.board == SessionRow.board).scalar_subquery()
    return select(SessionRow.id).where(
        SessionRow.ended_at < before, SessionRow.id != last, _beyond(SessionRow.id, keep_rows)
    )


def _old_generations(before: datetime, keep_rows: int) -> Select[Any]:
    ended = (GenerationState.RETIRED, GenerationState.ABANDONED)
    return select(GenerationRow.id).where(
        GenerationRow.state.in_(ended), GenerationRow.changed_at < before, _beyond(GenerationRow.id, keep_rows)
    )


def _old_absences(before: datetime, keep_rows: int) -> Select[Any]:
    return select(AbsenceRow.id).where(AbsenceRow.ended_at < before, _beyond(AbsenceRow.id, keep_rows))


def _old_log_lines(before: datetime, keep_rows: int) -> Select[Any]:
    old = BoardLogRow.at < before, _beyond(BoardLogRow.id, keep_rows)
    return select(BoardLogRow.id).where(*old).order_by(BoardLogRow.at)


def _delete(database: Database, key: InstrumentedAttribute[int], old: Select[Any], bounds: tuple[int, int]) -> int:
    batch_rows, most_batches = bounds
    kind = cast("type[Base]", key.class_)
    deleted = 0
    for _ in range(most_batches):
        with database.write() as db:
            numbers = db.scalars(old.limit(batch_rows)).all()
            if numbers and kind is GenerationRow:
                db.execute(delete(AssignmentRow).where(AssignmentRow.generation_id.in_(numbers)))
            if numbers:
                db.execute(delete(kind).where(key.in_(numbers)))
        deleted += len(numbers)
        if len(numbers) < batch_rows:
            break
    return deleted
