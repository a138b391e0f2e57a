"""What is true of a generation, by what boards and gateways last said."""

from __future__ import annotations

import pytest
from convoy_controller.conditions import Condition, condition, has_dead_stage, is_drained, probe_verdict
from convoy_controller.database.records import GenerationState
from convoy_controller.placement import Placement, StagePlacement
from convoy_controller.registry import Registry
from convoy_schema.bundle import Method
from convoy_schema.messages.boards import AssignmentReport, BoardState, Phase, Presence, Published, Reported
from convoy_schema.messages.desired import Intent
from convoy_schema.messages.gateways import (
    Feed,
    FeedReport,
    GatewayDesired,
    GatewayReported,
    GatewayState,
    InFlight,
    ProbeReport,
)
from convoy_schema.names import Generation

GENERATION = Generation(1, 4)
OTHER = Generation(1, 5)
INTENT = Intent("shop", "net", "1", Method.ALLOCATE)


def placement(state: GenerationState = GenerationState.SERVING, *stages: tuple[str, ...]) -> Placement:
    held = tuple(
        StagePlacement((f"l{n}",), boards, ((),) * len(boards)) for n, boards in enumerate(stages or (("a",),))
    )
    return Placement(GENERATION, INTENT, "ab" * 32, held, 8, 64, 0.1, state)


def board(registry: Registry, name: str, *reports: tuple[Generation, Phase], online: bool = True) -> None:
    registry.board_state(name, BoardState(Presence.ONLINE, 7), False, 0.0)
    said = tuple(AssignmentReport("shop", generation, phase, code="x") for generation, phase in reports)
    registry.board_reported(name, Reported(7, 1, 1, "", said, (), 0, 1), False, 0.0)
    if not online:
        registry.board_state(name, BoardState(Presence.OFFLINE, 7), False, 1.0)


@pytest.mark.parametrize(
    ("reports", "online", "expected"),
    [
        (((GENERATION, Phase.READY),), True, Condition.READY),
        (((GENERATION, Phase.FAILED),), True, Condition.FAILED),
        (((GENERATION, Phase.TESTING),), True, Condition.COMING),
        (((OTHER, Phase.READY),), True, Condition.COMING),
        ((), True, Condition.COMING),
        (((GENERATION, Phase.READY),), False, Condition.GONE),
    ],
)
def test_how_a_board_does(reports: tuple[tuple[Generation, Phase], ...], online: bool, expected: Condition) -> None:
    registry = Registry()
    board(registry, "a", *reports, online=online)
    how, report = condition(registry, "a", placement())
    assert how is expected
    assert how.is_dead == (expected in (Condition.FAILED, Condition.GONE))
    if expected is Condition.FAILED:
        assert report is not None
        assert report.code == "x"


@pytest.mark.parametrize(
    ("state", "expected"), [(GenerationState.SERVING, Condition.READY), (GenerationState.STAGED, Condition.COMING)]
)
def test_a_lost_broker_says_nothing_about_the_boards(state: GenerationState, expected: Condition) -> None:
    registry = Registry()
    board(registry, "a", (GENERATION, Phase.READY))
    registry.link_up(0.0)
    registry.link_lost()
    assert condition(registry, "a", placement(state))[0] is expected


def test_a_stage_is_dead_when_all_its_boards_are() -> None:
    registry = Registry()
    for name, online in (("a", True), ("b", False), ("c", True), ("d", False)):
        board(registry, name, (GENERATION, Phase.READY), online=online)
    serving = GenerationState.SERVING
    assert not has_dead_stage(registry, placement(serving, ("a",), ("b", "c")))
    assert has_dead_stage(registry, placement(serving, ("a",), ("b", "d")))


def gateway(
    registry: Registry,
    revision: int,
    *,
    serving: Generation | None = None,
    in_flight: tuple[InFlight, ...] = (),
    probes: tuple[ProbeReport, ...] = (),
    name: str = "gate",
) -> None:
    feed = FeedReport("shop", serving, in_flight, probes)
    registry.gateway_reported(name, GatewayReported(1, 1, revision, "", (feed,), Published()), False, 0.0)


def told(revision: int, *, feeds_old: bool = False) -> dict[str, GatewayDesired]:
    old = placement()
    feed = Feed(INTENT, old.model, old.route(1) if feeds_old else None)
    return {"gate": GatewayDesired(1, revision, (feed,))}


@pytest.mark.parametrize(
    ("revision", "serving", "in_flight", "feeds_old", "expected"),
    [
        (3, None, (), False, True),
        (3, OTHER, (InFlight(OTHER, 9),), False, True),
        (3, OTHER, (InFlight(GENERATION, 0),), False, True),
        (3, OTHER, (InFlight(GENERATION, 1),), False, False),
        (3, GENERATION, (), False, False),
        (2, None, (), False, False),
        (3, None, (), True, False),
    ],
)
def test_a_generation_is_drained_when_every_gateway_has_let_it_go(
    revision: int, serving: Generation | None, in_flight: tuple[InFlight, ...], feeds_old: bool, expected: bool
) -> None:
    registry = Registry()
    gateway(registry, revision, serving=serving, in_flight=in_flight)
    assert is_drained(registry, placement(), told(3, feeds_old=feeds_old)) is expected


def test_a_gateway_that_was_told_nothing_or_said_nothing_has_not_let_go_and_one_that_is_gone_has() -> None:
    registry = Registry()
    assert is_drained(registry, placement(), {}), "there is nobody who could await anything"
    registry.gateway_state("gate", GatewayState(Presence.ONLINE, 1), False, 0.0)
    assert not is_drained(registry, placement(), told(3))
    gateway(registry, 3)
    assert not is_drained(registry, placement(), {})
    assert is_drained(registry, placement(), told(3))
    registry.gateway_state("gate", GatewayState(Presence.OFFLINE, 1), False, 1.0)
    assert is_drained(registry, placement(), {})


def test_a_verdict_is_of_the_generation_that_was_asked_about() -> None:
    registry = Registry()
    record = registry.gateway("gate")
    assert probe_verdict(record, placement()) == (None, "")
    gateway(registry, 1, probes=(ProbeReport(OTHER, False, "no"),))
    assert probe_verdict(record, placement()) == (None, "")
    gateway(registry, 1, probes=(ProbeReport(OTHER, False, "no"), ProbeReport(GENERATION, True, "yes")))
    assert probe_verdict(record, placement()) == (True, "gate: yes")
    gateway(registry, 1, probes=(ProbeReport(GENERATION, False, "3 of 10 differ"),))
    assert probe_verdict(record, placement()) == (False, "gate: 3 of 10 differ")
