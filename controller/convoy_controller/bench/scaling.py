"""How throughput grows with boards: pipelines and replicas apart, each beside the bound its own plan predicts.

Boards are emulated and take the time of the cycle model, times `SLOWDOWN`; each board's outgoing link is as slow as the
planner's, times the same. So two host cores are nearly idle, and what is measured is the fleet's and not the host's.
What the gateway sends into the first stage is not slowed: no plan counts it.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from convoy_schema.bundle import InputSpec, Method
from convoy_schema.messages.desired import Cut, Intent

from convoy_controller import lenet5, planner
from convoy_controller.bench.figures import Figure, Result
from convoy_controller.bench.networks import balanced_chain
from convoy_controller.bench.rig import Rig, identity_chain, paced, rig
from convoy_controller.bench.steady import Schedule, steady_state
from convoy_controller.catalogue import ModelContents
from convoy_controller.database import queries

BOARDS = 3
#: Times the cycle model: LeNet-5 on three replicas then takes less than a fiftieth of what two cores could do.
SLOWDOWN = 60.0
BATCH = 8
#: Frames in flight for each board: one in work, one on the way and two that wait.
IN_FLIGHT = 4
SCHEDULE = Schedule(warm_up_s=2.5, window_s=3.0)
BOUND_BAR = 0.95
REPLICATED_BARS = {2: 1.9, 3: 2.8}
BALANCED_BAR = 2.5
BALANCED = "balanced"
#: Bytes a sample between layers that compute next to nothing: the link takes 14 times as long as a layer.
WIDE, WIDE_BYTES = "wide", 2048


@dataclass(frozen=True)
class Case:
    """One deployment to measure: a model, on how many boards, cut how."""

    model: str
    cut: Cut
    boards: int

    @property
    def deployment(self) -> str:
        """Its name."""
        return f"{self.model}-{self.cut.value}-{self.boards}"

    @property
    def label(self) -> str:
        """As figures call it."""
        return f"{self.model} {self.cut.value} on {self.boards}"


CASES = (
    *(Case("lenet5", Cut.PIPELINE, boards) for boards in (1, 2, 3)),
    *(Case("lenet5", Cut.REPLICATED, boards) for boards in (1, 2, 3)),
    *(Case(BALANCED, Cut.PIPELINE, boards) for boards in (1, 3)),
    Case(WIDE, Cut.PIPELINE, 2),
)


@dataclass(frozen=True)
class Measured:
    """Samples a second, and what the plan says that they can be at most, with what decides it."""

    rate: float
    bound: float
    bottleneck: str
    stages: tuple[tuple[str, ...], ...]


def run(broker: str) -> Result:
    """Every case beside its bound, and the speed-ups against one board of the same run."""
    return asyncio.run(_run(broker))


def predicted(case: Case, network: ModelContents, board: planner.BoardModel) -> planner.Plan:
    """The plan that the controller makes for `case`."""
    return planner.plan(network.topology, case.boards, board, cut=case.cut, batch=BATCH, exactly=True)


async def _run(broker: str) -> Result:
    lenet, spec = lenet5.quantised()
    networks: dict[str, ModelContents] = {
        "lenet5": lenet,
        BALANCED: balanced_chain(BALANCED, layers=3, channels=16, side=8, kernel=5),
        WIDE: identity_chain(WIDE, WIDE_BYTES, 2),
    }
    specs = {"lenet5": spec, BALANCED: InputSpec("t0"), WIDE: InputSpec("t0")}
    models = [(name, network, specs[name]) for name, network in networks.items()]
    measured: dict[Case, Measured] = {}
    load = os.getloadavg()[0]
    async with rig(BOARDS, models, broker, **paced(SLOWDOWN)) as bench:
        for case in CASES:
            network = networks[case.model]
            await bench.deploy_intents([_intent(case)])
            measured[case] = await _measure(bench, case, network)
            await bench.remove(case.deployment)
        notes = _notes(measured, load, bench.fleet.broker.label if bench.fleet.broker else broker)
    return Result("scaling", figures(measured), notes)


def _intent(case: Case) -> Intent:
    return Intent(case.deployment, case.model, "1", Method.ALLOCATE, case.boards, cut=case.cut, batch=BATCH)


async def _measure(bench: Rig, case: Case, network: ModelContents) -> Measured:
    expected = predicted(case, network, planner.board_model(await bench.capabilities(), Method.ALLOCATE))
    placed = await asyncio.to_thread(queries.plan, bench.database, case.deployment)
    if abs(float(placed.facts["period_s"]) - expected.period_s) > 1e-12:
        raise AssertionError(f"{case.deployment} was placed by another plan than predicted: {placed.facts}")
    tensor = network.topology.tensor(network.topology.input)
    batch = np.random.default_rng(0).integers(-128, 128, (expected.batch_rows, *tensor.shape)).astype(np.int8)

    async def ask() -> None:
        await bench.gateway.infer(batch, case.deployment)

    rate = len(batch) * await steady_state(ask, IN_FLIGHT * case.boards, SCHEDULE)
    layers = [layer.name for layer in network.topology.layers]
    stages = tuple(tuple(layers[stage.first : stage.last]) for stage in expected.stages)
    return Measured(rate, 1.0 / (expected.period_s * SLOWDOWN), expected.bottleneck, stages)


def figures(measured: dict[Case, Measured]) -> tuple[Figure, ...]:
    """Each case's rate beside its bound, then the speed-ups."""
    unit = "samples/s"
    found = [
        Figure(case.label, unit, m.rate, BOUND_BAR, at_least=True, peer_name="its own bound", peer=m.bound)
        for case, m in measured.items()
    ]
    single = measured[Case("lenet5", Cut.REPLICATED, 1)].rate
    for boards, bar in REPLICATED_BARS.items():
        rate = measured[Case("lenet5", Cut.REPLICATED, boards)].rate
        name = f"lenet5 speed-up of {boards} replicas"
        found.append(Figure(name, unit, rate, bar, at_least=True, peer_name="one board", peer=single))
    alone, piped = (measured[Case(BALANCED, Cut.PIPELINE, boards)].rate for boards in (1, 3))
    name = "balanced speed-up of a pipeline of 3"
    found.append(Figure(name, unit, piped, BALANCED_BAR, at_least=True, peer_name="one board", peer=alone))
    return tuple(found)


def _notes(measured: dict[Case, Measured], load: float, broker: str) -> dict[str, Any]:
    single = measured[Case("lenet5", Cut.PIPELINE, 1)]
    pipelines = {boards: measured[Case("lenet5", Cut.PIPELINE, boards)] for boards in range(2, BOARDS + 1)}
    return {
        "broker": broker,
        "slow_down": SLOWDOWN,
        "link_bytes_per_s": planner.LINK_BYTES_PER_S / SLOWDOWN,
        "link_frame_s": planner.HOP_S * SLOWDOWN,
        "batch": BATCH,
        "load_before": round(load, 2),
        "lenet5_pipeline_speed_up": {n: round(m.rate / single.rate, 3) for n, m in pipelines.items()},
        "lenet5_pipeline_speed_up_allowed": {n: round(m.bound / single.bound, 3) for n, m in pipelines.items()},
        "bottlenecks": {case.label: m.bottleneck for case, m in measured.items()},
        "stages": {case.label: [" ".join(stage) for stage in m.stages] for case, m in measured.items()},
    }
