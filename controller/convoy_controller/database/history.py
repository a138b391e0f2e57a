"""Throughput, latency and temperature over time: of a board, of the stages of a deployment, of a deployment.

Each answers with points at the resolution that fits the span that is asked for, oldest first, at most `MOST_POINTS`.
Each says which index carries it. None writes; all may raise `DatabaseError`.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Generic, TypeVar

from sqlalchemy import BigInteger, Float, FromClause, Select, case, func, select
from sqlalchemy import cast as as_type
from sqlalchemy.sql.elements import ColumnElement

from convoy_controller.database.engine import Database
from convoy_controller.database.records import utc_now
from convoy_controller.database.rollup import BOARDS, FEEDS, STAGES, Noun, Step
from convoy_controller.database.spans import KEEP_MINUTES, KEEP_RAW

#: The longest span that raw samples are shown for.
MOST_RAW = timedelta(hours=1)
#: Points that a step should not exceed, and series that a deployment's stages are reckoned with.
FITTING_POINTS = 2_200
STAGES_RECKONED = 16
#: Points that one answer has at most: the newest ones.
MOST_POINTS = 10_000

P = TypeVar("P")


@dataclass(frozen=True)
class Series(Generic[P]):
    """Points from `since` to before `until`, each of `step` seconds; where nothing was heard there is none."""

    step: Step
    since: datetime
    until: datetime
    points: tuple[P, ...]


@dataclass(frozen=True)
class BoardPoint:
    """A board over one step; `at` is where it begins. Counts are over the step, `temperature_c` and `queued` its mean.

    Rates are over the time in which it was heard.

    `starts` counts runs of its daemon that began. A board without a sensor has no temperature.
    """

    at: datetime
    samples: int
    starts: int
    frames_per_s: float
    rows_per_s: float
    refused: int
    control_bytes_per_s: float
    artifact_bytes_per_s: float
    activation_bytes_per_s: float
    queued: float
    queued_max: int
    rss_bytes_max: int
    temperature_c: float | None
    temperature_max: float | None


@dataclass(frozen=True)
class StagePoint:
    """A stage of a deployment over one step, on all of its boards, or on the one that was asked for.

    Rates are the sum over `boards`; `busy` is the share of their time that they computed, 0 to 1. `residence_us` is
    how long a frame was there, the mean over frames of pulses' medians, and None where none came.
    """

    at: datetime
    deployment: str
    stage: int | None
    boards: int
    frames_per_s: float
    rows_per_s: float
    busy: float
    refused: int
    queued: float
    queued_max: int
    residence_us: float | None
    residence_us_max: int


@dataclass(frozen=True)
class DeploymentPoint:
    """A deployment over one step, as its gateways saw it: requests, and frames `retried` and `late`.

    `latency_p50_us` is the mean over answers of the reports' medians, `latency_p99_us` the highest of them; both and
    `hop_us`, the mean of a frame between two stages, are None where nothing was measured.
    """

    at: datetime
    accepted_per_s: float
    answered_per_s: float
    failed: int
    refused: int
    retried: int
    late: int
    in_flight: float
    in_flight_max: int
    waiting: float
    waiting_max: int
    latency_p50_us: float | None
    latency_p99_us: int | None
    hop_us: float | None


def fitting(since: datetime, until: datetime, now: datetime, series: int = 1) -> Step:
    """The finest step that is still kept for that span, and not too fine to be looked at in so many series."""
    span = until - since

    def fits(step: Step) -> bool:
        return span.total_seconds() * series <= FITTING_POINTS * step

    if span <= MOST_RAW and fits(Step.RAW) and since >= now - KEEP_RAW:
        return Step.RAW
    if fits(Step.MINUTE) and since >= now - KEEP_MINUTES:
        return Step.MINUTE
    return Step.HOUR if fits(Step.HOUR) else Step.DAY


def board_over_time(
    database: Database,
    board: str,
    since: datetime,
    until: datetime,
    *,
    step: Step | None = None,
    now: datetime | None = None,
) -> Series[BoardPoint]:
    """What a board did and how warm it was; nothing for an unknown one. `step` None: the one that fits.

    Indexes: `ix_board_samples_board_at`, `ix_board_minutes_board_at`, `ix_board_hours_board_at`.
    """
    step = step or fitting(since, until, now or utc_now())
    source = _source(BOARDS, step, since, until, {"board": board})
    rates = ("frames", "rows", "control_bytes", "artifact_bytes", "activation_bytes")
    # While it was heard: no other board's rate is added to this one's.
    heard_ms = case((source.c.elapsed_ms > 0, source.c.elapsed_ms), else_=step * 1000)
    query = select(source, *[_per_s(source, name, heard_ms).label(f"{name}_per_s") for name in rates])
    rows = _newest(database, query.order_by(source.c.at.desc()))
    return Series(step, since, until, tuple(_board_point(row) for row in rows))


def stages_over_time(
    database: Database,
    since: datetime,
    until: datetime,
    *,
    deployment: str | None = None,
    board: str | None = None,
    generation: str | None = None,
    step: Step | None = None,
    now: datetime | None = None,
) -> Series[StagePoint]:
    """The stages of a deployment, or those that a board runs, by time and stage; one of the two must be given.

    Indexes: `ix_stage_samples_deployment_at`, `ix_stage_minutes_deployment_at`, `ix_stage_hours_deployment_at`, and the
    same with `board`.
    """
    if deployment is None and board is None:
        raise ValueError("a deployment or a board must be named, neither was")
    step = step or fitting(since, until, now or utc_now(), STAGES_RECKONED)
    wanted = {"deployment": deployment, "board": board, "generation": generation}
    source = _source(STAGES, step, since, until, {name: value for name, value in wanted.items() if value is not None})
    c = source.c
    query = select(
        c.at,
        c.deployment,
        c.stage,
        func.count(c.board.distinct()).label("boards"),
        func.sum(_rate(source, "frames", step)).label("frames_per_s"),
        func.sum(_rate(source, "rows", step)).label("rows_per_s"),
        *_added(source, "busy_us", "elapsed_ms", "refused", "queued_sum", "samples", "residence_us_sum", "frames"),
        *_highest(source, "queued_max", "residence_us_max"),
    )
    query = query.group_by(c.at, c.deployment, c.stage).order_by(c.at.desc(), c.deployment.desc(), c.stage.desc())
    rows = _newest(database, query)
    return Series(step, since, until, tuple(_stage_point(row) for row in rows))


def deployment_over_time(
    database: Database,
    deployment: str,
    since: datetime,
    until: datetime,
    *,
    gateway: str | None = None,
    step: Step | None = None,
    now: datetime | None = None,
) -> Series[DeploymentPoint]:
    """A deployment's requests and their latency, over all gateways or at one.

    Indexes: `ix_feed_samples_deployment_at`, `ix_feed_minutes_deployment_at`, `ix_feed_hours_deployment_at`.
    """
    step = step or fitting(since, until, now or utc_now())
    wanted = {"deployment": deployment} if gateway is None else {"deployment": deployment, "gateway": gateway}
    source = _source(FEEDS, step, since, until, wanted)
    query = select(
        source.c.at,
        func.count(source.c.gateway.distinct()).label("gateways"),
        *[func.sum(_rate(source, name, step)).label(f"{name}_per_s") for name in ("accepted", "answered")],
        *_added(source, "samples", "answered", "failed", "refused", "retried", "late", "in_flight_sum", "waiting_sum"),
        *_added(source, "latency_p50_us_sum", "hop_us_sum", "hop_samples"),
        *_highest(source, "in_flight_max", "waiting_max", "latency_p99_us_max"),
    )
    rows = _newest(database, query.group_by(source.c.at).order_by(source.c.at.desc()))
    return Series(step, since, until, tuple(_deployment_point(row) for row in rows))


def _newest(database: Database, query: Select[Any]) -> list[Any]:
    """Of what comes newest first, the most that one answer has, oldest first; a field for each column."""
    with database.read() as db:
        found = db.execute(query.limit(MOST_POINTS))
        line = _line(tuple(found.keys()))
        return [line(*row) for row in reversed(found.all())]


@lru_cache(maxsize=16)
def _line(columns: tuple[str, ...]) -> Callable[..., Any]:
    """A plain tuple with names: to look up a name in a row of SQLAlchemy's takes twenty times as long."""
    return namedtuple("_Line", columns)


def _source(noun: Noun, step: Step, since: datetime, until: datetime, equal: Mapping[str, str]) -> FromClause:
    """Rows of minutes or hours, or raw ones added up to the same columns, of those series and that span."""
    if step is Step.RAW:
        raw = noun.raw.c
        return _narrowed(noun.added_up(step), raw, since, until, equal).subquery()
    if step is Step.DAY:
        return _narrowed(noun.by_day(), noun.hours.c, since, until, equal).subquery()
    table = noun.rolled(step)
    return _narrowed(select(table), table.c, since, until, equal).subquery()


def _narrowed(query: Select[Any], c: Any, since: datetime, until: datetime, equal: Mapping[str, str]) -> Select[Any]:
    return query.where(*[c[name] == value for name, value in equal.items()], c.at >= since, c.at < until)


def _rate(source: FromClause, name: str, step: Step) -> ColumnElement[Any]:
    """A second: over the step, or over the longer time that the counts cover, as after the controller was away."""
    elapsed_ms = source.c.elapsed_ms
    return _per_s(source, name, case((elapsed_ms > step * 1000, elapsed_ms), else_=step * 1000))


def _per_s(source: FromClause, name: str, elapsed_ms: ColumnElement[Any]) -> ColumnElement[Any]:
    """As a binary fraction: PostgreSQL's decimals take longer to reckon with, there and here, than all else of it."""
    return as_type(source.c[name], Float) * 1000 / elapsed_ms


def _added(source: FromClause, *names: str) -> list[ColumnElement[Any]]:
    return [as_type(func.sum(source.c[name]), BigInteger).label(name) for name in names]


def _highest(source: FromClause, *names: str) -> list[ColumnElement[Any]]:
    return [func.max(source.c[name]).label(name) for name in names]


def _mean(total: Any, count: Any) -> float | None:
    return total / count if count else None


def _board_point(row: Any) -> BoardPoint:
    return BoardPoint(
        at=row.at,
        samples=row.samples,
        starts=row.starts,
        frames_per_s=row.frames_per_s,
        rows_per_s=row.rows_per_s,
        refused=row.refused,
        control_bytes_per_s=row.control_bytes_per_s,
        artifact_bytes_per_s=row.artifact_bytes_per_s,
        activation_bytes_per_s=row.activation_bytes_per_s,
        queued=_mean(row.queued_sum, row.samples) or 0.0,
        queued_max=row.queued_max,
        rss_bytes_max=row.rss_bytes_max,
        temperature_c=_mean(row.temperature_sum, row.temperature_samples),
        temperature_max=row.temperature_max,
    )


def _stage_point(row: Any) -> StagePoint:
    return StagePoint(
        at=row.at,
        deployment=row.deployment,
        stage=row.stage,
        boards=row.boards,
        frames_per_s=row.frames_per_s,
        rows_per_s=row.rows_per_s,
        busy=min(1.0, _mean(row.busy_us, row.elapsed_ms * 1000) or 0.0),
        refused=row.refused,
        queued=_mean(row.queued_sum, row.samples) or 0.0,
        queued_max=row.queued_max,
        residence_us=_mean(row.residence_us_sum, row.frames),
        residence_us_max=row.residence_us_max,
    )


def _deployment_point(row: Any) -> DeploymentPoint:
    reports = row.samples / row.gateways  # of each gateway
    return DeploymentPoint(
        at=row.at,
        accepted_per_s=row.accepted_per_s,
        answered_per_s=row.answered_per_s,
        failed=row.failed,
        refused=row.refused,
        retried=row.retried,
        late=row.late,
        in_flight=_mean(row.in_flight_sum, reports) or 0.0,
        in_flight_max=row.in_flight_max,
        waiting=_mean(row.waiting_sum, reports) or 0.0,
        waiting_max=row.waiting_max,
        latency_p50_us=_mean(row.latency_p50_us_sum, row.answered),
        latency_p99_us=row.latency_p99_us_max if row.answered else None,
        hop_us=_mean(row.hop_us_sum, row.hop_samples),
    )
