"""The hops of a deployment: how fast each goes, how long a frame is there, and which one holds up the rest.

Of the last minute, from boards' pulses and gateways' reports; nothing here is planned anew. May raise `DatabaseError`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from statistics import mean

from convoy_schema.messages.boards import Pulse
from sqlalchemy import select
from sqlalchemy.orm import Session

from convoy_controller.database.engine import Database
from convoy_controller.database.history import DeploymentPoint, StagePoint, deployment_over_time, stages_over_time
from convoy_controller.database.models import BoardStatisticsRow
from convoy_controller.database.queries import plan
from convoy_controller.database.readable import readable
from convoy_controller.database.rollup import Step
from convoy_controller.database.status_views import DeploymentHops, HopLine
from convoy_controller.database.transit import transit_us
from convoy_controller.database.views import StageLine

#: What is measured over, and how old a board's pulse may be.
WINDOW = timedelta(minutes=1)


def deployment_hops(database: Database, deployment: str, now: datetime) -> DeploymentHops:
    """Every hop of the generation that serves, else of the newest; raises `NotFoundError` as `queries.plan`.

    Indexes: as `queries.plan`; `ix_stage_samples_deployment_at`, `ix_feed_samples_deployment_at`, and the key of
    `board_statistics` for the deployment's boards.
    """
    view, since = plan(database, deployment), now - WINDOW
    span = {"since": since, "until": now, "step": Step.RAW, "now": now}
    stages = stages_over_time(database, **span, deployment=deployment, generation=str(view.generation))  # type: ignore[arg-type]
    feed = deployment_over_time(database, deployment, **span).points  # type: ignore[arg-type]
    by_stage: dict[int, list[StagePoint]] = defaultdict(list)
    for point in stages.points:
        if point.stage is not None:
            by_stage[point.stage].append(point)
    with database.read() as db:
        said = _pulses(db, [replica.board for stage in view.stages for replica in stage.replicas], since)
    of_stage = [
        {each.board: said[each.board] for each in stage.replicas if each.board in said} for stage in view.stages
    ]
    hops = tuple(
        _hop(stage, by_stage[stage.stage], transit_us(senders, receivers.values())[0])
        for stage, senders, receivers in zip(view.stages, of_stage, [*of_stage[1:], {}], strict=True)
    )
    period_s = float(view.facts.get("period_s") or 0.0)
    return DeploymentHops(
        deployment=deployment,
        generation=view.generation,
        state=view.state,
        since=since,
        until=now,
        answered_per_s=_mean(point.answered_per_s for point in feed) or 0.0,
        latency_p50_us=_mean(point.latency_p50_us for point in feed),
        latency_p99_us=max((each for each in _percentiles(feed)), default=None),
        hop_us=_mean(point.hop_us for point in feed),
        predicted_rows_per_s=1.0 / period_s if period_s > 0 else None,
        measured_rows_per_s=min((hop.rows_per_s for hop in hops), default=0.0),
        bottleneck=_bottleneck(hops),
        slowest=_slowest(hops),
        hops=hops,
    )


def _pulses(db: Session, boards: Sequence[str], since: datetime) -> dict[str, Pulse]:
    """The last pulse of each board, of those where it is no older than `since`."""
    row = BoardStatisticsRow
    found = db.execute(select(row.board, row.pulse).where(row.board.in_(boards), row.at >= since))
    pulses = {board: readable(Pulse, packed) for board, packed in found}
    return {board: pulse for board, pulse in pulses.items() if pulse is not None}


def _hop(stage: StageLine, points: Sequence[StagePoint], transit: float | None) -> HopLine:
    rows_per_s = _mean(point.rows_per_s for point in points) or 0.0
    busy = _mean(point.busy for point in points) or 0.0
    return HopLine(
        stage=stage.stage,
        layers=stage.layers,
        boards=len(stage.replicas),
        frames_per_s=_mean(point.frames_per_s for point in points) or 0.0,
        rows_per_s=rows_per_s,
        busy=busy,
        capacity_rows_per_s=rows_per_s / busy if busy > 0 else None,
        queued=_mean(point.queued for point in points) or 0.0,
        residence_us=_mean(point.residence_us for point in points),
        transit_us=transit,
    )


def _bottleneck(hops: Sequence[HopLine]) -> int | None:
    measured = [(hop.capacity_rows_per_s, hop.stage) for hop in hops if hop.capacity_rows_per_s is not None]
    return min(measured)[1] if measured else None


def _slowest(hops: Sequence[HopLine]) -> int | None:
    measured = [hop for hop in hops if hop.residence_us is not None]
    if not measured:
        return None
    return max(measured, key=lambda hop: (hop.residence_us or 0.0) + (hop.transit_us or 0.0)).stage


def _percentiles(points: Iterable[DeploymentPoint]) -> list[int]:
    return [point.latency_p99_us for point in points if point.latency_p99_us is not None]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None
