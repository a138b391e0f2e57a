"""Who asked the fleet for what: every write that came over the API, and every one that was refused.

A line is written before the write is done and finished after it, so that one that was never finished shows a write of
which nobody knows whether it was. Called by the API's guard, and by commands that write without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from convoy_controller.database.engine import Database
from convoy_controller.database.models import AuditRow
from convoy_controller.database.narrowing import narrowed
from convoy_controller.database.views import AuditLine


@dataclass(frozen=True)
class Attempt:
    """What somebody is about to do, or was refused. `subject` is the path below the API's prefix."""

    actor: str
    role: str
    peer: str
    operation: str
    subject: str


@dataclass(frozen=True)
class Outcome:
    """What became of it: an HTTP status, the code of an error or '', and revisions where it changed some."""

    status: int
    code: str = ""
    before: int | None = None
    after: int | None = None


@dataclass(frozen=True)
class AuditFilter:
    """Which lines are asked for; None asks for any."""

    actor: str | None = None
    subject: str | None = None
    operation: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def begin(database: Database, now: datetime, attempt: Attempt) -> int:
    """Write that it is about to happen; returns the line's number."""
    with database.write() as db:
        row = AuditRow(
            at=now,
            actor=attempt.actor[:63],
            role=attempt.role,
            peer=attempt.peer[:64],
            operation=attempt.operation[:60],
            subject=attempt.subject[:200],
            code="",
        )
        db.add(row)
        db.flush()
        return row.id


def finish(database: Database, number: int, outcome: Outcome) -> None:
    """Write what became of it."""
    with database.write() as db:
        row = db.get(AuditRow, number)
        if row is not None:
            row.status, row.code = outcome.status, outcome.code[:60]
            row.before, row.after = outcome.before, outcome.after


def record(database: Database, now: datetime, attempt: Attempt, outcome: Outcome) -> None:
    """Both at once, for what was refused or is done already."""
    finish(database, begin(database, now, attempt), outcome)


def lines(database: Database, wanted: AuditFilter, limit: int, before: int | None = None) -> tuple[AuditLine, ...]:
    """At most `limit` lines numbered below `before`, the newest first.

    Indexes: the key with `ix_audit_at` for the ends, `ix_audit_actor_id`, `ix_audit_subject_id`.
    """
    query = select(AuditRow).where(AuditRow.id > 0 if before is None else AuditRow.id < before)
    equal = {AuditRow.actor: wanted.actor, AuditRow.subject: wanted.subject, AuditRow.operation: wanted.operation}
    query = narrowed(query, AuditRow, equal, wanted.since, wanted.until)
    with database.read() as db:
        return tuple(_line(row) for row in db.scalars(query.order_by(AuditRow.id.desc()).limit(limit)))


def _line(row: AuditRow) -> AuditLine:
    return AuditLine(
        row.id,
        row.at,
        row.actor,
        row.role,
        row.peer,
        row.operation,
        row.subject,
        row.before,
        row.after,
        row.status,
        row.code,
    )
