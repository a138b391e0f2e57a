"""Parameters are replaced between two images, under traffic, and the shell that runs them is not touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from convoy_controller import lenet5
from convoy_controller.catalogue import ModelContents
from convoy_controller.database.intents import request_deployment
from convoy_controller.datasets import digits
from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Cut, Intent
from other_networks import with_other_parameters
from system_fleet import SystemFleet, logits_of
from witnesses import Witnesses

BOARDS = ("board-1", "board-2")
MARK = b"a full load would clear this"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[SystemFleet]:
    with SystemFleet(tmp_path) as made:
        yield made


def ask_for(fleet: SystemFleet, version: str, method: Method = Method.STREAM) -> None:
    intent = Intent("lenet5", "lenet5", version, method, len(BOARDS), cut=Cut.PIPELINE, batch=8)
    request_deployment(fleet.database, intent)
    fleet.wait_serving(len(BOARDS), "lenet5")


def memory(fleet: SystemFleet, board: str) -> Path:
    """The file that is the emulated part's configuration memory."""
    (found,) = [path for path in (fleet.directory / "boards" / board / "fabric").rglob("*") if path.is_file()]
    return found


def mark(path: Path) -> None:
    """Into the last frame, which nothing is loaded into."""
    with path.open("r+b") as file:
        file.seek(-len(MARK), 2)
        file.write(MARK)


def test_parameters_are_replaced_between_two_images_without_a_load_of_the_shell(fleet: SystemFleet) -> None:
    fleet.start(2)
    network, spec = lenet5.quantised()
    networks: dict[str, ModelContents] = {"1": network, "2": with_other_parameters(network)}
    for version, contents in networks.items():
        fleet.publish(contents, "lenet5", version, spec)
    images = digits().images[:32]
    expected = {version: logits_of(contents, spec, images) for version, contents in networks.items()}
    assert (expected["1"] != expected["2"]).any(axis=1).all(), "every image tells the versions apart"
    ask_for(fleet, "1")
    for board in BOARDS:
        assert "lenet5 1-1 is configuring (shell fixed)" in fleet.log(board)
        mark(memory(fleet, board))
    with Witnesses(list(fleet.local.gateways.values()), "lenet5", images) as witnesses:
        before = len(witnesses.answers)
        witnesses.wait_answers(50)
        ask_for(fleet, "2")
        served = len(witnesses.answers)
        witnesses.wait_answers(100)
    assert witnesses.is_complete, witnesses.errors
    versions = {"1-1": "1", "1-2": "2"}
    for answer in witnesses.answers:
        assert np.array_equal(answer.logits[0], expected[versions[answer.generation]][answer.image]), answer
    order = [answer.generation for answer in witnesses.answers]
    assert set(order[: before + 50]) == {"1-1"}
    assert set(order[served + 16 :]) == {"1-2"}, "after the switch only what was under way is of the old one"
    switched_at = min(answer.came_at for answer in witnesses.answers if answer.generation == "1-2")
    assert not [a for a in witnesses.answers if a.generation == "1-1" and a.sent_at > switched_at + 1.0]
    for board in BOARDS:
        # Neither configured anew nor loaded: the very frames are those of before.
        assert "lenet5 1-2 is loading" in fleet.log(board)
        assert "lenet5 1-2 is configuring" not in fleet.log(board)
        assert fleet.log(board).count("(shell fixed)") == 1
        assert memory(fleet, board).read_bytes().endswith(MARK)
    # A change of method is a full load, and would have shown.
    ask_for(fleet, "2", Method.ALLOCATE)
    assert not any(memory(fleet, board).read_bytes().endswith(MARK) for board in BOARDS)
