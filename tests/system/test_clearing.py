"""What nobody refers to any more is cleared everywhere, on the broker too, while the fleet serves on."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from convoy_controller.bench.rig import Described
from convoy_controller.blobs import BlobStore
from convoy_controller.broker import find_mosquitto
from convoy_controller.database import publications
from convoy_controller.database.intents import request_deployment
from convoy_controller.home import DATABASE_VARIABLE
from convoy_controller.local_fleet import wait_until
from convoy_schema.bundle import Method
from convoy_schema.layers import Parameters, evaluate, fixed_point, pack_parameters
from convoy_schema.messages.desired import Intent
from convoy_schema.names import digest_of
from system_fleet import PATIENCE_S, Intruder, SystemFleet, small_network

pytestmark = pytest.mark.skipif(not find_mosquitto(), reason="Mosquitto is not installed")

BOARDS = ("board-1", "board-2", "board-3")
#: Seconds within which what was removed must be gone everywhere: boards keep it for 20, the controller settles for 10.
CLEARED_S = 60.0


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[SystemFleet]:
    with SystemFleet(tmp_path) as started:
        yield started


def other_network() -> Described:
    """The small network, but for its last layer."""
    small = small_network()
    random = np.random.default_rng(5)
    multiplier, shift = fixed_point(0.003)
    weights, bias = random.integers(-127, 128, (10, 16)).astype(np.int8), np.zeros(10, np.int32)
    packed = pack_parameters(Parameters(weights, bias, np.full(10, multiplier, np.int32), np.full(10, shift, np.int32)))
    layers = (*small.topology.layers[:-1], dataclasses.replace(small.topology.layers[-1], parameters=digest_of(packed)))
    topology = dataclasses.replace(small.topology, layers=layers)
    parameters = {**small.parameters, digest_of(packed): packed}
    del parameters[str(small.topology.layers[-1].parameters)]
    rows = np.frombuffer(small.golden[topology.input], np.int8).reshape(small.golden_rows, 1, 12, 12)
    golden = {name: value.tobytes() for name, value in evaluate(topology, parameters, rows).items()}
    return Described(topology, parameters, golden, small.golden_rows)


def retained(fleet: SystemFleet) -> set[str]:
    """The topics that a newcomer is told at once."""
    with Intruder(fleet.local.url) as witness:
        witness.subscribe(f"{fleet.topics.prefix}+/+/+", f"{fleet.topics.prefix}+/+")
        witness.settle()
        return {topic for topic, payload in witness.all_heard() if payload}


def artifacts_of(fleet: SystemFleet, version: str) -> set[str]:
    model = publications.find_model(fleet.database, "small", version)
    bundle = publications.bundle_of(model)
    network = small_network() if version == "1" else other_network()
    return set(bundle.artifacts(network.topology))


def stored(fleet: SystemFleet, board: str) -> set[str]:
    return {path.name for path in (fleet.directory / "boards" / board / "artifacts").iterdir()}


def convoy(fleet: SystemFleet, *arguments: str) -> tuple[int, Any]:
    """What a command answers in JSON, and its exit code; what it complains of where it fails."""
    import os

    command = [sys.executable, "-m", "convoy_controller", *arguments, "--json", "--home", str(fleet.home.root)]
    environment = {**os.environ, DATABASE_VARIABLE: fleet.home.database_url}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=2 * PATIENCE_S, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def remove(fleet: SystemFleet, version: str) -> None:
    """As its owner, once the last generation of it has ended."""
    answers: list[Any] = []

    def removed() -> bool:
        answers[:] = convoy(fleet, "model", "remove", f"small:{version}")
        return answers[0] == 0

    assert wait_until(removed, PATIENCE_S, 0.5), answers


def serve_other_then_small(fleet: SystemFleet) -> None:
    fleet.start(3)
    fleet.publish(other_network(), version="other")
    request_deployment(fleet.database, Intent("small", "small", "other", Method.ALLOCATE, 3, batch=8))
    fleet.wait_serving(3)
    code, refusal = convoy(fleet, "model", "remove", "small:other")
    assert code == 1
    assert "deployment small wants it" in refusal
    fleet.deploy(Method.ALLOCATE, 3)


@pytest.mark.long
def test_a_removed_version_is_gone_from_broker_boards_and_disk_while_the_fleet_serves(fleet: SystemFleet) -> None:
    serve_other_then_small(fleet)
    topics = fleet.topics
    kept, gone = artifacts_of(fleet, "1"), artifacts_of(fleet, "other") - artifacts_of(fleet, "1")
    assert gone
    assert topics.model("small", "other") in retained(fleet)
    assert gone & set.union(*(stored(fleet, board) for board in BOARDS))
    cleared = {topics.model("small", "other"), *map(topics.manifest, gone)}
    with fleet.traffic() as traffic:
        remove(fleet, "other")
        assert wait_until(lambda: not cleared & retained(fleet), CLEARED_S, 0.5), cleared & retained(fleet)
        assert wait_until(lambda: not any(gone & stored(fleet, board) for board in BOARDS), CLEARED_S, 0.5), (
            "a board still stores what nothing refers to"
        )
        there = retained(fleet)
        assert {topics.model("small", "1"), *map(topics.manifest, kept)} <= there
        assert {topics.board(board, leaf) for board in BOARDS for leaf in ("state", "desired", "reported")} <= there
        blobs = set(BlobStore(fleet.home.blobs).digests())
        assert kept <= blobs
        assert not gone & blobs
        # A board that lost everything comes back, and gets from broker and controller what it needs.
        fleet.local.processes.kill("board-3")
        fleet.wait_serving(2)
        shutil.rmtree(fleet.directory / "boards" / "board-3")
        fleet.local.processes.restart("board-3")
        fleet.wait_serving(3)
        traffic.wait_answers(100)
    traffic.check()
    code, answer = convoy(fleet, "gc", "--dry-run")
    assert code == 0
    assert [finding for finding in answer["findings"] if finding["verdict"] == "clear"] == []


@pytest.mark.long
def test_a_forgotten_board_leaves_nothing_and_may_come_back(fleet: SystemFleet) -> None:
    fleet.serve(2)
    code, refusal = convoy(fleet, "board", "forget", "board-2")
    assert code == 1
    assert "is online" in refusal
    with fleet.traffic() as traffic:
        fleet.local.processes.kill("board-2")
        fleet.wait_serving(1)
        mine = {fleet.topics.board("board-2", leaf) for leaf in ("state", "capability", "desired", "reported")}
        assert mine <= retained(fleet)
        answers: list[Any] = []

        def forgotten() -> bool:
            answers[:] = convoy(fleet, "board", "forget", "board-2")
            return answers[0] == 0

        assert wait_until(forgotten, PATIENCE_S, 0.5), answers
        assert answers[1]["last_seen"]
        assert wait_until(lambda: not mine & retained(fleet), CLEARED_S, 0.5), mine & retained(fleet)
        assert convoy(fleet, "boards", "board-2")[0] == 3
        fleet.local.processes.restart("board-2")
        fleet.wait_serving(2)
        assert wait_until(lambda: mine <= retained(fleet), PATIENCE_S, 0.5)
        traffic.wait_answers(50)
    traffic.check()
