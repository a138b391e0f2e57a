"""How rows become the plain data that queries answer, and the statement that reads a board as one row.

Called by `queries` and `pages`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

from convoy_schema import codec
from convoy_schema.bundle import Bundle, Method, ModelAnnouncement
from convoy_schema.messages.boards import Capability, Phase, Reported
from convoy_schema.messages.desired import Assignment, Intent
from convoy_schema.names import Generation
from convoy_schema.topology import Topology
from sqlalchemy import Row, Select, case, func, select
from sqlalchemy.orm import Session, aliased

from convoy_controller.database.explanations import explain
from convoy_controller.database.models import (
    AssignmentRow,
    BoardRow,
    BoardStatisticsRow,
    BoardWishRow,
    CertificateRow,
    DeploymentRow,
    EventRow,
    GenerationRow,
    ModelRow,
    SessionRow,
)
from convoy_controller.database.readable import readable, saved_deployment, symptoms
from convoy_controller.database.records import LIVE_STATES, GenerationState, SymptomKind
from convoy_controller.database.status_models import BoardConditionRow
from convoy_controller.database.views import (
    Assigned,
    BoardDetail,
    BoardFacts,
    BoardStatistics,
    DeploymentLine,
    EventLine,
    FleetLine,
    ModelLine,
    ReplicaLine,
    SessionLine,
    StageLine,
)


@functools.lru_cache(maxsize=1)
def board_rows() -> Select[Any]:
    """One row a board: itself, its last pulse and session, and the live assignment that matters most."""
    inner, live = aliased(AssignmentRow), aliased(GenerationRow)
    matters_most = (
        select(inner.id)
        .join(live, live.id == inner.generation_id)
        .where(inner.board == BoardRow.name, live.state.in_(LIVE_STATES))
        .order_by(
            case((inner.phase == Phase.FAILED, 0), (live.state == GenerationState.DRAINING, 2), else_=1),
            case((inner.phase == Phase.READY, 1), else_=0),
            inner.id.desc(),
        )
        .limit(1)
        .correlate(BoardRow)
        .scalar_subquery()
    )
    earlier = aliased(SessionRow)
    last_session = select(func.max(earlier.id)).where(earlier.board == BoardRow.name).correlate(BoardRow)
    # Few, and found by their own index: a revoked name is never used again.
    revoked = (
        select(
            CertificateRow.name.label("name"),
            func.min(CertificateRow.revoked_at).label("at"),
            func.max(CertificateRow.reason).label("reason"),
        )
        .where(CertificateRow.revoked_at.is_not(None))
        .group_by(CertificateRow.name)
        .subquery()
    )
    return (
        select(
            BoardRow,
            BoardStatisticsRow.at,
            SessionRow,
            AssignmentRow,
            GenerationRow,
            BoardWishRow,
            revoked.c.at,
            revoked.c.reason,
        )
        .outerjoin(revoked, revoked.c.name == BoardRow.name)
        .outerjoin(BoardWishRow, BoardWishRow.board == BoardRow.name)
        .outerjoin(BoardStatisticsRow, BoardStatisticsRow.board == BoardRow.name)
        .outerjoin(SessionRow, SessionRow.id == last_session.scalar_subquery())
        .outerjoin(AssignmentRow, AssignmentRow.id == matters_most)
        .outerjoin(GenerationRow, GenerationRow.id == AssignmentRow.generation_id)
    )


def board_facts(found: Row[Any]) -> BoardFacts:
    """What `board_rows` found of one board."""
    row, pulsed_at, session, assignment, generation, wish, revoked_at, revoked_reason = found
    is_to_restart = wish is not None and wish.restart_token not in ("", row.restarted)
    found_wrong = symptoms(row.symptoms)
    given_up = found_wrong.pop(SymptomKind.GIVEN_UP, None)
    seen = [at for at in (row.last_seen, pulsed_at) if at is not None]
    return BoardFacts(
        board=row.name,
        presence=row.presence,
        presence_since=row.presence_since,
        presence_reason=row.presence_reason,
        first_seen=row.first_seen,
        last_seen=max(seen, default=None),
        session=row.session,
        session_started=None if session is None else session.started_at,
        session_ended=None if session is None else session.ended_at,
        session_reason="" if session is None else session.reason,
        part=row.part,
        fabric=row.fabric,
        software=row.software,
        is_described=readable(Capability, row.capability) is not None,
        shell=row.shell,
        blocked=row.blocked,
        degraded=tuple(row.degraded.split(",")) if row.degraded else (),
        desired=(row.desired_epoch, row.desired_revision),
        desired_at=row.desired_at,
        reported=(row.reported_epoch, row.reported_revision),
        reported_at=row.reported_at,
        assigned=None if assignment is None else _assigned(assignment, generation),
        given_up="" if given_up is None else given_up.figures["sentence"],
        given_up_at=None if given_up is None else given_up.since,
        drained_at=None if wish is None else wish.drained_at,
        restart_at=wish.restart_at if is_to_restart else None,
        given_up_code="" if given_up is None else given_up.figures["code"],
        blocked_since=row.blocked_since,
        degraded_since=row.degraded_since,
        revoked_at=revoked_at,
        revoked_reason=revoked_reason or "",
        symptoms=tuple(found_wrong.values()),
    )


def _assigned(row: AssignmentRow, generation: GenerationRow) -> Assigned:
    return Assigned(
        generation.deployment,
        Generation(generation.epoch, generation.counter),
        generation.state,
        row.stage,
        row.stages,
        tuple(row.layers),
        row.slots,
        row.phase,
        row.step,
        row.done_bytes,
        row.total_bytes,
        row.code,
        row.message,
        row.retryable,
        row.changed_at,
        row.failing_since,
    )


def fleet_lines() -> Select[Any]:
    """One row a board for the list of all: itself, its condition as it is stored, and when its last pulse came."""
    board, told = BoardRow, BoardConditionRow
    return (
        select(
            *(board.name, board.presence, told.condition, told.sentence, told.since, board.last_seen),
            *(board.part, board.fabric, board.shell, BoardStatisticsRow.at),
            *(told.deployment, told.generation, told.stage, told.stages, told.phase),
        )
        .join(told, told.board == board.name)
        .outerjoin(BoardStatisticsRow, BoardStatisticsRow.board == board.name)
    )


def fleet_line(found: Row[Any]) -> FleetLine:
    """One board in the list of all."""
    name, presence, condition, sentence, since, seen, part, fabric, shell, pulsed_at, *assigned = found
    deployment, generation, stage, stages, phase = assigned
    return FleetLine(
        name,
        presence,
        condition,
        sentence,
        since,
        max((at for at in (seen, pulsed_at) if at is not None), default=None),
        part,
        fabric,
        shell,
        deployment,
        None if generation is None else Generation.parse(generation),
        stage,
        stages,
        phase,
    )


def assignments_of(db: Session, name: str) -> tuple[Assigned, ...]:
    """Every live assignment of a board, newest first."""
    rows = db.execute(
        select(AssignmentRow, GenerationRow)
        .join(GenerationRow, GenerationRow.id == AssignmentRow.generation_id)
        .where(AssignmentRow.board == name, GenerationRow.state.in_(LIVE_STATES))
        .order_by(AssignmentRow.id.desc())
    )
    return tuple(_assigned(assignment, generation) for assignment, generation in rows)


def board_detail(
    found: Row[Any],
    sessions: Iterable[SessionRow],
    assignments: tuple[Assigned, ...],
    pulse: BoardStatisticsRow | None,
) -> BoardDetail:
    """Everything known of one board."""
    row: BoardRow = found[0]
    facts = board_facts(found)
    reported = readable(Reported, row.reported)
    return BoardDetail(
        explain(facts),
        facts,
        readable(Capability, row.capability),
        () if reported is None else reported.partitions,
        row.store_bytes,
        row.store_quota,
        assignments,
        tuple(session_line(item) for item in sessions),
        None if pulse is None else _statistics(pulse),
    )


def session_line(row: SessionRow) -> SessionLine:
    """One run of a board's daemon."""
    return SessionLine(row.session, row.started_at, row.ended_at, row.reason)


def event_line(row: EventRow) -> EventLine:
    """One line of history."""
    return EventLine(
        row.id, row.at, row.severity, row.kind, row.board, row.deployment, row.generation, row.sentence, row.data
    )


def _statistics(row: BoardStatisticsRow) -> BoardStatistics:
    return BoardStatistics(
        row.session,
        row.at,
        row.uptime_ms,
        row.rss_bytes,
        row.frames,
        row.rows,
        row.queued,
        row.refused,
        row.control_bytes,
        row.activation_bytes,
    )


#: A generation, its state, its boards, how many of those are ready, and the intent it was made for.
Counts = tuple[Generation, GenerationState, int, int, Intent | None]


def live_counts(db: Session, deployments: Sequence[str]) -> dict[str, Counts]:
    """Of those deployments, by name: the newest live generation, and that one's boards, assigned and ready."""
    row = GenerationRow
    live = {
        deployment: (number, Generation(epoch, counter), state)
        for deployment, number, epoch, counter, state in db.execute(
            # Columns, not rows: each row would bring its plan.
            select(row.deployment, row.id, row.epoch, row.counter, row.state)
            .where(row.deployment.in_(deployments), row.state.in_(LIVE_STATES))
            .order_by(row.epoch, row.counter)
        )
    }
    ready = func.sum(case((AssignmentRow.phase == Phase.READY, 1), else_=0))
    counted = db.execute(
        select(AssignmentRow.generation_id, func.count(), ready, func.min(AssignmentRow.id))
        .where(AssignmentRow.generation_id.in_([number for number, _, _ in live.values()]))
        .group_by(AssignmentRow.generation_id)
    )
    counts = {number: (int(boards), int(done), first) for number, boards, done, first in counted}
    first = select(AssignmentRow.id, AssignmentRow.packed).where(
        AssignmentRow.id.in_([each[2] for each in counts.values()])
    )
    intents = {number: _intent(packed) for number, packed in db.execute(first)}
    found: dict[str, Counts] = {}
    for deployment, (number, generation, state) in live.items():
        boards, done, first_id = counts.get(number, (0, 0, 0))
        found[deployment] = (generation, state, boards, done, intents.get(first_id))
    return found


def _intent(packed: bytes) -> Intent | None:
    assignment = readable(Assignment, packed)
    return None if assignment is None else assignment.intent


def deployment_line(row: DeploymentRow, live: Counts | None) -> DeploymentLine:
    """One deployment in the list of all."""
    intent = saved_deployment(row).intent
    return DeploymentLine(
        row.name,
        row.model,
        row.version,
        row.method,
        row.boards,
        row.objective,
        row.cut,
        row.batch,
        row.wanted,
        row.state,
        row.message,
        None if live is None else live[0],
        None if live is None else live[1],
        live is not None and live[4] == intent,
        0 if live is None else live[2],
        0 if live is None else live[3],
        row.created_at,
        row.changed_at,
        intent.board_names,
        row.replicas,
        row.spare,
        row.intent_revision,
    )


def stage_line(stage: int, rows: list[Row[Any]]) -> StageLine:
    """One stage from its (assignment, presence) rows, of which there is at least one."""
    replicas = tuple(
        ReplicaLine(row.board, presence, row.phase, row.slots, row.step, row.done_bytes, row.total_bytes)
        for row, presence in rows
    )
    told = readable(Assignment, rows[0][0].packed)
    return StageLine(stage, tuple(rows[0][0].layers), replicas, told.processor if told is not None else ())


def model_line(row: ModelRow, totals: tuple[int, int, int]) -> ModelLine:
    """One model version; `totals` are its artifacts, their bytes and their packed bytes."""
    announcement = codec.decode(ModelAnnouncement, row.announcement)
    bundle = codec.unpack(Bundle, announcement.bundle)
    topology = codec.unpack(Topology, announcement.topology)
    shells = {image.shell for image in bundle.shells}
    return ModelLine(
        row.name,
        row.version,
        row.serial,
        row.digest,
        tuple(method.value for method in Method if method.shell in shells),
        len(topology.layers),
        topology.tensor(topology.input).shape,
        bundle.class_names,
        *totals,
        row.imported_at,
    )
