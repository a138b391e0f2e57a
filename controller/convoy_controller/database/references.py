"""What refers to which model: the facts from which `garbage` decides that nobody needs one any more. Reads only.

Called by the controller for each survey, and by `removals` for its refusals.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from convoy_schema import codec
from convoy_schema.errors import DecodeError
from convoy_schema.messages.boards import Reported
from convoy_schema.messages.desired import Assignment
from convoy_schema.names import Generation
from sqlalchemy import select
from sqlalchemy.orm import Session

from convoy_controller.database.engine import Database
from convoy_controller.database.models import (
    ArtifactReferenceRow,
    AssignmentRow,
    BoardRow,
    DeploymentRow,
    GenerationRow,
    ModelRow,
    RemovalRow,
)
from convoy_controller.database.readable import readable
from convoy_controller.database.records import DeploymentState, GenerationState, ModelUse, References, RemovalKind
from convoy_controller.errors import DatabaseVersionError

#: Past generations of a deployment that are looked at for the bundle to go back to.
MOST_LOOKED_BACK = 20

_ENDED = (GenerationState.RETIRED, GenerationState.ABANDONED)


def references(database: Database, heard: Collection[str] = ()) -> References:
    """Everything that may need a model. What the boards in `heard` hold is known to the caller, and left out.

    Indexes: the keys of models, references and deployments; `ix_generations_state_changed_at` with
    `ix_assignments_generation_id_board`; for each deployment `ix_generations_deployment_epoch_counter`.
    """
    with database.read() as db:
        deployments = db.scalars(select(DeploymentRow)).all()
        current = [row for row in deployments if row.wanted or row.state is not DeploymentState.REMOVED]
        in_force, rollback, is_whole = _held(db, heard), set[str](), True
        try:
            in_force |= {bundle for _, _, bundle in unended_bundles(db)}
            for deployment in current:
                rollback |= used_to_serve(db, deployment.name)
        except DatabaseVersionError:
            is_whole = False
        catalogue = _catalogue(db)
        removed, forgotten = _removed(db, {model.digest for model in catalogue})
        return References(
            catalogue=catalogue,
            removed=removed,
            in_force=frozenset(in_force),
            rollback=frozenset(rollback),
            intended=frozenset((row.model, row.version) for row in current),
            forgotten=forgotten,
            is_whole=is_whole,
        )


def _catalogue(db: Session) -> tuple[ModelUse, ...]:
    artifacts: dict[str, set[str]] = {}
    for bundle, artifact in db.execute(select(ArtifactReferenceRow.bundle, ArtifactReferenceRow.artifact)):
        artifacts.setdefault(bundle, set()).add(artifact)
    rows = db.execute(select(ModelRow.name, ModelRow.version, ModelRow.digest).order_by(ModelRow.name, ModelRow.serial))
    return tuple(
        ModelUse(name, version, digest, frozenset(artifacts.get(digest, ()))) for name, version, digest in rows
    )


def _removed(db: Session, published: set[str]) -> tuple[tuple[ModelUse, ...], frozenset[str]]:
    """Removed models that were not published again, and boards that did not come back."""
    models: dict[str, ModelUse] = {}
    boards: set[str] = set()
    for row in db.scalars(select(RemovalRow).order_by(RemovalRow.id)):
        if row.kind is RemovalKind.BOARD:
            boards.add(row.name)
        elif row.digest not in published:
            models[row.digest] = ModelUse(row.name, row.version, row.digest, frozenset(row.artifacts))
    there = set(db.scalars(select(BoardRow.name).where(BoardRow.name.in_(boards)))) if boards else set[str]()
    return tuple(models.values()), frozenset(boards - there)


def _held(db: Session, heard: Collection[str]) -> set[str]:
    """Bundles of what boards last said they hold."""
    found: set[str] = set()
    for name, packed in db.execute(select(BoardRow.name, BoardRow.reported).where(BoardRow.reported.is_not(None))):
        report = readable(Reported, packed) if name not in heard else None
        if report is not None:
            found |= {assignment.bundle for assignment in report.held}
    return found


def unended_bundles(db: Session, deployment: str = "") -> Iterator[tuple[Generation, GenerationState, str]]:
    """(generation, its state, its bundle) of each one that has not ended; raises `DatabaseVersionError`."""
    wanted = select(GenerationRow).where(GenerationRow.state.not_in(_ENDED)).order_by(GenerationRow.id)
    if deployment:
        wanted = wanted.where(GenerationRow.deployment == deployment)
    for row in db.scalars(wanted).all():
        bundle = _bundle_of(db, row)
        if bundle:
            yield Generation(row.epoch, row.counter), row.state, bundle


def used_to_serve(db: Session, deployment: str) -> frozenset[str]:
    """The bundle that a deployment served before the present one: what it would go back to; none, or one."""
    present = {bundle for _, _, bundle in unended_bundles(db, deployment)}
    ended = (
        select(GenerationRow)
        .where(GenerationRow.deployment == deployment, GenerationRow.state == GenerationState.RETIRED)
        .order_by(GenerationRow.epoch.desc(), GenerationRow.counter.desc())
        .limit(MOST_LOOKED_BACK)
    )
    for row in db.scalars(ended).all():
        bundle = _bundle_of(db, row)
        if bundle and bundle not in present:
            return frozenset({bundle})
    return frozenset()


def _bundle_of(db: Session, generation: GenerationRow) -> str:
    """All assignments of a generation are of one bundle; '' when none is left."""
    packed = db.scalars(
        select(AssignmentRow.packed).where(AssignmentRow.generation_id == generation.id).limit(1)
    ).first()
    if packed is None:
        return ""
    try:
        return codec.unpack(Assignment, packed).bundle
    except DecodeError as error:
        raise DatabaseVersionError(
            f"an assignment of {generation.deployment} cannot be read by this version: {error}",
            deployment=generation.deployment,
        ) from error
