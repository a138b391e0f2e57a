"""What is true of a generation, read out of the registry: which boards are ready, lost or failed, what still drains.

Pure questions about what peers last said; nothing here changes anything or knows the time.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from convoy_schema.messages.boards import AssignmentReport, Phase
from convoy_schema.messages.gateways import GatewayDesired

from convoy_controller.database.records import BoardPresence, GenerationState
from convoy_controller.placement import Placement
from convoy_controller.registry import GatewayRecord, Registry


class Condition(enum.Enum):
    """How a board does with one generation."""

    READY = "ready"
    COMING = "coming"
    FAILED = "failed"
    GONE = "gone"

    @property
    def is_dead(self) -> bool:
        """Whether nothing can come from the board for this generation any more."""
        return self in (Condition.FAILED, Condition.GONE)


def condition(registry: Registry, board: str, placement: Placement) -> tuple[Condition, AssignmentReport | None]:
    """How `board` does with `placement`, and its own words about it if it has any."""
    record = registry.board(board)
    if record.presence is BoardPresence.OFFLINE:
        return Condition.GONE, None
    reports = record.reported.assignments if record.reported is not None else ()
    report = next((r for r in reports if (r.deployment, r.generation) == placement.key), None)
    if record.presence is BoardPresence.UNKNOWN:
        # The controller lost sight of it, which says nothing about the board.
        serves = placement.state is GenerationState.SERVING
        return (Condition.READY if serves else Condition.COMING), report
    if report is not None and report.phase is Phase.READY:
        return Condition.READY, report
    if report is not None and report.phase is Phase.FAILED:
        return Condition.FAILED, report
    return Condition.COMING, report


def has_dead_stage(registry: Registry, placement: Placement) -> bool:
    """Whether some stage has no board left that could compute: then nothing in flight can ever come back."""
    return any(
        all(condition(registry, board, placement)[0].is_dead for board in stage.boards) for stage in placement.stages
    )


def is_drained(registry: Registry, placement: Placement, told: Mapping[str, GatewayDesired]) -> bool:
    """Whether every gateway knows that it feeds something else, and awaits nothing of this generation."""
    return all(_has_let_go(gateway, placement, told.get(gateway.name)) for gateway in registry.online_gateways())


def _has_let_go(gateway: GatewayRecord, placement: Placement, told: GatewayDesired | None) -> bool:
    reported = gateway.reported
    if told is None or reported is None or _feeds(told, placement):
        return False
    if (reported.epoch, reported.revision) < (told.epoch, told.revision):
        return False
    for feed in reported.feeds:
        if feed.deployment == placement.intent.deployment:
            awaits = any(flight.generation == placement.generation and flight.frames for flight in feed.in_flight)
            if awaits or feed.serving == placement.generation:
                return False
    return True


def _feeds(told: GatewayDesired, placement: Placement) -> bool:
    return any(
        feed.serving is not None and (feed.intent.deployment, feed.serving.generation) == placement.key
        for feed in told.feeds
    )


def probe_verdict(gateway: GatewayRecord, placement: Placement) -> tuple[bool | None, str]:
    """Whether this gateway's end-to-end test of `placement` passed (None: it has not said), and its message."""
    for feed in gateway.reported.feeds if gateway.reported is not None else ():
        for probe in feed.probes:
            if (feed.deployment, probe.generation) == placement.key:
                return probe.passed, f"{gateway.name}: {probe.message}"
    return None, ""
