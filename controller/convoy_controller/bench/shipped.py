"""Every network that comes along, deployed over 1, 3 and 6 boards by method `library`, beside what its plan predicts.

Boards are emulated, with the limits of their kernels and partitions, and paced; each case is slowed down so far that
the host's arithmetic is a small part of the time. Every answer is compared, bit for bit, with one process that
evaluates the network, so that all placements agree as well.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from convoy_bitstreams import floorplans
from convoy_models import SHIPPED, ShippedModel
from convoy_schema.bundle import InputSpec, Method
from convoy_schema.layers import evaluate, load, prepare, quantise
from convoy_schema.messages.desired import Intent
from convoy_schema.topology import Topology
from numpy.typing import NDArray

from convoy_controller import planner
from convoy_controller.bench.figures import Figure, Result
from convoy_controller.bench.rig import Rig, paced, rig
from convoy_controller.bench.steady import Schedule, steady_state
from convoy_controller.database import queries
from convoy_controller.datasets import digits
from convoy_controller.errors import DemoError
from convoy_controller.importer import ImportedModel, import_model
from convoy_controller.planning.profiles import kernels_of
from convoy_controller.planning.segments import swaps

BOARDS = (1, 3, 6)
METHOD = Method.LIBRARY
BATCH = 8
#: Frames in flight for each stage: one in work, one on the way and one that waits.
IN_FLIGHT = 3
#: What one core may spend on a case, of its time.
HOST_SHARE = 0.2
#: Seconds of a core that an emulated partition takes to parse and write an image.
HOST_SWAP_S = 0.05
CALIBRATION_ROWS = 128
BAR = 0.9


@dataclass(frozen=True)
class Timing:
    """Frames are `frame_s` apart at least; a rate is the median of so many windows."""

    frame_s: float = 0.25
    windows: int = 3


@dataclass(frozen=True)
class Network:
    """A network as it is deployed, rows of its input (int8), what it answers to them, and the host's time for one."""

    name: str
    imported: ImportedModel
    spec: InputSpec
    rows: NDArray[np.int8]
    answers: NDArray[np.int8]
    host_s: float


@dataclass(frozen=True)
class Measured:
    """Samples a second, and by the plan; boards that it uses; what bounds it; answers that differ."""

    rate: float
    predicted: float
    used: int
    bottleneck: str
    slowdown: float
    wrong: int
    #: Why it was not measured: then its rate is 0.
    failure: str = ""


def run(broker: str) -> Result:
    """Every network over every number of boards."""
    return measure(broker, tuple(SHIPPED), BOARDS)


def measure(broker: str, names: Sequence[str], boards: Sequence[int], timing: Timing | None = None) -> Result:
    """Those networks over those numbers of boards."""
    load_before = os.getloadavg()[0]
    measured = {}
    for name in names:
        network = network_of(SHIPPED[name])
        for count in boards:
            measured[name, count] = asyncio.run(_deployed(network, count, broker, timing or Timing()))
    notes = {
        "method": METHOD.value,
        "batch": BATCH,
        "load_before": round(load_before, 2),
        "slow_down": {f"{name} on {count}": round(m.slowdown, 1) for (name, count), m in measured.items()},
        "boards_used": {f"{name} on {count}": m.used for (name, count), m in measured.items()},
        "bottlenecks": {f"{name} on {count}": m.bottleneck for (name, count), m in measured.items()},
    }
    notes |= {f"{name} on {count}": m.failure for (name, count), m in measured.items() if m.failure}
    return Result("networks", figures(measured), notes)


def figures(measured: dict[tuple[str, int], Measured]) -> tuple[Figure, ...]:
    """Each case's rate beside its plan's, then for each network how many answers were not the reference's."""
    found = []
    for (name, count), m in measured.items():
        used = "" if m.used == count else f", which uses {m.used}"
        label = f"{name} on {count}{used}"
        found.append(Figure(label, "samples/s", m.rate, BAR, at_least=True, peer_name="its plan", peer=m.predicted))
    for name in dict.fromkeys(name for name, _ in measured):
        wrong = sum(m.wrong for (other, _), m in measured.items() if other == name)
        found.append(Figure(f"{name}: answers that differ", "answers", wrong, 0, at_least=False))
    return tuple(found)


def network_of(model: ShippedModel) -> Network:
    """A shipped network, imported as `convoy model import` does, by digits or by samples of its own."""
    if model.is_trained:
        samples = digits(train=True).images[:CALIBRATION_ROWS].astype(np.float32)
        samples = samples * np.float32(model.scale) + np.float32(model.offset)
    else:
        samples = model.samples(CALIBRATION_ROWS)
    with tempfile.TemporaryDirectory(prefix="convoy-bench-") as folder:
        imported = import_model(model.written(Path(folder)), samples, name=model.name)
    topology = imported.topology
    spec = InputSpec(topology.input, model.layout, model.scale, model.offset)
    rows = quantise(samples[:BATCH], topology.tensor(topology.input))
    answers = evaluate(topology, imported.parameters, rows)[topology.output]
    return Network(model.name, imported, spec, rows, answers, _host_seconds(imported, rows))


def _host_seconds(network: ImportedModel, rows: NDArray[np.int8]) -> float:
    """Seconds of the host's processors for one row, as a board computes it."""
    layers = [prepare(layer, network.topology, load(layer, network.parameters)) for layer in network.topology.layers]
    spent = []
    for _ in range(3):
        values = {network.topology.input: rows}
        began = time.process_time()
        for layer in layers:
            values[layer.gives] = layer.run([values[name] for name in layer.takes])
        spent.append(time.process_time() - began)
    return min(spent) / len(rows)


def slowdown_of(network: Network, plan: planner.Plan, board: planner.BoardModel, frame_s: float) -> float:
    """So slow that frames are `frame_s` apart and arithmetic and swaps take `HOST_SHARE` of a core, at most."""
    busy_s = plan.batch_rows * network.host_s + HOST_SWAP_S * _swaps(network.imported.topology, plan, board)
    return max(frame_s, busy_s / HOST_SHARE) / (plan.period_s * plan.batch_rows)


def _swaps(topology: Topology, plan: planner.Plan, board: planner.BoardModel) -> float:
    """Modules that a batch makes its boards load, all together."""
    if board.partitions is None:
        return 0.0
    kinds = [layer.kind.value for layer in topology.layers]
    runs = [kinds[stage.first : stage.last] for stage in plan.stages]
    return float(sum(swaps(run, board.partitions)[0, len(run)] for run in runs))


def planned(topology: Topology, boards: int, board: planner.BoardModel) -> planner.Plan:
    """The plan that the controller makes over all the boards there are."""
    return planner.plan(topology, boards, board, batch=BATCH)


def emulated_board() -> planner.BoardModel:
    """The planner's model of an emulated board."""
    plan = floorplans()[METHOD.shell]
    return planner.BoardModel(
        clock_hz=plan.clock_hz,
        memory_bytes=plan.usable_bytes,
        partitions=len(plan.partitions),
        kernels=kernels_of(plan.part.name, METHOD),
    )


async def _deployed(network: Network, boards: int, broker: str, timing: Timing) -> Measured:
    topology, board = network.imported.topology, emulated_board()
    expected = planned(topology, boards, board)
    slowdown = slowdown_of(network, expected, board, timing.frame_s)
    rate, wrong, failure = 0.0, 0, ""
    try:
        rate, wrong = await _served(network, boards, broker, expected, slowdown, timing.windows)
    except DemoError as error:  # one that does not come up misses its bar, and the others are measured all the same
        failure = str(error)
    predicted = 1.0 / (expected.period_s * slowdown)
    return Measured(rate, predicted, expected.boards, expected.bottleneck, slowdown, wrong, failure)


async def _served(
    network: Network, boards: int, broker: str, expected: planner.Plan, slowdown: float, windows: int
) -> tuple[float, int]:
    """Samples a second of the network on a fleet of its own, and answers that were not the reference's."""
    models = [(network.name, network.imported, network.spec)]
    async with rig(boards, models, broker, **paced(slowdown)) as bench:
        for capability in await bench.capabilities():
            if planner.model_of(capability, METHOD) != emulated_board():
                raise AssertionError(f"the boards are other ones than was reckoned with: {capability}")
        await bench.deploy_intents([Intent(network.name, network.name, "1", METHOD, batch=BATCH)])
        placed = await asyncio.to_thread(queries.plan, bench.database, network.name)
        if abs(float(placed.facts["period_s"]) - expected.period_s) > 1e-12:
            raise AssertionError(f"{network.name} was placed by another plan than predicted: {placed.facts}")
        return await _measure(bench, network, expected, slowdown, windows)


async def _measure(
    bench: Rig, network: Network, plan: planner.Plan, slowdown: float, windows: int
) -> tuple[float, int]:
    """Samples a second, and answers that were not the reference's."""
    rows, answers = network.rows[: plan.batch_rows], network.answers[: plan.batch_rows]
    wrong = 0

    async def ask() -> None:
        nonlocal wrong
        found = await bench.gateway.infer(rows, network.name)
        wrong += not np.array_equal(found.raw, answers)

    frame_s = plan.period_s * plan.batch_rows * slowdown
    in_flight = IN_FLIGHT * plan.boards
    schedule = Schedule(2.0 + (in_flight + 4) * frame_s, max(3.0, 10 * frame_s), windows)
    return len(rows) * await steady_state(ask, in_flight, schedule), wrong
