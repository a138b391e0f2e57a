"""Method `library` serves what nobody prepared for: a network made up at run time, beside one that serves."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from composed_networks import SPEC, compose
from convoy_controller.database.intents import request_deployment
from convoy_schema.bundle import Method
from convoy_schema.layers import dequantise, evaluate, quantise
from convoy_schema.messages.desired import Cut, Intent
from convoy_schema.topology import Kind
from system_fleet import SystemFleet

#: Another one each time; a failure names it.
SEED = random.SystemRandom().randrange(1_000_000)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[SystemFleet]:
    with SystemFleet(tmp_path) as made:
        yield made


def test_networks_composed_at_run_time_are_served_beside_another_by_a_fleet_that_goes_on(fleet: SystemFleet) -> None:
    print(f"seed {SEED}")
    fleet.serve(3, Method.LIBRARY)
    processes = {name: fleet.local.processes[name].pid for name in fleet.local.processes.names}
    generation = fleet.serving_generation()
    kinds: set[Kind] = set()
    with fleet.traffic(2) as traffic:
        for number, boards in enumerate((3, 2, 1), 1):
            name = f"made-{number}"
            network = compose(name, SEED + number)
            topology = network.topology
            kinds |= {layer.kind for layer in topology.layers}
            fleet.publish(network, name, spec=SPEC)
            request_deployment(
                fleet.database, Intent(name, name, "1", Method.LIBRARY, boards, cut=Cut.PIPELINE, batch=8)
            )
            fleet.wait_serving(boards, name)
            assert len(fleet.plan(name).stages) == boards
            source, output = topology.tensor(topology.input), topology.tensor(topology.output)
            images = np.random.default_rng(SEED).integers(0, 256, (24, *source.shape)).astype(np.uint8)
            rows = quantise(images.astype(np.float32) * np.float32(SPEC.scale), source)
            expected = dequantise(evaluate(topology, network.parameters, rows)[topology.output], output)
            assert len(np.unique(expected)) > 3, "a network that says the same to everything shows nothing"
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
