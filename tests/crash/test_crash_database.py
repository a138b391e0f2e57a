"""The database is lost, or comes back from a copy that is too old, while the fleet serves: what runs goes on."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from convoy_controller.database import queries
from convoy_controller.database.records import GenerationState
from convoy_controller.local_fleet import CONTROLLER, wait_until
from convoy_schema.bundle import Method
from crash_harness import BOARDS, Callers, CrashFleet
from patience import PATIENCE_S

#: Seconds within which the tables must be right again.
RIGHT_AGAIN_S = 60.0


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[CrashFleet]:
    with CrashFleet(tmp_path) as made:
        yield made


def database_path(fleet: CrashFleet) -> Path:
    return fleet.directory / "convoy.db"


def copy_database(fleet: CrashFleet, target: Path) -> None:
    """As `sqlite3 convoy.db .backup`: a consistent copy of a database in use."""
    source, copy = sqlite3.connect(database_path(fleet)), sqlite3.connect(target)
    try:
        source.backup(copy)
    finally:
        source.close()
        copy.close()


def delete_database(fleet: CrashFleet) -> None:
    for path in fleet.directory.glob("convoy.db*"):
        path.unlink()


def wait_controller_ends(fleet: CrashFleet) -> None:
    child = fleet.local.processes[CONTROLLER]
    assert wait_until(lambda: not child.alive, PATIENCE_S, 0.02), fleet.log(CONTROLLER)
    assert child.returncode not in (0, -9)
    assert "was deleted or replaced under this process" in fleet.log(CONTROLLER)


def assert_tables_are_right(fleet: CrashFleet, generation: str, serial: str = "1") -> None:
    """What `convoy boards`, `deployments`, `models` and the plan say is again what runs."""

    def right() -> bool:
        lines = {line.deployment: line for line in queries.deployments(fleet.database)}
        line = lines.get("small")
        return (
            line is not None
            and str(line.generation) == generation
            and line.is_current
            and line.ready_boards == line.assigned_boards == 3
            and fleet.online() == set(BOARDS)
        )

    began = time.monotonic()
    assert wait_until(right, RIGHT_AGAIN_S, 0.05), (fleet.complaint(), sorted(fleet.online()))
    print(f"tables right again after {time.monotonic() - began:.1f} s more")
    live = [g for g in queries.generations(fleet.database, "small") if g.state is GenerationState.SERVING]
    assert [str(g.generation) for g in live] == [generation]
    assert [(line.model, line.version) for line in queries.models(fleet.database)] == [("small", serial)]
    plan = fleet.plan()
    assert str(plan.generation) == generation
    assert {replica.board for stage in plan.stages for replica in stage.replicas} == set(BOARDS)


def assert_served_by(flow: Callers, generation: str) -> None:
    flow.wait_answers(60)
    assert flow.timeline.generations == {generation}


def serve_with_a_copy(fleet: CrashFleet) -> Path:
    """All boards, after the copy was taken while one served."""
    fleet.serve_all(Method.ALLOCATE, 3)
    fleet.deploy(Method.ALLOCATE, 2)
    copy = fleet.directory / "copy.db"
    copy_database(fleet, copy)
    fleet.deploy(Method.ALLOCATE, 3)
    return copy


def bring_back_nothing(fleet: CrashFleet, copy: Path) -> None:
    delete_database(fleet)


def bring_back_copy(fleet: CrashFleet, copy: Path) -> None:
    delete_database(fleet)
    copy.rename(database_path(fleet))


@pytest.mark.parametrize("lose", [bring_back_nothing, pytest.param(bring_back_copy, marks=pytest.mark.long)])
def test_a_controller_ends_when_its_database_goes_and_its_successor_adopts_what_runs(
    fleet: CrashFleet, lose: Callable[[CrashFleet, Path], None]
) -> None:
    copy = serve_with_a_copy(fleet)
    generation = fleet.serving_generation()
    with fleet.callers() as flow:
        lose(fleet, copy)
        wait_controller_ends(fleet)
        fleet.local.processes.restart(CONTROLLER)
        assert wait_until(lambda: fleet.log(CONTROLLER).count("in charge, epoch ") == 2, PATIENCE_S, 0.05)
        assert "1 generations were adopted from 3 boards" in fleet.log(CONTROLLER)
        fleet.reopen_database()
        assert_tables_are_right(fleet, generation)
        assert_served_by(flow, generation)
    # It is in charge: what is asked for now is done, in its own epoch.
    fleet.deploy(Method.ALLOCATE, 2)
    fleet.still_serves()
    assert fleet.serving_generation().split("-")[0] > generation.split("-")[0]
