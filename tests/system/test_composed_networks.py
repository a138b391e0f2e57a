"""Method `library` serves what nobody prepared for: a network made up at run time, beside one that serves."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from composed_networks import SPEC, compose
from convoy_controller.bench.rig import Described
from convoy_controller.database.intents import request_deployment
from convoy_schema.bundle import Method
from convoy_schema.layers import dequantise, evaluate, quantise
from convoy_schema.messages.desired import Cut, Intent
from convoy_schema.topology import Kind
from numpy.typing import NDArray
from system_fleet import SystemFleet

#: Another one each time, unless `CONVOY_COMPOSED_SEED` replays one; a failure names it.
SEED = int(os.environ.get("CONVOY_COMPOSED_SEED") or random.SystemRandom().randrange(1_000_000))


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[SystemFleet]:
    with SystemFleet(tmp_path) as made:
        yield made


def drawn(number: int) -> tuple[Described, NDArray[np.uint8], NDArray[np.float32]]:
    """A network, images, and what it answers; one that says the same to everything would show nothing."""
    name = f"made-{number}"
    for seed in itertools.count(SEED + number, 10):
        network = compose(name, seed)
        topology = network.topology
        source, output = topology.tensor(topology.input), topology.tensor(topology.output)
        images = np.random.default_rng(seed).integers(0, 256, (24, *source.shape)).astype(np.uint8)
        rows = quantise(images.astype(np.float32) * np.float32(SPEC.scale), source)
        expected = dequantise(evaluate(topology, network.parameters, rows)[topology.output], output)
        if len(np.unique(expected)) > 3:
            return network, images, expected
    raise AssertionError("there is an end to counting")


def test_networks_composed_at_run_time_are_served_beside_another_by_a_fleet_that_goes_on(fleet: SystemFleet) -> None:
    print(f"seed {SEED}")
    asked = [drawn(number) for number in (1, 2, 3)]
    fleet.serve(3, Method.LIBRARY)
    processes = {name: fleet.local.processes[name].pid for name in fleet.local.processes.names}
    generation = fleet.serving_generation()
    kinds: set[Kind] = set()
    with fleet.traffic(2) as traffic:
        for (network, images, expected), boards in zip(asked, (3, 2, 1), strict=True):
            topology = network.topology
            name = topology.name
            kinds |= {layer.kind for layer in topology.layers}
            fleet.publish(network, name, spec=SPEC)
            request_deployment(
                fleet.database, Intent(name, name, "1", Method.LIBRARY, boards, cut=Cut.PIPELINE, batch=8)
            )
            fleet.wait_serving(boards, name)
            assert len(fleet.plan(name).stages) == boards
            found = fleet.client.infer(images, name).array
            assert found.tobytes() == expected.astype("<f4").tobytes(), (
                SEED,
                [layer.kind for layer in topology.layers],
            )
            traffic.wait_answers(30)
    assert {Kind.CONV2D, Kind.DENSE} < kinds
    assert kinds & {Kind.ADD, Kind.CONCAT}
    # The one that was there took no notice: not a new generation, not a process that began anew.
    assert set(traffic.check().generations) == {generation}
    assert {name: fleet.local.processes[name].pid for name in fleet.local.processes.names} == processes
    assert all(fleet.local.processes[name].alive for name in processes)
