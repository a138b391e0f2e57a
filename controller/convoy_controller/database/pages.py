"""Parts of long lists, as the HTTP API hands them out: what comes after a key, at most so many. None writes.

Each says which index carries it. All may raise `DatabaseError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from convoy_controller.database.engine import Database
from convoy_controller.database.models import (
    ArtifactReferenceRow,
    ArtifactRow,
    BoardRow,
    EventRow,
    ModelRow,
    SessionRow,
)
from convoy_controller.database.narrowing import last_before, narrowed
from convoy_controller.database.placement_records import facts_row
from convoy_controller.database.records import ArtifactKind, Counters, Severity
from convoy_controller.database.rows import event_line, session_line
from convoy_controller.database.views import ArtifactLine, EventLine, SessionLine
from convoy_controller.errors import NotFoundError


@dataclass(frozen=True)
class EventFilter:
    """Which events are asked for; None asks for any. `since` is included, `until` is not."""

    board: str | None = None
    deployment: str | None = None
    severity: Severity | None = None
    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def events(
    database: Database, wanted: EventFilter, limit: int, after: int | None = None, oldest_first: bool = False
) -> tuple[EventLine, ...]:
    """At most `limit` events that `wanted` names, beyond number `after` in the direction asked for.

    Indexes: events' key with `ix_events_at` for the ends; `ix_events_board_id`, `ix_events_deployment_id`,
    `ix_events_severity_id`, `ix_events_kind_id`.
    """
    equal = {
        EventRow.board: wanted.board,
        EventRow.deployment: wanted.deployment,
        EventRow.severity: wanted.severity,
        EventRow.kind: wanted.kind,
    }
    query = narrowed(select(EventRow), EventRow, equal, wanted.since, wanted.until).limit(limit)
    if oldest_first:
        query = query.where(EventRow.id > (after or 0)).order_by(EventRow.id)
    else:
        # A condition on the key although it excludes nothing, so that the plan is a search.
        beyond = EventRow.id > 0 if after is None else EventRow.id < after
        query = query.where(beyond).order_by(EventRow.id.desc())
    with database.read() as db:
        return tuple(event_line(row) for row in db.scalars(query))


def events_around(
    database: Database, moment: datetime, limit: int, board: str | None = None, deployment: str | None = None
) -> tuple[EventLine, ...]:
    """At most `limit` events before `moment` and as many from then on, in the order in which they happened.

    Indexes: `ix_events_at` for the place; from there both ways along events' key, `ix_events_board_id` or
    `ix_events_deployment_id`.
    """
    equal = {EventRow.board: board, EventRow.deployment: deployment}
    wanted = narrowed(select(EventRow), EventRow, equal, None, None).limit(limit)
    with database.read() as db:
        place = db.scalar(last_before(EventRow, moment)) or 0
        before = db.scalars(wanted.where(EventRow.id <= place).order_by(EventRow.id.desc())).all()
        after = db.scalars(wanted.where(EventRow.id > place).order_by(EventRow.id)).all()
    return tuple(event_line(row) for row in (*reversed(before), *after))


def sessions(
    database: Database, board: str, limit: int, before: int | None = None
) -> tuple[tuple[int, SessionLine], ...]:
    """At most `limit` runs of a board's daemon, the newest first, each with the number that `before` takes.

    Raises `NotFoundError` for a board that was never seen. Index: `ix_sessions_board_id`.
    """
    query = select(SessionRow).where(SessionRow.board == board).order_by(SessionRow.id.desc()).limit(limit)
    with database.read() as db:
        if db.get(BoardRow, board) is None:
            raise NotFoundError(f"there is no board {board!r}: see `convoy boards`", board=board)
        rows = db.scalars(query if before is None else query.where(SessionRow.id < before)).all()
    return tuple((row.id, session_line(row)) for row in rows)


def artifacts(
    database: Database, kind: ArtifactKind | None, limit: int, after: str | None = None
) -> tuple[ArtifactLine, ...]:
    """At most `limit` artifacts by digest, beyond `after`. Index: artifacts' key."""
    query = select(ArtifactRow).order_by(ArtifactRow.digest).limit(limit)
    if kind is not None:
        query = query.where(ArtifactRow.kind == kind)
    if after is not None:
        query = query.where(ArtifactRow.digest > after)
    with database.read() as db:
        return tuple(_artifact(row) for row in db.scalars(query))


def artifact(database: Database, digest: str) -> ArtifactLine:
    """One artifact and the models that need it; raises `NotFoundError`.

    Indexes: artifacts' key, `ix_artifact_references_artifact`, `ix_models_digest`.
    """
    users = (
        select(ModelRow.name, ModelRow.version)
        .join(ArtifactReferenceRow, ArtifactReferenceRow.bundle == ModelRow.digest)
        .where(ArtifactReferenceRow.artifact == digest)
        .order_by(ModelRow.name, ModelRow.version)
    )
    with database.read() as db:
        row = db.get(ArtifactRow, digest)
        if row is None:
            raise NotFoundError(f"there is no artifact {digest}: the list of artifacts shows those there are")
        return _artifact(row, tuple(f"{name}:{version}" for name, version in db.execute(users)))


def _artifact(row: ArtifactRow, models: tuple[str, ...] = ()) -> ArtifactLine:
    return ArtifactLine(row.digest, row.kind, row.size, row.packed_size, row.created_at, models)


def identity(database: Database) -> tuple[str, Counters]:
    """Which database this is, and the counters of its fleet. Index: the key."""
    with database.read() as db:
        row = facts_row(db)
        return row.instance, Counters(row.epoch, row.revision, row.generation, row.intent)
