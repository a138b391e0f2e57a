"""A new generation needs other modules than boards hold, and no partition is free: it comes up beside the old one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from convoy_controller.database.intents import request_deployment
from convoy_controller.database.records import DeploymentState
from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Cut, Intent
from convoy_schema.topology import Kind
from other_networks import dense_network
from system_fleet import SPEC, SystemFleet, logits_of, pictures, small_network
from witnesses import Witnesses

BOARDS = ("board-1", "board-2")


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[SystemFleet]:
    with SystemFleet(tmp_path) as made:
        yield made


def test_modules_are_shared_over_time_where_partitions_are_full_so_that_nothing_pauses(fleet: SystemFleet) -> None:
    fleet.start(2, partitions=1)
    networks = {"1": small_network(), "2": dense_network()}
    fleet.publish(networks["2"], version="2")
    images = pictures(32)
    expected = {version: logits_of(network, SPEC, images) for version, network in networks.items()}
    fleet.deploy(Method.LIBRARY, 2)
    held = {kind for stage in fleet.plan().stages for replica in stage.replicas for kind in replica.slots.values()}
    assert len(held) == 2
    assert Kind.DENSE.value not in held
    asked = ["1", "2", "1"]
    with Witnesses(list(fleet.local.gateways.values()), "small", images) as witnesses:
        for version in asked[1:]:
            request_deployment(
                fleet.database, Intent("small", "small", version, Method.LIBRARY, 2, cut=Cut.PIPELINE, batch=8)
            )
            fleet.wait_serving(2)
            witnesses.wait_answers(60)
    assert witnesses.is_complete, witnesses.errors
    for answer in witnesses.answers:
        version = asked[int(answer.generation.split("-")[1]) - 1]
        assert np.array_equal(answer.logits[0], expected[version][answer.image]), answer
    assert {answer.generation for answer in witnesses.answers} == {"1-1", "1-2", "1-3"}
    # No generation was given up on the way, and none had to leave before its successor was there.
    assert not [event.sentence for event in fleet.events("abandoned")]
    assert fleet.deployment().state is DeploymentState.SERVING
    for event in fleet.events():
        assert "made room" not in event.sentence
