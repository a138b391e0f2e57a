"""Three networks on two boards with a few partitions: all served at once; what one leaves the next one takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from convoy_controller.bench.rig import Described
from convoy_controller.database.intents import request_deployment
from convoy_controller.database.records import DeploymentState
from convoy_controller.local_fleet import wait_until
from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Intent
from other_networks import dense_network, with_other_parameters
from system_fleet import PATIENCE_S, SPEC, SystemFleet, logits_of, pictures, small_network
from witnesses import Witnesses


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[SystemFleet]:
    with SystemFleet(tmp_path) as made:
        yield made


def renamed(network: Described, name: str) -> Described:
    return replace(network, topology=replace(network.topology, name=name))


def deploy(fleet: SystemFleet, name: str, boards: int) -> None:
    request_deployment(fleet.database, Intent(name, name, "1", Method.LIBRARY, boards, batch=8))
    fleet.wait_serving(boards, name)


def modules(fleet: SystemFleet, name: str) -> set[tuple[str, str]]:
    """(board, partition) that a deployment's modules go into."""
    stages = fleet.plan(name).stages
    return {(replica.board, slot) for stage in stages for replica in stage.replicas for slot in replica.slots}


@pytest.mark.long
def test_three_networks_share_two_boards_and_what_one_leaves_the_next_takes(fleet: SystemFleet) -> None:
    fleet.start(2, partitions=3)
    networks = {
        "small": small_network(),
        "dense": renamed(dense_network(), "dense"),
        "other": renamed(with_other_parameters(small_network()), "other"),
    }
    for name in ("dense", "other"):
        fleet.publish(networks[name], name)
    images = pictures(32)
    expected = {name: logits_of(network, SPEC, images) for name, network in networks.items()}
    fleet.wait_boards("board-1", "board-2")
    deploy(fleet, "dense", 1)
    deploy(fleet, "small", 2)
    deploy(fleet, "other", 2)
    addresses = list(fleet.local.gateways.values())
    asked = {name: Witnesses(addresses, name, images, callers=2) for name in networks}
    with ExitStack() as stack:
        for each in asked.values():
            stack.enter_context(each)
        for each in asked.values():
            each.wait_answers(60)
    for name, each in asked.items():
        assert each.is_complete, each.errors
        for answer in each.answers:
            assert np.array_equal(answer.logits[0], expected[name][answer.image]), (name, answer)
    assert not [event.sentence for event in fleet.events("abandoned")]
    fleet.withdraw("small")
    fleet.withdraw("other")
    ended = (DeploymentState.REMOVED,) * 2
    assert wait_until(
        lambda: tuple(fleet.deployment(name).state for name in ("small", "other")) == ended, PATIENCE_S, 0.05
    )
    deploy(fleet, "small", 1)
    # What was left is free again: it needs no partition of the network that stayed.
    assert not modules(fleet, "small") & modules(fleet, "dense")
    assert len(modules(fleet, "small")) == 3
    assert np.array_equal(fleet.client.infer(images, "small").array, expected["small"])
    assert np.array_equal(fleet.client.infer(images, "dense").array, expected["dense"])
