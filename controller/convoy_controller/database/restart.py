"""What a restarting controller finds: everything it knew, as plain data. Called by `recorder`."""

from __future__ import annotations

from collections.abc import Collection

from convoy_schema import codec
from convoy_schema.bundle import ModelAnnouncement
from convoy_schema.errors import DecodeError
from convoy_schema.messages.boards import Capability, Reported
from convoy_schema.messages.desired import Assignment
from convoy_schema.names import Generation
from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from convoy_controller.database.board_wishes import wishes_since
from convoy_controller.database.models import (
    AssignmentRow,
    BoardRow,
    DeploymentRow,
    FleetFactsRow,
    GatewayRow,
    GenerationRow,
    ModelRow,
    RemovalRow,
)
from convoy_controller.database.placement_records import facts_row
from convoy_controller.database.readable import readable, saved_deployment, symptoms
from convoy_controller.database.records import (
    LIVE_STATES,
    Asked,
    Counters,
    DeploymentState,
    FleetState,
    SavedBoard,
    SavedDeployment,
    SavedGateway,
    SavedGeneration,
    SavedModel,
)
from convoy_controller.errors import DatabaseVersionError

_ASKED = select(FleetFactsRow.intent, select(func.max(RemovalRow.id)).scalar_subquery())
_WANTED_SINCE = (
    select(DeploymentRow)
    .where(DeploymentRow.intent_revision > bindparam("since"))
    .order_by(DeploymentRow.intent_revision)
)


def load_state(db: Session) -> FleetState:
    """Boards, gateways, deployments, live generations, models and counters, in one consistent view."""
    facts = facts_row(db)
    return FleetState(
        facts.instance,
        Counters(facts.epoch, facts.revision, facts.generation, facts.intent),
        tuple(_board(row) for row in db.scalars(select(BoardRow).order_by(BoardRow.name))),
        tuple(
            SavedGateway(row.name, row.presence, row.session, row.address)
            for row in db.scalars(select(GatewayRow).order_by(GatewayRow.name))
        ),
        tuple(
            saved_deployment(row)
            for row in db.scalars(select(DeploymentRow).order_by(DeploymentRow.name))
            if row.wanted or row.state is not DeploymentState.REMOVED
        ),
        _live_generations(db),
        tuple(saved_model(row) for row in db.scalars(select(ModelRow).order_by(ModelRow.name, ModelRow.serial))),
        wishes_since(db, 0),
    )


def asked(db: Session) -> Asked:
    """How far owners have come in what they ask for: cheap to read, and only what has moved is worth a look."""
    intent, removal = db.connection().execute(_ASKED).one()
    return Asked(intent, removal or 0)


def intents_since(db: Session, revision: int) -> tuple[SavedDeployment, ...]:
    """Deployments whose intent changed after `revision`, in the order in which it did."""
    return tuple(saved_deployment(row) for row in db.scalars(_WANTED_SINCE, {"since": revision}))


def models_except(db: Session, known: Collection[str]) -> tuple[SavedModel, ...]:
    """Model versions whose bundle digest is not in `known`, in the order of their serials."""
    digests = [digest for digest in db.scalars(select(ModelRow.digest)) if digest not in known]
    rows = [db.scalars(select(ModelRow).where(ModelRow.digest == digest)).one() for digest in digests]
    return tuple(saved_model(row) for row in sorted(rows, key=lambda row: (row.name, row.serial)))


def _board(row: BoardRow) -> SavedBoard:
    return SavedBoard(
        row.name,
        row.presence,
        row.session,
        readable(Capability, row.capability),
        readable(Reported, row.reported),
        row.desired_epoch,
        row.desired_revision,
        tuple(symptoms(row.symptoms)),
    )


def saved_model(row: ModelRow) -> SavedModel:
    """A model's row as plain data."""
    announcement = codec.decode(ModelAnnouncement, row.announcement)
    return SavedModel(row.name, row.version, row.serial, row.digest, announcement)


def _live_generations(db: Session) -> tuple[SavedGeneration, ...]:
    generations = db.scalars(
        select(GenerationRow).where(GenerationRow.state.in_(LIVE_STATES)).order_by(GenerationRow.id)
    ).all()
    assignments: dict[int, list[AssignmentRow]] = {row.id: [] for row in generations}
    found = db.scalars(
        select(AssignmentRow)
        .join(GenerationRow, GenerationRow.id == AssignmentRow.generation_id)
        .where(GenerationRow.state.in_(LIVE_STATES))
        .order_by(AssignmentRow.stage, AssignmentRow.board)
    )
    for row in found:
        assignments[row.generation_id].append(row)
    return tuple(_generation(row, assignments[row.id]) for row in generations)


def _generation(row: GenerationRow, assignments: list[AssignmentRow]) -> SavedGeneration:
    number = Generation(row.epoch, row.counter)
    try:
        packed = {item.board: codec.unpack(Assignment, item.packed) for item in assignments}
    except DecodeError as error:
        raise DatabaseVersionError(
            f"generation {number} of {row.deployment} was saved by a version whose assignments this one cannot read "
            f"({error}): start the version that saved it, undeploy, then update",
            deployment=row.deployment,
        ) from error
    phases = {item.board: item.phase for item in assignments}
    return SavedGeneration(row.deployment, number, row.state, packed, phases, row.reason, row.plan)
