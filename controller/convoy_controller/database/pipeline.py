"""A deployment's pipeline as it runs: stages, their boards, the hops between them, and where a frame spends its time.

Rates and residence come from the samples of the last seconds, what hops take from what boards said last of their links.
Called by the dashboard; nothing is written. May raise `DatabaseError` and `NotFoundError`.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from convoy_schema.messages.boards import Phase, Pulse
from convoy_schema.messages.desired import Objective
from convoy_schema.names import Generation
from sqlalchemy import func, select

from convoy_controller.database import queries
from convoy_controller.database.engine import Database
from convoy_controller.database.models import BoardStatisticsRow
from convoy_controller.database.readable import readable
from convoy_controller.database.records import BoardPresence, GenerationState, utc_now
from convoy_controller.database.telemetry_tables import StageSampleRow
from convoy_controller.database.transit import transit_us
from convoy_controller.database.views import PlanView, StageLine

#: Seconds of samples that rates are the mean of.
WINDOW_S = 10


@dataclass(frozen=True)
class StageBoard:
    """A board of a stage; `queued` of `room` frames wait before it."""

    board: str
    presence: BoardPresence
    phase: Phase
    queued: int = 0
    room: int = 0


@dataclass(frozen=True)
class StageFlow:
    """A stage: `busy` is the share of its boards' time that they compute, `residence_us` how long a frame is there.

    Both are None while nothing flows.
    """

    stage: int
    layers: tuple[str, ...]
    processor: tuple[str, ...]
    boards: tuple[StageBoard, ...]
    rows_per_s: float
    busy: float | None
    residence_us: float | None


@dataclass(frozen=True)
class HopFlow:
    """The way to stage `to`, or behind the last stage back to the gateway.

    `us` is about what a frame takes on it, None where no board has said; `slowest` is the board it waits longest at.
    """

    to: int
    rows_per_s: float
    us: float | None
    slowest: str


@dataclass(frozen=True)
class Pipeline:
    """One generation as it runs. `planned_rows_per_s` is what the planner reckoned with, 0 where that is not known.

    `bound_s` is what no plan can go below in the objective, the time of a row or, for latency, of all stages and hops;
    0 where it is not known. `slowest` is (stage or hop, its number): where a frame spends most of its time; None while
    nothing flows.
    """

    deployment: str
    generation: Generation
    state: GenerationState
    stages: tuple[StageFlow, ...]
    hops: tuple[HopFlow, ...]
    rows_per_s: float
    planned_rows_per_s: float
    slowest: tuple[str, int] | None
    bound_s: float = 0.0
    objective: Objective = Objective.THROUGHPUT


def pipeline(database: Database, deployment: str, now: datetime | None = None) -> Pipeline:
    """The generation that serves, else the newest. Indexes: as `queries.plan`, `ix_stage_samples_deployment_at`, and
    the key of statistics.
    """
    now = now or utc_now()
    plan = queries.plan(database, deployment)
    counts = _counts(database, plan, now - timedelta(seconds=WINDOW_S))
    pulses = _pulses(database, [replica.board for stage in plan.stages for replica in stage.replicas])
    stages = tuple(_stage(stage, pulses, counts, deployment) for stage in plan.stages)
    hops = tuple(_hop(number, stages, pulses) for number in range(len(stages) + 1))
    period_s = float(plan.facts.get("period_s") or 0.0)
    return Pipeline(
        deployment,
        plan.generation,
        plan.state,
        stages,
        hops,
        min((stage.rows_per_s for stage in stages), default=0.0),
        1.0 / period_s if period_s > 0 else 0.0,
        slowest(stages, hops),
        float(plan.facts.get("bound_s") or 0.0),
        Objective(plan.facts.get("objective", Objective.THROUGHPUT.value)),
    )


def slowest(stages: Sequence[StageFlow], hops: Sequence[HopFlow]) -> tuple[str, int] | None:
    """Where a frame spends most of its time."""
    times = [(stage.residence_us or 0.0, ("stage", stage.stage)) for stage in stages if stage.rows_per_s]
    times += [(hop.us or 0.0, ("hop", hop.to)) for hop in hops if hop.rows_per_s]
    most = max(times, default=(0.0, None))
    return most[1] if most[0] > 0 else None


@dataclass(frozen=True)
class _Count:
    """What one board did over the window."""

    rows: int
    frames: int
    busy_us: int
    elapsed_ms: int
    residence_us: float


def _counts(database: Database, plan: PlanView, since: datetime) -> dict[str, _Count]:
    """By board; a board is in one stage of a generation."""
    row = StageSampleRow
    query = (
        select(
            row.board,
            *(func.sum(each) for each in (row.rows, row.frames, row.busy_us, row.elapsed_ms)),
            func.sum(row.residence_us * row.frames),
        )
        .where(row.deployment == plan.deployment, row.at >= since, row.generation == str(plan.generation))
        .group_by(row.board)
    )
    with database.read() as db:
        found = db.execute(query).all()
    return {
        board: _Count(
            int(rows), int(frames), int(busy), int(elapsed), float(residence) / int(frames) if frames else 0.0
        )
        for board, rows, frames, busy, elapsed, residence in found
    }


def _pulses(database: Database, boards: Sequence[str]) -> dict[str, Pulse]:
    row = BoardStatisticsRow
    with database.read() as db:
        found = db.execute(select(row.board, row.pulse).where(row.board.in_(boards))).all()
    read = {board: readable(Pulse, packed) for board, packed in found}
    return {board: pulse for board, pulse in read.items() if pulse is not None}


def _stage(line: StageLine, pulses: Mapping[str, Pulse], counts: Mapping[str, _Count], deployment: str) -> StageFlow:
    boards = []
    for replica in line.replicas:
        pulse = pulses.get(replica.board)
        stages = [each for each in pulse.stages if each.deployment == deployment] if pulse is not None else []
        own = max(stages, key=lambda each: each.generation, default=None)
        queued, room = (own.queued, own.queued + own.credits) if own is not None else (0, 0)
        boards.append(StageBoard(replica.board, replica.presence, replica.phase, queued, room))
    own_counts = [counts[board.board] for board in boards if board.board in counts]
    flowing = [count for count in own_counts if count.frames and count.elapsed_ms]
    frames = sum(count.frames for count in flowing)
    return StageFlow(
        line.stage,
        line.layers,
        line.processor,
        tuple(boards),
        sum(count.rows * 1000 / count.elapsed_ms for count in flowing),
        statistics.fmean(count.busy_us / count.elapsed_ms / 1000 for count in flowing) if flowing else None,
        sum(count.residence_us * count.frames for count in flowing) / frames if frames else None,
    )


def _hop(to: int, stages: Sequence[StageFlow], pulses: Mapping[str, Pulse]) -> HopFlow:
    beside = stages[min(to, len(stages) - 1)].rows_per_s if stages else 0.0
    senders = _said(stages[to - 1], pulses) if to else None
    receivers = _said(stages[to], pulses) if to < len(stages) else {}
    us, worst = transit_us(senders, receivers.values())
    return HopFlow(to, beside, us, worst)


def _said(stage: StageFlow, pulses: Mapping[str, Pulse]) -> dict[str, Pulse]:
    return {each.board: pulses[each.board] for each in stage.boards if each.board in pulses}
