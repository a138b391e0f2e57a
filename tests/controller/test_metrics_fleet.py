"""The fleet as Prometheus gets it, from the registry and the reconciler of a fleet that is nothing but its answers."""

from __future__ import annotations

from dataclasses import replace

from convoy_controller.database.records import SymptomKind
from convoy_controller.metrics.fleet import FleetPage, seen
from convoy_controller.metrics.page import Page
from convoy_controller.reconciler import EXCLUDE_S
from convoy_schema.messages.boards import PartitionReport, Published, Pulse, Reported, StagePulse
from convoy_schema.names import Generation
from reconciled_fleet import Fleet, deployed
from scraped import Samples, samples, value

#: What a watch would have found; the second is of a board that was forgotten since.
SYMPTOMS = {("a", SymptomKind.SLOW_LINK), ("gone", SymptomKind.FLAPPING)}


def scraped(fleet: Fleet) -> Samples:
    page = Page()
    FleetPage().write(page, seen(fleet.registry, fleet.reconciler, SYMPTOMS, fleet.now))
    return samples(page.text())


def pulse(fleet: Fleet, board: str, frames: int, **refused: int) -> None:
    stages = (StagePulse("d", Generation(1, 1), frames, 2 * frames, 3, 4, frames * 1000, 250, {"late": frames}),)
    words = Pulse(fleet.sessions[board], 1, 1, 1000, 5000, 2**20, stages, Published(10, 0, 20), refused, 51.5, 1500, 0)
    fleet.registry.pulse(board, words, fleet.now)


def test_a_fleet_that_serves_is_at_its_target() -> None:
    fleet = deployed(boards=3)
    fleet.now += 7.0
    found = scraped(fleet)
    assert value(found, "convoy_boards", presence="online") == 3
    assert value(found, "convoy_boards_at_target") == value(found, "convoy_boards_with_target") == 3
    for board in "abc":
        assert value(found, "convoy_board_online", board=board) == 1
        assert value(found, "convoy_board_at_target", board=board) == 1
        assert value(found, "convoy_board_at_target_seconds", board=board) >= 7.0  # type: ignore[operator]
        assert value(found, "convoy_board_assignments", board=board, phase="ready") == 1
        assert value(found, "convoy_board_assignments", board=board, phase="failed") is None
    assert value(found, "convoy_deployment_serving", deployment="d") == 1
    assert value(found, "convoy_deployment_state", deployment="d", state="serving") == 1
    assert value(found, "convoy_deployment_state", deployment="d", state="failed") == 0
    assert value(found, "convoy_deployment_assignments", deployment="d", phase="ready") == 3
    assert value(found, "convoy_deployment_generations_total", deployment="d", cause="initial") == 1
    assert value(found, "convoy_deployment_info", deployment="d", model="net", version="1", generation="1-1") == 1
    assert value(found, "convoy_gateway_online", gateway="gate") == 1


def test_a_lost_board_shows_and_so_does_how_long_it_took() -> None:
    fleet = deployed(boards=3)
    pulse(fleet, "b", 5)
    fleet.kill("b")
    fleet.step()
    found = scraped(fleet)
    assert value(found, "convoy_board_online", board="b") == 0
    assert value(found, "convoy_board_losses_total", board="b") == 1
    assert value(found, "convoy_board_at_target", board="b") in (0, None)
    assert value(found, "convoy_board_temperature_celsius", board="b") is None
    assert value(found, "convoy_board_published_bytes_total", board="b", kind="activations") == 20
    assert value(found, "convoy_deployment_serving", deployment="d") == 0
    assert value(found, "convoy_deployment_recovering_seconds", deployment="d") > 0  # type: ignore[operator]
    assert value(found, "convoy_deployment_recovery_seconds_count", deployment="d") == 0
    fleet.answer()
    fleet.settle(6)
    found = scraped(fleet)
    assert value(found, "convoy_deployment_serving", deployment="d") == 1
    assert value(found, "convoy_deployment_recovering_seconds", deployment="d") == 0
    assert value(found, "convoy_deployment_recovery_seconds_count", deployment="d") == 1
    assert value(found, "convoy_deployment_generations_total", deployment="d", cause="lost") == 1


def test_while_presence_is_unknown_nothing_is_claimed() -> None:
    fleet = deployed(boards=2, names=("a", "b"))
    fleet.registry.link_lost()
    found = scraped(fleet)
    assert value(found, "convoy_boards", presence="unknown") == 2
    assert value(found, "convoy_board_online", board="a") is None
    assert value(found, "convoy_gateway_online", gateway="gate") is None
    assert value(found, "convoy_board_losses_total", board="a") == 0


def test_what_a_board_counts_is_told_in_base_units_and_by_reason() -> None:
    fleet = deployed(boards=3)
    pulse(fleet, "a", 100, link=7, stale=2)
    pulse(fleet, "a", 150, link=9, stale=2)
    found = scraped(fleet)
    at = {"board": "a", "deployment": "d"}
    assert value(found, "convoy_stage_frames_total", **at) == 50
    assert value(found, "convoy_stage_rows_total", **at) == 100
    assert value(found, "convoy_stage_busy_seconds_total", **at) == 0.05
    assert value(found, "convoy_stage_refused_frames_total", reason="late", **at) == 50
    assert value(found, "convoy_stage_queued_frames", **at) == 3
    assert value(found, "convoy_stage_credits", **at) == 4
    assert value(found, "convoy_stage_residence_seconds", **at) == 0.00025
    assert value(found, "convoy_board_dropped_frames_total", board="a") == 9
    assert value(found, "convoy_board_refused_messages_total", board="a", reason="stale") == 2
    assert value(found, "convoy_board_refused_messages_total", board="a", reason="link") is None
    assert value(found, "convoy_board_temperature_celsius", board="a") == 51.5
    assert value(found, "convoy_board_uptime_seconds", board="a") == 5
    assert value(found, "convoy_board_uplink_wait_seconds", board="a") == 0.0015
    assert value(found, "convoy_board_broker_round_trip_seconds", board="a") is None
    assert value(found, "convoy_board_published_bytes_total", board="a", kind="control") == 10


def test_what_keeps_a_board_from_its_target_shows() -> None:
    fleet = deployed(boards=3)
    desired = fleet.desired["a"]
    held = desired.assignments
    words = Reported(
        fleet.sessions["a"],
        desired.epoch,
        desired.revision,
        "partitions",
        (),
        (PartitionReport("west", None, False, True), PartitionReport("east", None, True)),
        95,
        100,
        "the store is full",
        held,
    )
    fleet.registry.board_reported("a", words, False, fleet.now)
    found = scraped(fleet)
    assert value(found, "convoy_board_at_target", board="a") == 0
    assert value(found, "convoy_board_at_target_seconds", board="a") == 0
    assert value(found, "convoy_board_blocked", board="a") == 1
    assert value(found, "convoy_board_degraded_partitions", board="a") == 1
    assert value(found, "convoy_board_store_bytes", board="a") == 95
    assert value(found, "convoy_board_store_quota_bytes", board="a") == 100
    stage = str(held[0].stage)
    assert value(found, "convoy_stage_info", board="a", deployment="d", stage=stage, generation="1-1") == 1
    assert value(found, "convoy_boards_at_target") == 2


def test_what_is_found_by_watching_and_who_is_left_out_is_there_while_it_lasts() -> None:
    fleet = deployed(boards=3)
    found = scraped(fleet)
    assert value(found, "convoy_board_symptom", board="a", symptom="slow-link") == 1
    assert len([key for key in found if key[0] == "convoy_board_symptom"]) == 1
    assert not [key for key in found if key[0] == "convoy_board_left_out"]
    fleet.fails["b"] = False
    fleet.reconciler.wanted(replace(next(iter(fleet.reconciler.deployments.values())).intent, version="2"))
    fleet.settle(4)
    assert value(scraped(fleet), "convoy_board_left_out", board="b", deployment="d") == 1
    fleet.now += EXCLUDE_S + 1
    assert value(scraped(fleet), "convoy_board_left_out", board="b", deployment="d") is None


def test_series_grow_with_boards_and_their_stages_alone() -> None:
    """At 1,000 boards of one stage each: thirty-odd series a board."""
    names = tuple(f"b{number}" for number in range(6))
    fleet = deployed(boards=4, names=names)
    for name in names:
        pulse(fleet, name, 10, link=1, stale=2)
        pulse(fleet, name, 20, link=1, stale=2)
    found = scraped(fleet)
    by_board = [key for key in found if dict(key[1]).get("board") == "b0"]
    assert 20 <= len(by_board) <= 36
