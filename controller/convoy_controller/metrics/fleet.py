"""The fleet on a page: boards, their stages, deployments and gateways, from what the controller holds of them.

`seen` is called in the controller's loop and only takes references; `write` is called in a thread, however long it
takes. What is referred to is replaced when it changes, and never changed, but for a board's record itself.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from convoy_schema.messages.boards import Phase, Pulse, Reported
from convoy_schema.messages.desired import Desired

from convoy_controller.conditions import has_dead_stage
from convoy_controller.database.records import BoardPresence, DeploymentState, SymptomKind
from convoy_controller.histogram import SLOW_S, Histogram
from convoy_controller.metrics import families as f
from convoy_controller.metrics.page import PAUSE_S, Page, Reasons
from convoy_controller.placement import Placement
from convoy_controller.reconciler import Reconciler
from convoy_controller.registry import BoardRecord, GatewayRecord, Registry
from convoy_controller.tallies import Cause

#: Boards after which the writing thread lets others have the interpreter.
TURN = 250
#: What a board's link dropped is counted by its daemon under this reason.
_LINK = "link"


@dataclass(frozen=True)
class SeenDeployment:
    """One deployment at the moment of a scrape."""

    name: str
    serving: Placement | None
    can_answer: bool
    state: DeploymentState | None
    plans: Mapping[Cause, int]
    abandoned: int
    failed: int
    recovery: Histogram
    lost_since: float | None
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class SeenFleet:
    """The fleet at that moment, `now` in monotonic seconds."""

    now: float
    boards: tuple[BoardRecord, ...]
    gateways: tuple[GatewayRecord, ...]
    desired: Mapping[str, Desired]
    symptoms: tuple[tuple[str, SymptomKind], ...]
    deployments: tuple[SeenDeployment, ...]


def seen(
    registry: Registry, reconciler: Reconciler, symptoms: Collection[tuple[str, SymptomKind]], now: float
) -> SeenFleet:
    """What there is now; in the controller's loop."""
    return SeenFleet(
        now,
        tuple(registry.boards.values()),
        tuple(registry.gateways.values()),
        dict(reconciler.desired),
        tuple(found for found in symptoms if found[0] in registry.boards),
        tuple(_seen_deployment(registry, reconciler, name, now) for name in sorted(reconciler.deployments)),
    )


def _seen_deployment(registry: Registry, reconciler: Reconciler, name: str, now: float) -> SeenDeployment:
    record, tallies = reconciler.deployments[name], reconciler.tallies
    return SeenDeployment(
        name,
        record.serving,
        record.serving is not None and not has_dead_stage(registry, record.serving),
        record.said[0] if record.said is not None else None,
        {cause: tallies.plans[name, cause] for cause in Cause},
        tallies.abandoned[name],
        tallies.failed[name],
        tallies.recoveries.get(name, Histogram(SLOW_S)).copy(),
        tallies.recovering(name),
        tuple(
            board
            for board, exclusion in record.excluded.items()
            if now < exclusion.until and registry.board(board).session == exclusion.session
        ),
    )


class FleetPage:
    """Writes fleets; keeps only which reasons are told apart."""

    def __init__(self) -> None:
        self._refusals, self._stage_refusals = Reasons(), Reasons()

    def write(self, page: Page, fleet: SeenFleet) -> None:
        """Everything about `fleet`; in a thread of its own."""
        phases: dict[tuple[str, Phase], int] = {}
        presences = dict.fromkeys(BoardPresence, 0)
        at_target = with_target = 0
        for number, board in enumerate(fleet.boards, 1):
            presences[board.presence] += 1
            told = fleet.desired.get(board.name)
            if told is not None and told.revision:
                with_target += 1
                at_target += _write_target(page, board, told, fleet.now)
            self._write_board(page, board, phases)
            if number % TURN == 0:
                time.sleep(PAUSE_S)
        for presence, count in presences.items():
            page.add(f.BOARDS, count, presence.value)
        page.add(f.BOARDS_AT_TARGET, at_target)
        page.add(f.BOARDS_WITH_TARGET, with_target)
        for name, symptom in fleet.symptoms:
            page.add(f.BOARD_SYMPTOM, 1, name, symptom.value)
        for gateway in fleet.gateways:
            if gateway.presence is not BoardPresence.UNKNOWN:
                page.add(f.GATEWAY_ONLINE, int(gateway.presence is BoardPresence.ONLINE), gateway.name)
            page.add(f.GATEWAY_LOSSES, gateway.losses, gateway.name)
        for deployment in fleet.deployments:
            _write_deployment(page, deployment, phases, fleet.now)

    def _write_board(self, page: Page, board: BoardRecord, phases: dict[tuple[str, Phase], int]) -> None:
        """Counters of a board that is gone stay; what it would be now is left out."""
        name, is_online = board.name, board.presence is BoardPresence.ONLINE
        reported, pulse, capability = board.reported, board.pulse, board.capability
        if board.presence is not BoardPresence.UNKNOWN:
            page.add(f.BOARD_ONLINE, int(is_online), name)
        page.add(f.BOARD_LOSSES, board.losses, name)
        if capability is not None:
            shell = reported.shell if reported is not None else ""
            about = capability.part, capability.fabric, shell, capability.software, capability.python
            page.add(f.BOARD_INFO, 1, name, *about)
        if is_online and reported is not None:
            _write_reported(page, name, reported, phases)
        if pulse is not None:
            self._write_pulse(page, name, pulse, is_online)
            for deployment, totals in (board.totals or {}).items():
                page.add(f.STAGE_FRAMES, totals.frames, name, deployment)
                page.add(f.STAGE_ROWS, totals.rows, name, deployment)
                page.add(f.STAGE_BUSY, totals.busy_us / 1e6, name, deployment)
                if totals.refused:
                    refused = self._stage_refusals.bounded(totals.refused)
                    page.by_reason(f.STAGE_REFUSED, refused, name, deployment)

    def _write_pulse(self, page: Page, name: str, pulse: Pulse, is_online: bool) -> None:
        page.add(f.BOARD_PUBLISHED, pulse.published.control, name, "control")
        page.add(f.BOARD_PUBLISHED, pulse.published.activations, name, "activations")
        page.add(f.BOARD_DROPPED, pulse.refused.get(_LINK, 0), name)
        if pulse.refused:
            refused = {reason: count for reason, count in pulse.refused.items() if reason != _LINK}
            page.by_reason(f.BOARD_REFUSED, self._refusals.bounded(refused), name)
        if not is_online:
            return
        page.add(f.BOARD_MEMORY, pulse.rss_bytes, name)
        page.add(f.BOARD_UPTIME, pulse.uptime_ms / 1000, name)
        if pulse.temperature_c is not None:
            page.add(f.BOARD_TEMPERATURE, pulse.temperature_c, name)
        if pulse.uplink_us:
            page.add(f.BOARD_UPLINK, pulse.uplink_us / 1e6, name)
        if pulse.round_trip_us:
            page.add(f.BOARD_ROUND_TRIP, pulse.round_trip_us / 1e6, name)
        # Of two generations the newer one's are shown: the older one drains.
        for stage in {each.deployment: each for each in sorted(pulse.stages, key=lambda s: s.generation)}.values():
            page.add(f.STAGE_QUEUED, stage.queued, name, stage.deployment)
            page.add(f.STAGE_CREDITS, stage.credits, name, stage.deployment)
            page.add(f.STAGE_RESIDENCE, stage.residence_us / 1e6, name, stage.deployment)


def _write_target(page: Page, board: BoardRecord, told: Desired, now: float) -> bool:
    reported, since = board.reported, board.settled_since
    has_reached = (
        board.presence is BoardPresence.ONLINE
        and since is not None
        and reported is not None
        and (reported.epoch, reported.revision) >= (told.epoch, told.revision)
    )
    page.add(f.BOARD_AT_TARGET, int(has_reached), board.name)
    page.add(f.BOARD_AT_TARGET_SECONDS, now - since if has_reached and since is not None else 0, board.name)
    return has_reached


def _write_reported(page: Page, name: str, reported: Reported, phases: dict[tuple[str, Phase], int]) -> None:
    page.add(f.BOARD_BLOCKED, int(bool(reported.blocked)), name)
    page.add(f.BOARD_DEGRADED, sum(each.degraded for each in reported.partitions), name)
    page.add(f.BOARD_STORE, reported.store_bytes, name)
    page.add(f.BOARD_STORE_QUOTA, reported.store_quota, name)
    own: dict[Phase, int] = {}
    for report in reported.assignments:
        own[report.phase] = own.get(report.phase, 0) + 1
        key = report.deployment, report.phase
        phases[key] = phases.get(key, 0) + 1
    for phase, count in own.items():
        page.add(f.BOARD_PHASE, count, name, phase.value)
    for held in {each.intent.deployment: each for each in reported.held}.values():
        page.add(f.STAGE_INFO, 1, name, held.intent.deployment, str(held.stage), str(held.generation))


def _write_deployment(page: Page, seen: SeenDeployment, phases: dict[tuple[str, Phase], int], now: float) -> None:
    name, serving = seen.name, seen.serving
    if serving is not None:
        about = serving.intent.model, serving.intent.version, str(serving.generation)
        page.add(f.DEPLOYMENT_INFO, 1, name, *about)
        page.add(f.DEPLOYMENT_PERIOD, serving.period_s, name)
    page.add(f.DEPLOYMENT_SERVING, int(seen.can_answer), name)
    page.add(f.DEPLOYMENT_BOARDS, len(serving.boards) if serving is not None else 0, name)
    for board in seen.left_out:
        page.add(f.BOARD_LEFT_OUT, 1, board, name)
    for state in DeploymentState:
        page.add(f.DEPLOYMENT_STATE, int(state is seen.state), name, state.value)
    for phase in Phase:
        page.add(f.ASSIGNMENTS, phases.get((name, phase), 0), name, phase.value)
    for cause, count in seen.plans.items():
        page.add(f.PLANS, count, name, cause.value)
    page.add(f.ABANDONED, seen.abandoned, name)
    page.add(f.PLAN_FAILURES, seen.failed, name)
    page.histogram(f.RECOVERY, seen.recovery, name)
    page.add(f.RECOVERING, now - seen.lost_since if seen.lost_since is not None else 0, name)
