"""Which boards have which model version or artifact, and how far they are: of all generations that have not ended.

A board says how far it is with each assignment, and not with each artifact; what it keeps in its store beyond its
assignments it says in bytes only. So an artifact is as far as the assignments that need it. All may raise
`DatabaseError`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from convoy_schema import codec
from convoy_schema.bundle import ModelAnnouncement
from convoy_schema.messages.boards import Phase
from convoy_schema.names import Generation
from convoy_schema.topology import Topology
from sqlalchemy import Row, Select, case, func, select
from sqlalchemy.orm import Session

from convoy_controller.database.engine import Database
from convoy_controller.database.models import (
    ArtifactReferenceRow,
    ArtifactRow,
    AssignmentRow,
    BoardRow,
    GenerationRow,
    ModelRow,
)
from convoy_controller.database.records import LIVE_STATES, ArtifactKind, BoardPresence
from convoy_controller.database.status_views import ArtifactSpread, Holder, Spread
from convoy_controller.errors import NotFoundError

#: Phases in which everything that the assignment needs is on the board and was checked.
VERIFIED = (Phase.CONFIGURING, Phase.LOADING, Phase.TESTING, Phase.READY)
#: Model versions that are told of one artifact.
MOST_MODELS = 20


def model_spread(database: Database, model: str, version: str) -> Spread:
    """How far a model version is on the boards; raises `NotFoundError`.

    Indexes: models' key, `ix_generations_bundle_state`, `ix_assignments_generation_id_board`,
    `ix_boards_presence_name`.
    """
    with database.read() as db:
        row = db.get(ModelRow, (model, version))
        if row is None:
            raise NotFoundError(f"there is no model {model!r} version {version!r}: see `convoy models`", model=model)
        return _spread(db, row.name, row.version, row.digest)


def artifact_spread(database: Database, digest: str) -> ArtifactSpread:
    """The model versions that name an artifact, at most 20, and how far each is; raises `NotFoundError`.

    Indexes: artifacts' key, `ix_artifact_references_artifact`, `ix_models_digest`; for each as `model_spread`.
    """
    with database.read() as db:
        row = _artifact(db, digest)
        users = db.execute(_users(digest)).all()
        models = tuple(_spread(db, name, version, bundle) for name, version, bundle in users)
        return ArtifactSpread(row.digest, row.kind, row.size, models)


def holders(
    database: Database,
    model: str,
    version: str,
    limit: int,
    after: tuple[int, str] | None = None,
    artifact: str | None = None,
) -> tuple[tuple[int, Holder], ...]:
    """At most `limit` boards that are to have a model version, beyond `after`, each with the number of its generation.

    With `artifact` each says whether its part needs it. Raises `NotFoundError`. Indexes: as `model_spread`.
    """
    row, of = AssignmentRow, GenerationRow
    wanted = (
        select(
            *(of.id, row.board, BoardRow.presence, of.deployment, of.epoch, of.counter),
            *(row.stage, row.phase, row.done_bytes, row.total_bytes, row.changed_at, row.layers),
        )
        .join(of, of.id == row.generation_id)
        .join(BoardRow, BoardRow.name == row.board)
        .order_by(of.id, row.board)
        .limit(limit)
    )
    if after is not None:
        number, board = after
        wanted = wanted.where(GenerationRow.id >= number, (GenerationRow.id > number) | (row.board > board))
    with database.read() as db:
        known = db.get(ModelRow, (model, version))
        if known is None:
            raise NotFoundError(f"there is no model {model!r} version {version!r}: see `convoy models`", model=model)
        layers = None if artifact is None else _layers(db, known, artifact)
        found = db.execute(wanted.where(GenerationRow.bundle == known.digest, GenerationRow.state.in_(LIVE_STATES)))
        return tuple((each.id, _holder(known, each, artifact, layers)) for each in found)


def _artifact(db: Session, digest: str) -> ArtifactRow:
    row = db.get(ArtifactRow, digest)
    if row is None:
        raise NotFoundError(f"there is no artifact {digest}: the list of artifacts shows those there are")
    return row


def _users(digest: str) -> Select[tuple[str, str, str]]:
    return (
        select(ModelRow.name, ModelRow.version, ModelRow.digest)
        .join(ArtifactReferenceRow, ArtifactReferenceRow.bundle == ModelRow.digest)
        .where(ArtifactReferenceRow.artifact == digest)
        .order_by(ModelRow.name, ModelRow.serial.desc())
        .limit(MOST_MODELS)
    )


def _spread(db: Session, model: str, version: str, bundle: str) -> Spread:
    row = AssignmentRow
    # Few boards are not online: they are looked up once, rather than each board.
    gone = select(BoardRow.name).where(BoardRow.presence.in_((BoardPresence.OFFLINE, BoardPresence.UNKNOWN)))
    away = case((row.board.in_(gone), 1), else_=0)
    by_phase = (
        select(row.phase, func.count(), func.sum(away), func.sum(row.done_bytes), func.sum(row.total_bytes))
        .join(GenerationRow, GenerationRow.id == row.generation_id)
        .where(GenerationRow.bundle == bundle, GenerationRow.state.in_(LIVE_STATES))
        .group_by(row.phase)
    )
    found = {phase: tuple(map(int, sums)) for phase, *sums in db.execute(by_phase)}

    def total(phases: Iterable[Phase], place: int = 0) -> int:
        return sum(found[phase][place] for phase in phases if phase in found)

    return Spread(
        model=model,
        version=version,
        bundle=bundle,
        boards=total(Phase),
        verified=total(VERIFIED),
        ready=total((Phase.READY,)),
        fetching=total((Phase.FETCHING, Phase.VERIFYING)),
        waiting=total((Phase.IDLE,)),
        failed=total((Phase.FAILED,)),
        away=total(Phase, 1),
        done_bytes=total((Phase.FETCHING,), 2),
        total_bytes=total((Phase.FETCHING,), 3),
    )


def _layers(db: Session, model: ModelRow, artifact: str) -> frozenset[str] | None:
    """The layers whose parameters an artifact is; None for one of another kind."""
    if _artifact(db, artifact).kind is not ArtifactKind.PARAMETERS:
        return None
    topology = codec.unpack(Topology, codec.decode(ModelAnnouncement, model.announcement).topology)
    return frozenset(layer.name for layer in topology.layers if layer.parameters == artifact)


def _holder(model: ModelRow, found: Row[Any], artifact: str | None, layers: frozenset[str] | None) -> Holder:
    return Holder(
        found.board,
        found.presence,
        model.name,
        model.version,
        found.deployment,
        Generation(found.epoch, found.counter),
        found.stage,
        found.phase,
        found.done_bytes,
        found.total_bytes,
        found.changed_at,
        None if artifact is None or layers is None else not layers.isdisjoint(found.layers),
    )
