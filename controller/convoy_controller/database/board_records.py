"""How what boards and gateways say becomes rows. Called by `recorder` alone, inside its transaction."""

from __future__ import annotations

import functools
from datetime import datetime
from typing import Any

from convoy_schema import codec
from convoy_schema.messages.boards import AssignmentReport, Capability, Phase, Reported
from convoy_schema.messages.gateways import GatewayReported
from sqlalchemy import Update, bindparam, case, delete, func, null, select, update
from sqlalchemy.orm import Session

from convoy_controller.database import condition_records, presence_hours
from convoy_controller.database.condition_records import touch
from convoy_controller.database.held_rows import held, let_go
from convoy_controller.database.models import (
    AssignmentRow,
    BoardLogRequestRow,
    BoardLogRow,
    BoardRow,
    BoardStatisticsRow,
    BoardWishRow,
    EventRow,
    GatewayRow,
    GenerationRow,
    SessionRow,
)
from convoy_controller.database.records import BoardPresence, NewEvent
from convoy_controller.database.status_models import BoardLabelRow
from convoy_controller.database.telemetry_tables import AbsenceRow

#: A sentence longer than this is cut: it comes from outside.
MAX_SENTENCE = 2000


def board_row(db: Session, name: str) -> BoardRow:
    """The board's row; a new one says that it was never seen."""
    return held(db, BoardRow, name, functools.partial(_new_board, name))


def _new_board(name: str) -> BoardRow:
    return BoardRow(
        name=name,
        session=0,
        presence=BoardPresence.UNKNOWN,
        presence_reason="",
        part="",
        fabric="",
        software="",
        desired_epoch=0,
        desired_revision=0,
        reported_epoch=0,
        reported_revision=0,
        shell="",
        blocked="",
        degraded="",
        store_bytes=0,
        store_quota=0,
    )


def forget_board(db: Session, now: datetime, name: str) -> None:
    """What a board is, its sessions, and its part in generations that ended; events and telemetry of it stay."""
    row = let_go(db, BoardRow, name) or db.get(BoardRow, name)
    if row is not None and row.first_seen is not None:
        presence_hours.count(db, now, row.presence, -1)
    condition_records.forget(db, name)
    db.execute(delete(BoardLabelRow).where(BoardLabelRow.board == name))
    db.execute(delete(AssignmentRow).where(AssignmentRow.board == name))
    db.execute(delete(SessionRow).where(SessionRow.board == name))
    db.execute(delete(AbsenceRow).where(AbsenceRow.board == name))
    db.execute(delete(BoardStatisticsRow).where(BoardStatisticsRow.board == name))
    db.execute(delete(BoardWishRow).where(BoardWishRow.board == name))
    db.execute(delete(BoardLogRow).where(BoardLogRow.board == name))
    db.execute(delete(BoardLogRequestRow).where(BoardLogRequestRow.board == name))
    db.execute(delete(BoardRow).where(BoardRow.name == name))


def forget_gateway(db: Session, name: str) -> None:
    """A gateway that has been gone for long; one that comes back gets a new row."""
    let_go(db, GatewayRow, name)
    db.execute(delete(GatewayRow).where(GatewayRow.name == name))


def _seen(db: Session, row: BoardRow, now: datetime) -> None:
    if row.first_seen is None:
        touch(db, now, (row.name,))
        row.first_seen = now
        presence_hours.count(db, now, row.presence, 1)
    row.last_seen = now


def presence(db: Session, now: datetime, board: str, state: BoardPresence, session: int, reason: str) -> bool:
    """A change of presence, and with it the beginning or end of a session; whether it is another session's."""
    touch(db, now, (board,))
    row = board_row(db, board)
    is_new = row.session != session
    if row.presence is not state or row.session != session:
        row.presence_since = now
    if row.presence is not state:
        _absence(db, now, row, state, session, reason)
    row.presence, row.session, row.presence_reason = state, session, reason[:MAX_SENTENCE]
    if state is BoardPresence.ONLINE:
        _seen(db, row, now)
        _begin_session(db, now, board, session)
    elif state is BoardPresence.OFFLINE:
        db.execute(
            update(SessionRow)
            .where(SessionRow.board == board, SessionRow.session == session, SessionRow.ended_at.is_(None))
            .values(ended_at=now, reason=reason[:MAX_SENTENCE])
        )
    return is_new


def _absence(db: Session, now: datetime, row: BoardRow, state: BoardPresence, session: int, reason: str) -> None:
    """The absence that was ends; unless the board is back another one begins."""
    if row.first_seen is not None:
        presence_hours.count(db, now, row.presence, -1)
        presence_hours.count(db, now, state, 1)
    if row.presence is not BoardPresence.ONLINE:
        ended = update(AbsenceRow).where(AbsenceRow.board == row.name, AbsenceRow.ended_at.is_(None))
        db.execute(ended.values(ended_at=now).execution_options(synchronize_session=False))
    if state is not BoardPresence.ONLINE:
        is_certain = state is BoardPresence.OFFLINE
        reason = reason[:MAX_SENTENCE]
        db.add(AbsenceRow(board=row.name, is_certain=is_certain, session=session, began_at=now, reason=reason))


def _begin_session(db: Session, now: datetime, board: str, session: int) -> None:
    found = db.scalars(select(SessionRow).where(SessionRow.board == board, SessionRow.session == session)).first()
    if found is not None:
        found.ended_at, found.reason = None, ""  # it was thought dead, and it speaks again
        return
    db.execute(
        update(SessionRow)
        .where(SessionRow.board == board, SessionRow.ended_at.is_(None))
        .values(ended_at=now, reason=f"replaced by session {session}")
    )
    db.add(SessionRow(board=board, session=session, started_at=now, reason=""))
    db.flush()


def capability(db: Session, now: datetime, board: str, facts: Capability) -> None:
    """What the board is."""
    touch(db, now, (board,))
    row = board_row(db, board)
    _seen(db, row, now)
    row.part, row.fabric, row.software = facts.part, facts.fabric, facts.software
    row.capability = codec.pack(facts)


def desired(db: Session, now: datetime, board: str, epoch: int, revision: int) -> None:
    """What the board has been told last."""
    touch(db, now, (board,))
    row = board_row(db, board)
    row.desired_epoch, row.desired_revision, row.desired_at = epoch, revision, now


def reported(db: Session, now: datetime, board: str, report: Reported) -> list[str]:
    """What the board says of itself, and the phases of its assignments; deployments it has just got ready for."""
    touch(db, now, (board,))
    row = board_row(db, board)
    _seen(db, row, now)
    row.reported_epoch, row.reported_revision, row.reported_at = report.epoch, report.revision, now
    row.shell, row.blocked, row.restarted = report.shell, report.blocked, report.restarted
    row.degraded = ",".join(item.partition for item in report.partitions if item.degraded)
    # Since when, whatever else it reports meanwhile.
    row.blocked_since = (row.blocked_since or now) if row.blocked else None
    row.degraded_since = (row.degraded_since or now) if row.degraded else None
    row.store_bytes, row.store_quota = report.store_bytes, report.store_quota
    row.reported = codec.pack(report)
    db.flush()
    ready = []
    for item in report.assignments:
        changed_at = phase(db, now, board, item)
        if item.phase is Phase.READY and changed_at == now:
            ready.append(item.deployment)
    return ready


def phase(db: Session, now: datetime, board: str, report: AssignmentReport) -> datetime | None:
    """How far a board is with one assignment; since when, and None when no such assignment was saved.

    What it failed at stays while it tries again, until it is ready: else a reader saw it come and go.
    """
    touch(db, now, (board,))
    values = {
        "of_deployment": report.deployment,
        "of_epoch": report.generation.epoch,
        "of_counter": report.generation.counter,
        "of_board": board,
        "now": now,
        "now_in": report.phase,
        "other_than": report.phase,
        "at_step": report.step,
        "done": report.done_bytes,
        "total": report.total_bytes,
    }
    is_over = report.phase in (Phase.FAILED, Phase.READY)
    told = {"why_code": report.code, "why": report.message, "may_retry": report.retryable} if is_over else {}
    found: datetime | None = db.execute(_phased(report.phase), values | told).scalars().first()
    return found


@functools.cache
def _phased(phase: Phase) -> Update:
    """Writes that an assignment is in that phase; built once for each: it takes as long as the database's answer."""
    row = AssignmentRow
    generation = (
        select(GenerationRow.id)
        .where(
            GenerationRow.deployment == bindparam("of_deployment"),
            GenerationRow.epoch == bindparam("of_epoch"),
            GenerationRow.counter == bindparam("of_counter"),
        )
        .scalar_subquery()
    )
    now, now_in = bindparam("now", type_=row.changed_at.type), bindparam("now_in", type_=row.phase.type)
    # The same once more: PostgreSQL takes one parameter for one type alone.
    other_than = bindparam("other_than", type_=row.phase.type)
    told: dict[str, Any] = {
        "code": bindparam("why_code"),
        "message": bindparam("why"),
        "retryable": bindparam("may_retry"),
    }
    failing_since: Any = null()
    if phase is Phase.FAILED:
        failing_since = func.coalesce(row.failing_since, now)
    elif phase is not Phase.READY:
        failing_since, told = row.failing_since, {}
    return (
        update(row)
        .where(row.generation_id == generation, row.board == bindparam("of_board"))
        .values(
            phase=now_in,
            step=bindparam("at_step"),
            done_bytes=bindparam("done"),
            total_bytes=bindparam("total"),
            # It answers "since when": progress inside a phase does not move it.
            changed_at=case((row.phase != other_than, now), else_=row.changed_at),
            failing_since=failing_since,
            **told,
        )
        .returning(row.changed_at)
        .execution_options(synchronize_session=False)
    )


def first_heard(db: Session, now: datetime, board: str) -> None:
    """The board has its row from here on, whatever its first words were."""
    _seen(db, board_row(db, board), now)
    db.flush()


def gateway_presence(db: Session, now: datetime, gateway: str, state: BoardPresence, session: int) -> None:
    """A change of a gateway's presence."""
    row = _gateway_row(db, now, gateway)
    if row.presence is not state or row.session != session:
        row.presence_since = now
    row.presence, row.session = state, session
    if state is BoardPresence.ONLINE:
        row.last_seen = now


def gateway_reported(db: Session, now: datetime, gateway: str, report: GatewayReported) -> None:
    """What a gateway says of itself."""
    row = _gateway_row(db, now, gateway)
    row.last_seen, row.session, row.address = now, report.session, report.address
    row.epoch, row.revision, row.reported = report.epoch, report.revision, codec.pack(report)


def _gateway_row(db: Session, now: datetime, name: str) -> GatewayRow:
    return held(db, GatewayRow, name, functools.partial(_new_gateway, now, name))


def _new_gateway(now: datetime, name: str) -> GatewayRow:
    return GatewayRow(
        name=name,
        session=0,
        presence=BoardPresence.UNKNOWN,
        first_seen=now,
        last_seen=now,
        address="",
        epoch=0,
        revision=0,
    )


def new_event(db: Session, now: datetime, event: NewEvent) -> int:
    """Append to the history; returns the event's number."""
    if event.board is not None:
        touch(db, now, (event.board,))
    row = EventRow(
        at=now,
        severity=event.severity,
        kind=event.kind[:60],
        board=event.board,
        deployment=event.deployment,
        generation=None if event.generation is None else str(event.generation),
        sentence=event.sentence[:MAX_SENTENCE],
        data=event.data,
    )
    db.add(row)
    db.flush()
    return row.id
