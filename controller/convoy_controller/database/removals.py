"""What owners remove by name, and the clearings that they ask for. The controller in charge finds both here and acts.

A removal is a row of its own and stays: only what an owner removed is ever cleared, never what a table merely lacks.
`remove_model`, `forget_board` and `request_collection` are called by the command line, the rest by the controller.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, select
from sqlalchemy.orm import Session

from convoy_controller.database.board_records import forget_board as forget_rows
from convoy_controller.database.engine import Database
from convoy_controller.database.models import (
    ArtifactReferenceRow,
    ArtifactRow,
    AssignmentRow,
    BoardRow,
    CollectionRow,
    DeploymentRow,
    GenerationRow,
    ModelRow,
    RemovalRow,
)
from convoy_controller.database.records import (
    BoardPresence,
    DeploymentState,
    GenerationState,
    Removal,
    RemovalKind,
    SavedCollection,
    utc_now,
)
from convoy_controller.database.references import unended_bundles, used_to_serve
from convoy_controller.errors import InUseError, NotFoundError

#: Clearings remembered.
MOST_COLLECTIONS = 100
_REMOVED_SINCE = select(RemovalRow).where(RemovalRow.id > bindparam("number")).order_by(RemovalRow.id)


def remove_model(database: Database, name: str, version: str) -> Removal:
    """Take a version out of the catalogue; its files and retained topics are cleared by the controller.

    Raises `NotFoundError`, and `InUseError` while a deployment wants, stages, serves or drains it, or may return to it.
    """
    with database.write() as db:
        row = db.get(ModelRow, (name, version))
        if row is None:
            raise NotFoundError(f"there is no model {name!r} version {version!r}: see `convoy models`", model=name)
        user = _user_of(db, row)
        if user:
            raise InUseError(f"model {name} version {version} cannot be removed: {user}", model=name, version=version)
        artifacts = set(
            db.scalars(select(ArtifactReferenceRow.artifact).where(ArtifactReferenceRow.bundle == row.digest))
        )
        db.execute(delete(ArtifactReferenceRow).where(ArtifactReferenceRow.bundle == row.digest))
        used = select(ArtifactReferenceRow.artifact)
        db.execute(delete(ArtifactRow).where(ArtifactRow.digest.in_(artifacts), ArtifactRow.digest.not_in(used)))
        removal = RemovalRow(
            kind=RemovalKind.MODEL,
            name=name,
            version=version,
            serial=row.serial,
            digest=row.digest,
            artifacts=sorted(artifacts),
            at=utc_now(),
        )
        db.delete(row)
        db.add(removal)
        db.flush()
        return _removal(removal)


def _user_of(db: Session, model: ModelRow) -> str:
    """Who needs that model, and what to do about it; '' when nobody does."""
    for deployment in db.scalars(select(DeploymentRow).order_by(DeploymentRow.name)):
        is_it = (deployment.model, deployment.version) == (model.name, model.version)
        if is_it and deployment.wanted:
            return (
                f"deployment {deployment.name} wants it: `convoy undeploy {deployment.name}`, or deploy another version"
            )
        for generation, state, bundle in unended_bundles(db, deployment.name):
            if bundle == model.digest:
                what = f"generation {generation} of deployment {deployment.name} is {state.value}"
                return f"{what}: wait until it has ended, or `convoy undeploy {deployment.name}`"
        changes = deployment.wanted and deployment.state is not DeploymentState.SERVING
        if changes and model.digest in used_to_serve(db, deployment.name):
            return (
                f"deployment {deployment.name} is {deployment.state.value} and may return to it: wait until it serves"
            )
    return ""


def forget_board(database: Database, name: str) -> datetime | None:
    """Forget a board, with its sessions and what it once ran; returns when it was last seen.

    Raises `NotFoundError`, and `InUseError` while it is online or a generation that has not ended counts on it.
    """
    with database.write() as db:
        row = db.get(BoardRow, name)
        if row is None:
            raise NotFoundError(f"there is no board {name!r}: see `convoy boards`", board=name)
        if row.presence is BoardPresence.ONLINE:
            raise InUseError(f"board {name} is online: stop its daemon first, or it comes back at once", board=name)
        ended = (GenerationState.RETIRED, GenerationState.ABANDONED)
        user = db.execute(
            select(GenerationRow.deployment, GenerationRow.epoch, GenerationRow.counter)
            .join(AssignmentRow, AssignmentRow.generation_id == GenerationRow.id)
            .where(GenerationRow.state.not_in(ended), AssignmentRow.board == name)
        ).first()
        if user is not None:
            raise InUseError(
                f"board {name} is away, but generation {user[1]}-{user[2]} of deployment {user[0]} counts on it: "
                f"add a board, or `convoy undeploy {user[0]}`",
                board=name,
            )
        seen = row.last_seen
        forget_rows(db, utc_now(), name)
        db.add(
            RemovalRow(kind=RemovalKind.BOARD, name=name, version="", serial=0, digest="", artifacts=[], at=utc_now())
        )
        return seen


def removals_since(database: Database, number: int) -> tuple[Removal, ...]:
    """Removals numbered above `number`, the oldest first."""
    with database.read() as db:
        rows = db.scalars(_REMOVED_SINCE, {"number": number}).all()
    return tuple(_removal(row) for row in rows)


def _removal(row: RemovalRow) -> Removal:
    return Removal(row.id, row.kind, row.name, row.version, row.digest, frozenset(row.artifacts))


# Clearings


def request_collection(database: Database, *, dry_run: bool, orphans: bool) -> int:
    """Ask the controller in charge to clear what nobody refers to, or to say what it would; returns a number."""
    with database.write() as db:
        row = CollectionRow(asked_at=utc_now(), dry_run=dry_run, orphans=orphans, findings=[])
        db.add(row)
        db.flush()
        db.execute(delete(CollectionRow).where(CollectionRow.id <= row.id - MOST_COLLECTIONS))
        return row.id


def pending_collections(database: Database) -> tuple[SavedCollection, ...]:
    """Those that nobody has done yet."""
    with database.read() as db:
        rows = db.scalars(select(CollectionRow).where(CollectionRow.done_at.is_(None)).order_by(CollectionRow.id)).all()
    return tuple(_collection(row) for row in rows)


def finish_collection(database: Database, number: int, findings: Sequence[dict[str, Any]]) -> None:
    """Say what was found and what became of it."""
    with database.write() as db:
        row = db.get(CollectionRow, number)
        if row is not None:
            row.done_at, row.findings = utc_now(), list(findings)


def collection(database: Database, number: int) -> SavedCollection:
    """One clearing; raises `NotFoundError`."""
    with database.read() as db:
        row = db.get(CollectionRow, number)
    if row is None:
        raise NotFoundError(f"there is no clearing {number}: ask again with `convoy gc`")
    return _collection(row)


def _collection(row: CollectionRow) -> SavedCollection:
    return SavedCollection(row.id, row.dry_run, row.orphans, row.done_at, tuple(row.findings))
