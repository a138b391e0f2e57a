"""LeNet-5 in batches of 32 over three boards, beside one process that evaluates the whole with the same code."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import numpy as np
from convoy_schema import layers
from convoy_schema.bundle import Method
from convoy_schema.layers import load, prepare
from convoy_schema.topology import Topology
from numpy.typing import NDArray

from convoy_controller import lenet5
from convoy_controller.bench.figures import Paired, Result
from convoy_controller.bench.rig import frames_per_second, rig
from convoy_controller.catalogue import ModelContents
from convoy_controller.datasets import digits
from convoy_controller.local_fleet import SINGLE_THREADED

BATCH = 32
IN_FLIGHT = 16
ROUNDS = 5
ROUND_S = 3.0
PEER = "one process, same NumPy code"


def run(broker: str) -> Result:
    """Images a second of the fleet, as a ratio to the one process's."""
    return asyncio.run(_run(broker))


async def _run(broker: str) -> Result:
    network, spec = lenet5.quantised()
    source = network.topology.tensor(network.topology.input)
    pixels = digits().images[:BATCH].astype(np.float32) * np.float32(spec.scale)
    batch = layers.quantise(pixels, source)
    rates = Paired([], [])
    async with rig(3, [("lenet5", network, spec)], broker) as bench:
        await bench.deploy([("lenet5", Method.ALLOCATE, BATCH)])
        await frames_per_second(bench.gateway, "lenet5", batch, IN_FLIGHT, 1.0)
        for _ in range(ROUNDS):
            ours = BATCH * await frames_per_second(bench.gateway, "lenet5", batch, IN_FLIGHT, ROUND_S)
            rates.add(ours, await asyncio.to_thread(_one_process))
        label = bench.fleet.broker.label if bench.fleet.broker else broker
    figure = rates.figure("LeNet-5 over 3 boards", "images/s", 1.0, at_least=True, peer_name=PEER)
    return Result("throughput", (figure,), {"broker": label, "batch": BATCH, "in_flight": IN_FLIGHT})


def _one_process() -> float:
    """Images a second of a process of its own, one BLAS thread, as each board has."""
    import os

    command = [sys.executable, "-m", __name__]
    done = subprocess.run(command, env={**os.environ, **SINGLE_THREADED}, capture_output=True, text=True, check=True)
    return float(done.stdout)


def evaluate_for(network: ModelContents, batch: NDArray[np.int8], seconds: float) -> float:
    """Images a second of the whole network in this process; layers are prepared once, as on a board."""
    topology: Topology = network.topology
    prepared = [prepare(layer, topology, load(layer, network.parameters)) for layer in topology.layers]

    def once() -> None:
        tensors = {topology.input: batch}
        for layer in prepared:
            tensors[layer.layer.output] = layer.run([tensors[name] for name in layer.layer.inputs])

    for _ in range(20):
        once()
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        once()
        count += 1
    return count * len(batch) / (time.perf_counter() - started)


def _main() -> None:
    network, spec = lenet5.quantised()
    source = network.topology.tensor(network.topology.input)
    pixels = digits().images[:BATCH].astype(np.float32) * np.float32(spec.scale)
    print(evaluate_for(network, layers.quantise(pixels, source), ROUND_S))


if __name__ == "__main__":
    _main()
