"""A disk fills up, under a board or the controller: who needs it says so, nothing else is lost, and all recovers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from convoy_controller.bench.networks import dense_layer, incompressible
from convoy_controller.bench.rig import Described
from convoy_controller.database.intents import request_deployment
from convoy_controller.database.records import DeploymentState
from convoy_controller.errors import BlobError, DatabaseFullError
from convoy_controller.local_fleet import CONTROLLER, wait_until
from convoy_schema.bundle import InputSpec, Method
from convoy_schema.messages.desired import Cut, Intent
from convoy_simulator.real.small_disk import SmallDisk, obstacle
from system_fleet import PATIENCE_S, SystemFleet, logits_of

SMALL_BOARD, OTHER_BOARD = "board-1", "board-2"
BIG_SPEC = InputSpec("t0", "C", 1.0, 0.0)
KB = 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    path = tmp_path / "disk"
    if why := obstacle(path):
        pytest.skip(why)
    with SmallDisk(path, 12 * KB) as made:
        yield made


@pytest.fixture
def fleet(tmp_path: Path, disk: SmallDisk) -> Iterator[SystemFleet]:
    with SystemFleet(tmp_path) as made:
        yield made


def big_network(seed: int = 1) -> Described:
    """400 kB of parameters that do not pack."""
    return dense_layer("big", incompressible(400, 1000, seed))


def assert_big_serves(fleet: SystemFleet, network: Described) -> None:
    rows = np.random.default_rng(5).integers(0, 100, (3, 1000)).astype(np.uint8)
    result = fleet.client.infer(rows, "big")
    assert np.array_equal(result.array, logits_of(network, BIG_SPEC, rows))


@pytest.mark.long
def test_a_model_that_does_not_fit_a_boards_disk_takes_nothing_else_with_it(
    fleet: SystemFleet, disk: SmallDisk
) -> None:
    fleet.start(0)
    daemon = fleet.local.start_board(SMALL_BOARD, state_dir=str(disk.path))
    network = big_network()
    fleet.publish(network, "big", spec=BIG_SPEC)
    fleet.deploy(Method.ALLOCATE, 1)
    generation = fleet.serving_generation()
    disk.fill(250 * KB)
    with fleet.traffic() as traffic:
        fleet.request(Method.ALLOCATE, 1, "big")
        said = fleet.wait_event("abandoned", "store-full").sentence
        assert re.search(r"\d+ bytes are needed, .* has \d+ free: free some space there", said), said
        # Nothing of the attempt stays on the disk: what it needs for itself it has.
        assert wait_until(lambda: disk.free_bytes >= 200 * KB, PATIENCE_S), disk.free_bytes
        traffic.wait_answers(100)
        assert fleet.deployment("big").state is not DeploymentState.SERVING
        disk.relieve()
        fleet.wait_serving(1, "big")
        assert_big_serves(fleet, network)
        traffic.wait_answers(50)
    assert set(traffic.check().generations) == {generation}
    assert fleet.local.processes[SMALL_BOARD].pid == daemon.pid


def test_a_board_whose_disk_is_full_to_the_last_byte_serves_on_changes_and_comes_back(
    fleet: SystemFleet, disk: SmallDisk
) -> None:
    fleet.start(0)
    fleet.local.start_board(SMALL_BOARD, state_dir=str(disk.path))
    fleet.deploy(Method.ALLOCATE, 1)
    disk.fill()
    with fleet.traffic() as traffic:
        traffic.wait_answers(50)
        # Another generation of what it holds: only its notes of it cannot be kept.
        fleet.request(Method.ALLOCATE, 1, batch=4)
        fleet.wait_log(SMALL_BOARD, "the last good assignments cannot be written: the disk is full")
        fleet.wait_serving(1)
        assert "has 0 free: free some space there" in fleet.log(SMALL_BOARD)
        fleet.local.processes.restart(SMALL_BOARD)
        traffic.wait_answers(50)
        fleet.wait_serving(1)
        disk.relieve()
        traffic.wait_answers(50)
    traffic.check()


def request_replicas(fleet: SystemFleet, model: str) -> None:
    intent = Intent(model, model, "1", Method.ALLOCATE, 2, cut=Cut.REPLICATED, batch=8)
    request_deployment(fleet.database, intent)


@pytest.mark.long
def test_others_serve_what_does_not_fit_one_and_it_joins_them_once_there_is_room(
    fleet: SystemFleet, disk: SmallDisk
) -> None:
    fleet.start(0)
    fleet.local.start_board(SMALL_BOARD, state_dir=str(disk.path))
    fleet.local.start_board(OTHER_BOARD)
    network = big_network()
    fleet.publish(network, "big", spec=BIG_SPEC)
    request_replicas(fleet, "small")
    fleet.wait_serving(2)
    disk.fill(250 * KB)
    with fleet.traffic() as traffic:
        request_replicas(fleet, "big")
        fleet.wait_event("abandoned", "store-full")
        fleet.wait_serving(1, "big")
        assert_big_serves(fleet, network)
        disk.relieve()
        fleet.wait_serving(2, "big")
        assert_big_serves(fleet, network)
        traffic.wait_answers(50)
    traffic.check()


# Under the controller -------------------------------------------------------------------------------------------------


@pytest.fixture
def crowded(tmp_path: Path, disk: SmallDisk) -> Iterator[SystemFleet]:
    """A fleet whose database and blob store share the small disk."""
    (disk.path / "blobs").mkdir()
    (tmp_path / "blobs").symlink_to(disk.path / "blobs")
    with SystemFleet(tmp_path, f"sqlite:///{disk.path / 'convoy.db'}") as made:
        yield made


@pytest.mark.long
def test_a_full_disk_under_the_controller_refuses_what_is_new_and_loses_nothing(
    crowded: SystemFleet, disk: SmallDisk
) -> None:
    fleet = crowded
    fleet.serve(2)
    controller = fleet.local.processes[CONTROLLER].pid
    network = big_network()
    with fleet.traffic() as traffic:
        disk.fill(100 * KB)
        with pytest.raises(BlobError, match=r"\d+ bytes are needed and the disk has \d+ free: free some space"):
            fleet.publish(network, "big", spec=BIG_SPEC)
        assert not list((disk.path / "blobs").rglob("*.part-*"))
        traffic.wait_answers(50)
        disk.fill()
        fleet.wait_log(CONTROLLER, "is full: free some space there")
        with pytest.raises(DatabaseFullError, match="free some space there"):
            fleet.request(Method.ALLOCATE, 1)
        # What happens meanwhile is seen, and waits.
        fleet.local.start_board("board-3")
        fleet.wait_log(CONTROLLER, "board-3 is online")
        traffic.wait_answers(100)
        disk.relieve()
        fleet.wait_log(CONTROLLER, "the database takes what is written again")
        fleet.wait_event("online", "board-3")
        fleet.publish(network, "big", spec=BIG_SPEC)
        fleet.deploy(Method.ALLOCATE, 1, "big")
        assert_big_serves(fleet, network)
        fleet.deploy(Method.ALLOCATE, 3)
        traffic.wait_answers(50)
    traffic.check()
    assert "the database refused a record" not in fleet.log(CONTROLLER)
    assert fleet.local.processes[CONTROLLER].pid == controller
