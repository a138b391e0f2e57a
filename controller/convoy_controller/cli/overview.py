"""What `convoy top` shows of a fleet at one moment, problems first: made of two looks at its counters. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from convoy_controller.database.views import (
    Activity,
    BoardActivity,
    Condition,
    DeploymentLine,
    FeedActivity,
    FleetLine,
    GatewayLine,
)

#: Conditions that nobody has to look at.
FINE = frozenset(list(Condition)[-5:])
#: What has counters, a session that they began with, and a date.
Counters = BoardActivity | FeedActivity
_ORDER = {condition: number for number, condition in enumerate(Condition)}


@dataclass(frozen=True)
class Look:
    """Everything that was asked for one overview."""

    boards: tuple[FleetLine, ...]
    deployments: tuple[DeploymentLine, ...]
    gateways: tuple[GatewayLine, ...]
    activity: Activity


@dataclass(frozen=True)
class TopBoard:
    """One board; `rows_per_s` is None until two of its pulses were seen."""

    board: str
    condition: str
    sentence: str
    is_problem: bool
    deployment: str | None
    stage: int | None
    stages: int | None
    phase: str | None
    rows_per_s: float | None
    queued: int | None
    refused_per_s: float | None
    temperature_c: float | None
    last_seen: datetime | None


@dataclass(frozen=True)
class TopDeployment:
    """One deployment over all gateways; latencies are the worst gateway's, of recent requests."""

    deployment: str
    model: str
    version: str
    state: str
    message: str
    generation: str | None
    ready_boards: int
    assigned_boards: int
    answered_per_s: float | None
    failed_per_s: float | None
    latency_p50_us: int
    latency_p99_us: int
    in_flight: int
    waiting_rows: int


@dataclass(frozen=True)
class TopGateway:
    """One gateway."""

    gateway: str
    presence: str
    address: str
    answered_per_s: float | None
    waiting_rows: int


@dataclass(frozen=True)
class Overview:
    """What `convoy top --once --json` prints; boards with problems first, then the busiest."""

    at: datetime
    fleet: str
    conditions: dict[str, int]
    deployments: tuple[TopDeployment, ...]
    gateways: tuple[TopGateway, ...]
    boards: tuple[TopBoard, ...]


def overview(fleet: str, before: Look | None, now: Look) -> Overview:
    """Of the fleet called `fleet`, with rates where `before` gives any."""
    counts = Counter(line.condition for line in now.boards)
    boards = _boards(before, now)
    return Overview(
        at=now.activity.at,
        fleet=fleet,
        conditions={condition.value: counts[condition] for condition in Condition if counts[condition]},
        deployments=tuple(_deployment(line, before, now) for line in _worst_first(now.deployments)),
        gateways=tuple(_gateway(line, before, now) for line in now.gateways),
        boards=tuple(sorted(boards, key=_urgency)),
    )


def _urgency(board: TopBoard) -> tuple[bool, int, float, str]:
    order = _ORDER[Condition(board.condition)] if board.is_problem else 0
    return not board.is_problem, order, -(board.rows_per_s or 0.0), board.board


def _worst_first(lines: Iterable[DeploymentLine]) -> list[DeploymentLine]:
    return sorted(lines, key=lambda line: (line.state.value == "serving", line.deployment))


def _boards(before: Look | None, now: Look) -> list[TopBoard]:
    old = {each.board: each for each in before.activity.boards} if before is not None else {}
    new = {each.board: each for each in now.activity.boards}
    return [_board(line, old.get(line.board), new.get(line.board)) for line in now.boards]


def _board(line: FleetLine, old: BoardActivity | None, new: BoardActivity | None) -> TopBoard:
    return TopBoard(
        board=line.board,
        condition=line.condition.value,
        sentence=line.sentence,
        is_problem=line.condition not in FINE,
        deployment=line.deployment,
        stage=line.stage,
        stages=line.stages,
        phase=None if line.phase is None else line.phase.value,
        rows_per_s=_rate(old, new, "rows"),
        queued=None if new is None else new.queued,
        refused_per_s=_rate(old, new, "refused"),
        temperature_c=None if new is None else new.temperature_c,
        last_seen=line.last_seen,
    )


def _rate(old: Counters | None, new: Counters | None, what: str) -> float | None:
    """Of a counter, in one session; None where two different reports of it are not there."""
    if old is None or new is None or old.session != new.session or new.at <= old.at:
        return None
    counted = int(getattr(new, what)) - int(getattr(old, what))
    return max(0, counted) / (new.at - old.at).total_seconds()


def _feeds(look: Look | None) -> dict[tuple[str, str], FeedActivity]:
    return {} if look is None else {(each.gateway, each.deployment): each for each in look.activity.feeds}


def _sum(rates: list[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None


def _deployment(line: DeploymentLine, before: Look | None, now: Look) -> TopDeployment:
    old, feeds = _feeds(before), [each for each in now.activity.feeds if each.deployment == line.deployment]
    pairs = [(old.get((each.gateway, each.deployment)), each) for each in feeds]
    return TopDeployment(
        deployment=line.deployment,
        model=line.model,
        version=line.version,
        state=line.state.value,
        message=line.message,
        generation=None if line.generation is None else str(line.generation),
        ready_boards=line.ready_boards,
        assigned_boards=line.assigned_boards,
        answered_per_s=_sum([_rate(*pair, "answered") for pair in pairs]),
        failed_per_s=_sum([_rate(*pair, "failed") for pair in pairs]),
        latency_p50_us=max((each.latency_p50_us for each in feeds), default=0),
        latency_p99_us=max((each.latency_p99_us for each in feeds), default=0),
        in_flight=sum(each.in_flight for each in feeds),
        waiting_rows=sum(each.waiting_rows for each in feeds),
    )


def _gateway(line: GatewayLine, before: Look | None, now: Look) -> TopGateway:
    old, feeds = _feeds(before), [each for each in now.activity.feeds if each.gateway == line.gateway]
    rates = [_rate(old.get((each.gateway, each.deployment)), each, "answered") for each in feeds]
    return TopGateway(
        line.gateway, line.presence.value, line.address, _sum(rates), sum(each.waiting_rows for each in feeds)
    )
