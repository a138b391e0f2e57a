"""Every part is killed and comes back while requests flow: nothing is lost, and what serves goes on serving."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from convoy_controller.broker import find_mosquitto
from convoy_controller.database import queries
from convoy_controller.database.records import DeploymentState, GenerationState
from convoy_controller.local_fleet import CONTROLLER, GATEWAY, wait_until
from convoy_schema.bundle import Method
from system_fleet import PATIENCE_S, SystemFleet


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[SystemFleet]:
    with SystemFleet(tmp_path) as started:
        yield started


def generations(fleet: SystemFleet) -> list[str]:
    return [str(line.generation) for line in queries.generations(fleet.database, "small")]


def ended(fleet: SystemFleet, generation: str) -> str:
    """Why a generation retired, once it has."""

    def reason() -> str:
        lines = {str(line.generation): line for line in queries.generations(fleet.database, "small")}
        return lines[generation].reason if lines[generation].state is GenerationState.RETIRED else ""

    assert wait_until(lambda: bool(reason()), PATIENCE_S), fleet.complaint()
    return reason()


def test_a_controller_that_is_killed_and_comes_back_changes_nothing(fleet: SystemFleet) -> None:
    fleet.serve(2)
    before = generations(fleet)
    with fleet.traffic() as traffic:
        fleet.local.processes.kill(CONTROLLER)
        assert wait_until(lambda: not fleet.local.processes[CONTROLLER].alive, PATIENCE_S)
        traffic.wait_answers(200)
        fleet.local.processes.restart(CONTROLLER)
        assert wait_until(lambda: len(fleet.events("in-charge")) == 2, PATIENCE_S)
        fleet.wait_boards("board-1", "board-2")
        traffic.wait_answers(200)
    summary = traffic.check()
    assert generations(fleet) == before
    assert set(summary.generations) == set(before)
    assert fleet.deployment().state is DeploymentState.SERVING
    # It is in charge again: what is asked for now is done.
    fleet.deploy(Method.ALLOCATE, 1)
    fleet.still_serves()


@pytest.mark.long
def test_a_controller_that_dies_while_it_stages_finishes_when_it_comes_back(fleet: SystemFleet) -> None:
    fleet.serve(2)
    with fleet.traffic() as traffic:
        fleet.request(Method.ALLOCATE, 1)
        assert wait_until(lambda: len(generations(fleet)) > 1, PATIENCE_S, 0.002)
        fleet.local.processes.kill(CONTROLLER)
        traffic.wait_answers(100)
        fleet.local.processes.restart(CONTROLLER)
        fleet.wait_serving(1)
        traffic.wait_answers(100)
    traffic.check()


@pytest.mark.long
def test_a_gateway_that_is_killed_costs_its_callers_a_retry(fleet: SystemFleet) -> None:
    fleet.serve(2)
    with fleet.traffic() as traffic:
        for _ in range(2):
            fleet.local.processes.kill(GATEWAY)
            fleet.local.processes.restart(GATEWAY)
            traffic.wait_answers(200)
    traffic.check()
    fleet.still_serves()


@pytest.mark.skipif(not find_mosquitto(), reason="Mosquitto is not installed")
def test_everyone_returns_to_a_broker_that_was_restarted_and_has_forgotten_all(fleet: SystemFleet) -> None:
    fleet.serve(2)
    before = generations(fleet)
    with fleet.traffic() as traffic:
        fleet.local.processes.kill("broker")
        fleet.local.processes.restart("broker")
        traffic.wait_answers(200)
        fleet.wait_boards("board-1", "board-2")
    traffic.check()
    fleet.wait_serving(2)
    assert generations(fleet)[-1:] == before
    # Everything retained is there again: a newcomer finds its way.
    fleet.local.start_board("board-3")
    fleet.deploy(Method.ALLOCATE, 3)
    fleet.still_serves()


@pytest.mark.long
def test_a_board_that_is_killed_is_planned_around_and_taken_in_again_without_a_pause(fleet: SystemFleet) -> None:
    fleet.serve(3, Method.LIBRARY)
    with fleet.traffic() as traffic:
        fleet.local.processes.kill("board-2")
        assert wait_until(lambda: len(fleet.plan().stages) == 2, PATIENCE_S, 0.02), fleet.complaint()
        fleet.wait_serving(2)
        traffic.wait_answers(100)
        fleet.local.processes.restart("board-2")
        fleet.wait_serving(3)
        traffic.wait_answers(100)
    summary = traffic.check()
    assert set(summary.generations) == {"1-1", "1-2", "1-3"}
    assert "board-2" in [stage.replicas[0].board for stage in fleet.plan().stages]
    assert "lost a board" in ended(fleet, "1-1")
    assert ended(fleet, "1-2") == "drained", "the one before served until the new one did"


@pytest.mark.long
def test_a_board_that_restarts_at_once_goes_on_with_what_it_had(fleet: SystemFleet) -> None:
    fleet.serve(2)
    with fleet.traffic() as traffic:
        fleet.local.processes.restart("board-1")
        traffic.wait_answers(200)
        fleet.wait_serving(2)
    traffic.check()
    fleet.still_serves()


@pytest.mark.long
def test_undeploy_ends_cleanly_and_deploy_begins_anew(fleet: SystemFleet) -> None:
    fleet.serve(2)
    fleet.withdraw()
    assert wait_until(lambda: fleet.deployment().state is DeploymentState.REMOVED, PATIENCE_S), fleet.complaint()

    def states() -> set[GenerationState]:
        return {line.state for line in queries.generations(fleet.database, "small")}

    assert wait_until(lambda: states() == {GenerationState.RETIRED}, PATIENCE_S), states()
    assert wait_until(lambda: "online and free" in fleet.why("board-1"), PATIENCE_S), fleet.why("board-1")
    assert wait_until(lambda: not fleet.client.is_ready(), PATIENCE_S)
    fleet.deploy(Method.LIBRARY, 2)
    fleet.still_serves()


@pytest.mark.long
def test_another_method_under_traffic_pauses_and_loses_nothing(fleet: SystemFleet) -> None:
    fleet.serve(2, Method.LIBRARY)
    with fleet.traffic() as traffic:
        for method in (Method.ALLOCATE, Method.LIBRARY):
            fleet.deploy(method, 2)
            traffic.wait_answers(100)
    summary = traffic.check()
    assert set(summary.generations) == {"1-1", "1-2", "1-3"}
    assert [ended(fleet, name) for name in ("1-1", "1-2")] == [f"made room for generation {n}" for n in ("1-2", "1-3")]
    assert fleet.deployment().method is Method.LIBRARY
