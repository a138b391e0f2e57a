"""What boards and gateways last counted, beside what they were told: for plans over the fleet as it is.

Read in one consistent view, and nothing is written. Called by the command line.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from convoy_schema import codec
from convoy_schema.bundle import ModelAnnouncement
from convoy_schema.messages.boards import Capability, Pulse, StagePulse
from convoy_schema.messages.desired import Assignment
from convoy_schema.messages.gateways import GatewayReported
from convoy_schema.names import Generation
from convoy_schema.topology import Topology
from sqlalchemy import select
from sqlalchemy.orm import Session

from convoy_controller.database.engine import Database
from convoy_controller.database.models import (
    AssignmentRow,
    BoardRow,
    BoardStatisticsRow,
    GatewayRow,
    GenerationRow,
    ModelRow,
)
from convoy_controller.database.readable import readable
from convoy_controller.database.records import LIVE_STATES, BoardPresence

#: (deployment, generation)
Key = tuple[str, Generation]


@dataclass(frozen=True)
class BoardTelemetry:
    """A board that is online: what it is, and each stage it runs with its counts since the stage began."""

    board: str
    capability: Capability
    works: tuple[tuple[Assignment, StagePulse], ...]


@dataclass(frozen=True)
class FleetTelemetry:
    """Boards online by name, the networks they run by bundle, and the mean seconds of a hop by generation."""

    boards: tuple[BoardTelemetry, ...]
    topologies: dict[str, Topology]
    hops: dict[Key, float]


def fleet_telemetry(database: Database) -> FleetTelemetry:
    """The latest of everything. Indexes: `ix_boards_presence_name`, `ix_generations_state_changed_at`,
    `ix_assignments_generation_id_board`; the keys of statistics, models and gateways.
    """
    with database.read() as db:
        told = _told(db)
        boards = tuple(_boards(db, told))
        bundles = {assignment.bundle for board in boards for assignment, _ in board.works}
        return FleetTelemetry(boards, _topologies(db, bundles), _hops(db))


def _told(db: Session) -> dict[str, dict[Key, Assignment]]:
    """What each board holds of live generations."""
    rows = db.execute(
        select(AssignmentRow.board, AssignmentRow.packed)
        .join(GenerationRow, GenerationRow.id == AssignmentRow.generation_id)
        .where(GenerationRow.state.in_(LIVE_STATES))
    )
    told: dict[str, dict[Key, Assignment]] = {}
    for board, packed in rows:
        assignment = readable(Assignment, packed)
        if assignment is not None:
            told.setdefault(board, {})[assignment.key] = assignment
    return told


def _boards(db: Session, told: dict[str, dict[Key, Assignment]]) -> Iterable[BoardTelemetry]:
    rows = db.execute(
        select(BoardRow.name, BoardRow.session, BoardRow.capability, BoardStatisticsRow.pulse)
        .outerjoin(BoardStatisticsRow, BoardStatisticsRow.board == BoardRow.name)
        .where(BoardRow.presence == BoardPresence.ONLINE)
        .order_by(BoardRow.name)
    )
    for name, session, packed, counted in rows:
        capability, pulse = readable(Capability, packed), readable(Pulse, counted)
        if capability is None:
            continue
        own = told.get(name, {})
        stages = pulse.stages if pulse is not None and pulse.session == session else ()
        keys = [(stage.deployment, stage.generation) for stage in stages]
        works = tuple((own[key], stage) for key, stage in zip(keys, stages, strict=True) if key in own)
        yield BoardTelemetry(name, capability, works)


def _topologies(db: Session, bundles: Iterable[str]) -> dict[str, Topology]:
    rows = db.execute(select(ModelRow.digest, ModelRow.announcement).where(ModelRow.digest.in_(sorted(bundles))))
    return {digest: codec.unpack(Topology, codec.decode(ModelAnnouncement, packed).topology) for digest, packed in rows}


def _hops(db: Session) -> dict[Key, float]:
    """Mean over the gateways that are there, of those that have measured any."""
    found: dict[Key, list[float]] = {}
    for packed in db.scalars(select(GatewayRow.reported).where(GatewayRow.presence == BoardPresence.ONLINE)):
        reported = readable(GatewayReported, packed)
        for feed in reported.feeds if reported is not None else ():
            if feed.serving is not None and feed.hop_us:
                found.setdefault((feed.deployment, feed.serving), []).append(feed.hop_us / 1e6)
    return {key: sum(hops) / len(hops) for key, hops in found.items()}
