"""A deployment is scaled under traffic, by number and by name, up and down and across: nothing is lost or mixed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from convoy_controller.database.intents import scale_deployment
from convoy_controller.database.records import DeploymentState
from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Cut
from patience import PATIENCE_S
from system_fleet import SystemFleet


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[SystemFleet]:
    with SystemFleet(tmp_path) as made:
        yield made


def scale(fleet: SystemFleet, *arguments: str) -> str:
    """`convoy scale small`, until it serves so."""
    command = [sys.executable, "-m", "convoy_controller.cli", "scale", "small", *arguments, "--wait", "45"]
    environment = {**os.environ, "CONVOY_HOME": str(fleet.directory), "CONVOY_DATABASE": fleet.home.database_url}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr, fleet.complaint())
    return done.stdout + done.stderr


def holders(fleet: SystemFleet) -> list[set[str]]:
    """Boards of each stage of the newest generation."""
    return [{replica.board for replica in stage.replicas} for stage in fleet.plan().stages]


def test_scaling_up_down_and_across_under_traffic(fleet: SystemFleet) -> None:
    fleet.start(3)
    fleet.wait_boards("board-1", "board-2", "board-3")
    fleet.deploy(Method.LIBRARY, 1)
    asked: list[tuple[tuple[int, tuple[str, ...]], int | None]] = [
        ((2, ("board-2", "board-3")), None),
        ((3, ()), 3),
    ]
    with fleet.traffic() as flow:
        assert "small: serving" in scale(fleet, "--boards", "3")
        flow.wait_answers(60)
        assert [len(stage) for stage in holders(fleet)] == [1, 1, 1]
        for boards, replicas in asked:
            scale_deployment(fleet.database, "small", boards, replicas)
            fleet.wait_serving(boards[0])
            flow.wait_answers(60)
            assert set.union(*holders(fleet)) <= set(boards[1] or fleet.local.boards)
    assert max(len(stage) for stage in holders(fleet)) > 1, "replicas of 3 share a stage"
    flow.check()
    assert not fleet.events("abandoned")
    line = fleet.deployment()
    assert (line.state, line.method, line.cut, line.batch) == (
        DeploymentState.SERVING,
        Method.LIBRARY,
        Cut.PIPELINE,
        8,
    )
