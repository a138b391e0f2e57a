"""`convoy deploy`, `scale` and `undeploy` over a real database: what they write, refuse, wait for and show."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import Run, in_home
from convoy_controller.database import queries
from convoy_controller.database.intents import request_deployment, withdraw_deployment
from convoy_controller.database.records import DeploymentState, GenerationState
from convoy_schema.bundle import Method
from convoy_schema.messages.boards import Phase
from convoy_schema.messages.desired import Cut, Intent, Objective
from convoy_schema.names import Generation
from database_samples import Fleet, publish, three_boards
from patience import PATIENCE_S
from typer.testing import Result


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("deploy", "tiny")` in a home of its own."""
    return in_home(tmp_path, monkeypatch, columns=400)


@pytest.fixture
def fleet(run: Run, tmp_path: Path) -> Iterator[Fleet]:
    """Three boards, one of them gone; a model, and a deployment of it on two of them."""
    made = three_boards(tmp_path)
    yield made
    made.database.close()


def as_json(result: Result) -> Any:
    return json.loads(result.stdout)


def fleet_home(fleet: Fleet) -> Path:
    return Path(fleet.database.engine.url.database or "").parent


def test_deploy_writes_the_whole_intent(run: Run, fleet: Fleet):
    seen = fleet.recorder.intents_since(0)[-1].intent_revision
    options = ("--method", "allocate", "--boards", "3", "--batch", "8", "--cut", "replicated", "--name", "night")
    assert "convoy deployments night" in run("deploy", "tiny", *options).stdout
    (asked,) = fleet.recorder.intents_since(seen)
    assert asked.wanted
    assert (asked.intent.deployment, asked.intent.method, asked.intent.version) == ("night", Method.ALLOCATE, "1")
    assert (asked.intent.boards, asked.intent.batch, asked.intent.cut.value) == (3, 8, "replicated")
    assert as_json(run("deploy", "tiny", "--json"))["deployment"] == "tiny"


def test_undeploy(run: Run, fleet: Fleet):
    run("undeploy", "digits")
    assert [item.wanted for item in fleet.recorder.intents_since(0)] == [False]
    assert "convoy deployments" in run("undeploy", "digits", code=3).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("deploy", "nowhere"), 3, "there is tiny"),
        (("deploy", "tiny", "--version", "9"), 3, "there is 1"),
        (("deploy", "tiny", "--method", "magic"), 2, "magic"),
        (("deploy", "tiny", "--boards", "-1"), 2, "neither a number from 0 to 100000 nor"),
        (("deploy", "tiny", "--boards", "100001"), 2, "neither a number from 0 to 100000 nor"),
        (("deploy", "tiny", "--boards", "board-1,,board-2"), 2, "names of boards"),
        (("deploy", "tiny", "--boards", "Board 1"), 2, "must be 1 to 63 of a-z"),
        (("deploy", "tiny", "--boards", "board-1,bord-2"), 3, "did you mean board-2? known boards: board-1, board-2"),
        (("deploy", "tiny", "--boards", "xyz"), 3, "there is no board 'xyz': known boards: board-1, board-2, board-3"),
        (("deploy", "tiny", "--replicas", "-1"), 2, "greater than or equal to 0"),
        (("scale", "digits"), 2, "say --boards or --replicas"),
        (("scale", "nowhere", "--boards", "2"), 3, "there is no deployment 'nowhere'"),
        (("scale", "digits", "--boards", "bord-2"), 3, "did you mean board-2?"),
        (("deploy", "tiny", "--name", "Not A Name"), 2, "must be 1 to 63 of a-z"),
    ],
)
def test_what_cannot_be_deployed(run: Run, fleet: Fleet, arguments: tuple[str, ...], code: int, words: str):
    assert words in run(*arguments, code=code).stderr


def late(seconds: float) -> str:
    """What is said of a wait that was not long enough."""
    return (
        f"what is asked for now does not serve after {seconds:g} s: a running controller goes on with it, "
        "see `convoy deployments digits`"
    )


def test_waiting_until_it_serves(run: Run, fleet: Fleet):
    """What served before does not count: the wait is for a generation of the new intent."""
    fleet.recorder.save_deployment_state("digits", DeploymentState.SERVING)
    change = ("deploy", "tiny", "--name", "digits", "--wait", "0.3")
    assert as_json(run(*change, "--json", code=1))["is_current"] is False
    fleet.recorder.save_deployment_state("digits", DeploymentState.SERVING)
    still = run("scale", "digits", "--boards", "2", "--wait", "0.3", code=1).stdout
    assert still == f"digits: serving\nit still serves what was asked for before; {late(0.3)}\n"
    with fleet.recorder.transaction():
        fleet.recorder.save_generation_state("digits", Generation(1, 1), GenerationState.RETIRED)
        fleet.place(("board-1",), 2)
    current = Intent("digits", "lenet5", "1", Method.LIBRARY)  # what the samples' assignments carry
    assert queries.deployment(fleet.database, "digits").model != current.model
    publish(fleet.database, fleet_home(fleet), name="lenet5")
    assert as_json(run("deploy", "lenet5", "--name", "digits", "--wait", "5", "--json"))["is_current"] is True
    fleet.recorder.save_deployment_state("digits", DeploymentState.FAILED, "an old failure")
    shown = run("deploy", "lenet5", "--name", "digits", "--boards", "2", "--wait", "0.3", code=1).stdout
    assert shown == f"digits: pending\n{late(0.3)}\n"  # what failed before says nothing of this try
    run("undeploy", "digits", "--wait", "0.2", code=1)


def test_waiting_ends_when_it_fails(run: Run, fleet: Fleet):
    asked = queries.deployment(fleet.database, "digits").intent_revision

    def fail_once_asked() -> None:
        while queries.deployment(fleet.database, "digits").intent_revision == asked:
            time.sleep(0.05)
        fleet.recorder.save_deployment_state("digits", DeploymentState.FAILED, "no board fits")

    fail = threading.Thread(target=fail_once_asked)
    fail.start()
    begun = time.monotonic()
    assert "no board fits" in run("deploy", "tiny", "--name", "digits", "--wait", "90", code=1).stdout
    assert time.monotonic() - begun < PATIENCE_S
    fail.join()


def newest(fleet: Fleet) -> Intent:
    return fleet.recorder.intents_since(0)[-1].intent


def test_boards_by_name_replicas_and_spares_are_part_of_what_is_wanted(run: Run, fleet: Fleet):
    options = ("--boards", "board-2, board-3,board-2", "--replicas", "2", "--spare", "1")
    said = run("deploy", "tiny", *options).stdout
    assert "board-3 is offline: waited for" in said
    assert "board-2 is" not in said
    wanted = newest(fleet)
    assert (wanted.boards, wanted.board_names, wanted.replicas, wanted.spare) == (2, ("board-2", "board-3"), 2, 1)
    shown = as_json(run("deployments", "tiny", "--json"))["deployment"]
    assert (shown["board_names"], shown["replicas"], shown["spare"]) == (["board-2", "board-3"], 2, 1)
    assert "board-2, board-3; at most 2 share a stage; 1 spare" in run("deployments", "tiny").stdout


def test_scale_changes_boards_and_replicas_and_nothing_else(run: Run, fleet: Fleet):
    before = Intent("digits", "tiny", "1", Method.ALLOCATE, 1, Objective.LATENCY, Cut.REPLICATED, 4, spare=1)
    request_deployment(fleet.database, before)
    fleet.recorder.save_deployment_state("digits", DeploymentState.SERVING)
    assert run("scale", "digits", "--boards", "3").stdout.startswith("digits: serving")
    assert newest(fleet) == Intent(
        "digits", "tiny", "1", Method.ALLOCATE, 3, Objective.LATENCY, Cut.REPLICATED, 4, (), 0, 1
    )
    run("scale", "digits", "--replicas", "2")
    run("scale", "digits", "--boards", "board-1")
    assert newest(fleet) == Intent(
        "digits", "tiny", "1", Method.ALLOCATE, 1, Objective.LATENCY, Cut.REPLICATED, 4, ("board-1",), 2, 1
    )


def test_scaling_to_what_is_there_already_says_so_and_asks_for_nothing(run: Run, fleet: Fleet):
    revision = fleet.recorder.intents_since(0)[-1].intent_revision
    assert "asked for like this already: nothing changes" in run("scale", "digits", "--boards", "0").stdout
    assert fleet.recorder.intents_since(revision) == ()
    assert as_json(run("scale", "digits", "--boards", "0", "--json"))["deployment"] == "digits"


def test_what_was_removed_cannot_be_scaled(run: Run, fleet: Fleet):
    withdraw_deployment(fleet.database, "digits")
    assert "no deployment 'digits' to scale" in run("scale", "digits", "--boards", "1", code=3).stderr


def test_a_wait_tells_each_change_in_a_line_on_stderr_and_nothing_beside_json(run: Run, fleet: Fleet):
    fleet.at("board-2", Phase.FETCHING, done_bytes=1, total_bytes=4)
    told = run("scale", "digits", "--boards", "2", "--wait", "0.7", code=1)
    assert told.stderr.splitlines() == [
        "digits is staging",
        "generation 1-1, stage 2, board-2: fetching",
        "generation 1-1, stage 1, board-1: ready",
    ]
    assert told.stdout == f"digits: staging\n{late(0.7)}\n"
    assert run("scale", "digits", "--boards", "1", "--wait", "0.3", "--json", code=1).stderr == ""


def test_on_a_terminal_the_percentage_moves(fleet: Fleet, tmp_path: Path):
    fleet.at("board-2", Phase.FETCHING, done_bytes=1, total_bytes=4)
    command = [sys.executable, "-m", "convoy_controller.cli", "scale", "digits", "--boards", "2", "--wait", "90"]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "CONVOY_HOME": str(tmp_path), "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while b"fetching  25%" not in seen:
            seen += os.read(ours, 4096)
        fleet.at("board-2", Phase.FETCHING, done_bytes=3, total_bytes=4)
        while b"fetching  75%" not in seen:
            seen += os.read(ours, 4096)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        os.close(ours)
