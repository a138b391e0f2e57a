"""Keys are exchanged and versions revoked in a fleet that serves: nothing is lost, and what is revoked stays so."""

from __future__ import annotations

from pathlib import Path

import pytest
from convoy_controller.cli import app
from convoy_controller.database.intents import request_deployment
from convoy_controller.database.records import DeploymentState
from convoy_controller.keys import load_trust
from convoy_controller.local_fleet import wait_until
from convoy_schema import codec
from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Cut, Intent
from convoy_schema.signing import Purpose, Statements
from convoy_schema.trust import Trust
from system_fleet import PATIENCE_S, Intruder, SystemFleet
from typer.testing import CliRunner


def key(fleet: SystemFleet, *arguments: str, code: int = 0) -> str:
    """`convoy key` in the fleet's home."""
    done = CliRunner().invoke(app, ["key", *arguments, "--home", str(fleet.home.root)])
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def ask_for(fleet: SystemFleet, version: str, boards: int) -> None:
    request_deployment(
        fleet.database, Intent("small", "small", version, Method.ALLOCATE, boards, cut=Cut.PIPELINE, batch=8)
    )


def believed(fleet: SystemFleet, board: str) -> Trust:
    """What a board keeps on its disk."""
    path = fleet.directory / "boards" / board / "trust"
    fresh = Trust(load_trust(fleet.home.keys).root)
    return fresh.recall(codec.decode(Statements, path.read_bytes())) if path.exists() else fresh


def serial(fleet: SystemFleet, board: str) -> int:
    found = believed(fleet, board).delegation(Purpose.BUNDLE)
    return 0 if found is None else found.serial


def restart(fleet: SystemFleet, board: str) -> None:
    """As a power loss would."""
    child = fleet.local.processes[board]
    fleet.local.processes.kill(board)
    assert wait_until(lambda: not child.alive, PATIENCE_S)
    fleet.local.processes.restart(board)


def test_a_key_is_exchanged_and_a_version_revoked_under_traffic(tmp_path: Path) -> None:
    boards = ("board-1", "board-2")
    with SystemFleet(tmp_path) as fleet:
        fleet.serve(2)
        fleet.publish(version="2")
        generation = fleet.serving_generation()
        with fleet.traffic() as traffic:
            key(fleet, "rotate")
            assert wait_until(lambda: all(serial(fleet, board) == 2 for board in boards), PATIENCE_S)
            traffic.wait_answers(50)
            assert fleet.serving_generation() == generation, "what runs was not touched"
            # One that restarts finds what it runs signed by the new key, though the old one signed what it has.
            restart(fleet, "board-1")
            fleet.wait_serving(2)
            traffic.wait_answers(50)
            # Forth, and back to what is old and was never revoked.
            for version in ("2", "1", "2"):
                ask_for(fleet, version, 2)
                fleet.wait_serving(2)
        traffic.check()
        key(fleet, "floor", "set", "small", "--version", "2")
        assert wait_until(lambda: all(believed(fleet, board).lowest("small") == 2 for board in boards), PATIENCE_S)
        # The controller does not send out what the boards would refuse, and says why.
        ask_for(fleet, "1", 2)
        reason = "bundle 1 of small (version 1) was revoked: serial 2 is the lowest that may run"
        assert wait_until(lambda: reason in fleet.deployment().message, PATIENCE_S), fleet.deployment()
        assert "below-floor" in fleet.wait_event("model-refused", reason).sentence
        assert reason in fleet.wait_event("no-plan").sentence
        fleet.still_serves()
        assert not [event for event in fleet.events("planned") if event.id > fleet.wait_event("model-refused").id]


def serve_and_lose_a_floor(fleet: SystemFleet) -> None:
    """Version 1 was revoked while version 2 serves; the controller is away, and its keys are as they were before."""
    fleet.serve(1)
    kept = (fleet.home.keys / "trust").read_bytes()
    fleet.publish(version="2")
    ask_for(fleet, "2", 1)
    fleet.wait_serving(1)
    key(fleet, "floor", "set", "small", "--version", "2")
    assert wait_until(lambda: believed(fleet, "board-1").lowest("small") == 2, PATIENCE_S)
    fleet.local.processes.stop_one("controller")
    (fleet.home.keys / "trust").write_bytes(kept)


@pytest.mark.long
def test_boards_hold_a_floor_that_their_controller_has_lost(tmp_path: Path) -> None:
    """Its folder came back from a backup, and the broker has forgotten: then the boards refuse, and it says so."""
    with SystemFleet(tmp_path) as fleet:
        serve_and_lose_a_floor(fleet)
        with Intruder(fleet.local.url) as broker:
            broker.publish(fleet.topics.trust(), b"", retain=True)
        restart(fleet, "board-1")
        fleet.local.start_controller()
        fleet.wait_serving(1)
        ask_for(fleet, "1", 1)
        event = fleet.wait_event("abandoned", "below-floor")
        assert "board board-1: below-floor: bundle 1 of small (version 1) was revoked" in event.sentence
        assert wait_until(lambda: "below-floor" in fleet.why("board-1"), PATIENCE_S), fleet.complaint()
        fleet.still_serves()
        assert fleet.deployment().state is not DeploymentState.FAILED


@pytest.mark.long
def test_a_controller_that_lost_a_floor_learns_it_again_from_the_broker(tmp_path: Path) -> None:
    with SystemFleet(tmp_path) as fleet:
        serve_and_lose_a_floor(fleet)
        assert load_trust(fleet.home.keys).lowest("small") == 0
        fleet.local.start_controller()
        assert wait_until(lambda: load_trust(fleet.home.keys).lowest("small") == 2, PATIENCE_S)
        ask_for(fleet, "1", 1)
        assert wait_until(lambda: "was revoked" in fleet.deployment().message, PATIENCE_S), fleet.deployment()
        assert not fleet.events("abandoned")
        fleet.still_serves()
