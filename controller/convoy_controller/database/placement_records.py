"""How deployments, generations and counters become rows. Called by `recorder` and `intents`, in their transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from convoy_schema import codec
from convoy_schema.messages.boards import Phase
from convoy_schema.messages.desired import Assignment, Intent
from convoy_schema.names import Generation
from sqlalchemy import select
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import Session

from convoy_controller.database.board_records import board_row
from convoy_controller.database.condition_records import touch
from convoy_controller.database.held_rows import held
from convoy_controller.database.models import AssignmentRow, DeploymentRow, FleetFactsRow, GenerationRow
from convoy_controller.database.records import Counters, DeploymentState, GenerationState, SavedGeneration
from convoy_controller.errors import NotFoundError


def facts_row(db: Session) -> FleetFactsRow:
    """The one row of counters; every database has it from its first transaction on."""
    return held(db, FleetFactsRow, 1, _no_facts)


def _no_facts() -> FleetFactsRow:
    raise NoResultFound("the row of counters is not there")


def next_count(db: Session, counter: str) -> int:
    """Count one of `revision`, `generation`, `intent` up by one and return it."""
    row = facts_row(db)
    value = int(getattr(row, counter)) + 1
    setattr(row, counter, value)
    return value


def epoch(db: Session) -> int:
    """The newest reign that was opened in this database."""
    return facts_row(db).epoch


def raise_counters(db: Session, epoch: int, revision: int, generation: int) -> Counters:
    """Lift each counter to at least the number given; none ever falls."""
    row = facts_row(db)
    row.epoch = max(row.epoch, epoch)
    row.revision = max(row.revision, revision)
    row.generation = max(row.generation, generation)
    return Counters(row.epoch, row.revision, row.generation, row.intent)


def intent_values(intent: Intent) -> dict[str, Any]:
    """The columns that hold an intent."""
    return {
        "model": intent.model,
        "version": intent.version,
        "method": intent.method,
        "boards": intent.boards,
        "objective": intent.objective,
        "cut": intent.cut,
        "batch": intent.batch,
        "board_names": ",".join(intent.board_names) or None,
        "replicas": intent.replicas,
        "spare": intent.spare,
    }


def save_intent(db: Session, now: datetime, intent: Intent, state: DeploymentState) -> int:
    """Write what the owner wants, stamped with a new intent revision, which is returned."""
    revision = next_count(db, "intent")
    row = db.get(DeploymentRow, intent.deployment)
    if row is None:
        row = DeploymentRow(name=intent.deployment, created_at=now)
        db.add(row)
    for column, value in intent_values(intent).items():
        setattr(row, column, value)
    row.intent_revision, row.wanted, row.state, row.message, row.changed_at = revision, True, state, "", now
    db.flush()
    return revision


def deployment_state(db: Session, now: datetime, name: str, state: DeploymentState, message: str) -> None:
    """How far a deployment is; raises `NotFoundError` for one that nobody asked for."""
    row = db.get(DeploymentRow, name)
    if row is None:
        raise NotFoundError(f"there is no deployment {name!r} to be {state.value}", deployment=name)
    if row.state is not state:
        row.changed_at = now
    row.state, row.message = state, message


def _generation_row(db: Session, deployment: str, generation: Generation) -> GenerationRow | None:
    return db.scalars(
        select(GenerationRow).where(
            GenerationRow.deployment == deployment,
            GenerationRow.epoch == generation.epoch,
            GenerationRow.counter == generation.counter,
        )
    ).first()


def save_generation(db: Session, now: datetime, placement: SavedGeneration) -> None:
    """Write a placement and every assignment of it.

    Saving it again keeps the phases that were reported meanwhile; without assignments those saved before stay.
    """
    row = _generation_row(db, placement.deployment, placement.generation)
    if row is None:
        row = GenerationRow(
            deployment=placement.deployment,
            epoch=placement.generation.epoch,
            counter=placement.generation.counter,
            created_at=now,
            changed_at=now,
        )
        db.add(row)
    elif row.state is not placement.state:
        row.changed_at = now
    row.state, row.reason, row.plan = placement.state, placement.reason, placement.plan
    db.flush()
    _touch_boards(db, now, row.id)
    if placement.assignments:
        row.bundle = next(iter(placement.assignments.values())).bundle
        _save_assignments(db, now, row.id, placement.assignments, placement.phases)
        touch(db, now, placement.assignments)


def _touch_boards(db: Session, now: datetime, generation_id: int) -> None:
    touch(db, now, db.scalars(select(AssignmentRow.board).where(AssignmentRow.generation_id == generation_id)))


def _save_assignments(
    db: Session, now: datetime, generation_id: int, wanted: Mapping[str, Assignment], phases: Mapping[str, Phase]
) -> None:
    there = {
        row.board: row for row in db.scalars(select(AssignmentRow).where(AssignmentRow.generation_id == generation_id))
    }
    for board in there.keys() - wanted.keys():
        db.delete(there[board])
    for board, assignment in wanted.items():
        row = there.get(board)
        if row is None:
            board_row(db, board)
            row = AssignmentRow(
                generation_id=generation_id,
                board=board,
                phase=phases.get(board, Phase.IDLE),
                step="",
                done_bytes=0,
                total_bytes=0,
                code="",
                message="",
                retryable=False,
                changed_at=now,
            )
            db.add(row)
        row.stage, row.stages, row.layers = assignment.stage, assignment.stages, list(assignment.layers)
        row.slots = {slot.partition: slot.kind.value for slot in assignment.slots}
        row.packed = codec.pack(assignment)
    db.flush()


def generation_state(
    db: Session, now: datetime, deployment: str, generation: Generation, state: GenerationState, reason: str
) -> None:
    """Move a generation on; raises `NotFoundError` for one that was never saved."""
    row = _generation_row(db, deployment, generation)
    if row is None:
        raise NotFoundError(
            f"deployment {deployment!r} has no generation {generation}: save it before it is published",
            deployment=deployment,
            generation=str(generation),
        )
    if row.state is not state:
        row.changed_at = now
        _touch_boards(db, now, row.id)
    row.state = state
    row.reason = reason or row.reason
