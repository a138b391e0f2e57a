"""The scaling bench's pure parts: its cases, what their plans predict, how a steady rate is read off."""

from __future__ import annotations

import pytest
from convoy_controller import planner
from convoy_controller.bench.networks import balanced_chain
from convoy_controller.bench.rig import identity_chain
from convoy_controller.bench.scaling import (
    BALANCED,
    BATCH,
    CASES,
    WIDE,
    WIDE_BYTES,
    Case,
    Measured,
    figures,
    predicted,
)
from convoy_schema import cycles
from convoy_schema.messages.desired import Cut

BOARD = planner.BoardModel(100e6, 128 * 1024 * 1024, None)


def test_the_balanced_network_allows_three_times_as_much_on_three_boards() -> None:
    network = balanced_chain(BALANCED, layers=3, channels=16, side=8, kernel=5)
    one, three = (predicted(Case(BALANCED, Cut.PIPELINE, boards), network, BOARD) for boards in (1, 3))
    assert three.bottleneck.startswith("stage")
    first = network.topology.layers[0]
    tensors = network.topology.tensor(first.inputs[0]), network.topology.tensor(first.output)
    reload_s = cycles.load(first, tensors[:1], tensors[1]) / BATCH / BOARD.clock_hz
    assert one.period_s == pytest.approx(3.0 * (three.period_s + reload_s))  # one kernel takes turns, three need none
    assert set(network.golden) == {"t0", "t1", "t2", "t3"}


def test_the_wide_network_is_bound_by_its_link() -> None:
    plan = predicted(Case(WIDE, Cut.PIPELINE, 2), identity_chain(WIDE, WIDE_BYTES, 2), BOARD)
    assert plan.bottleneck == "link after stage 0"
    assert plan.period_s > 10 * plan.stages[0].seconds


def test_figures_compare_with_bounds_and_with_one_board() -> None:
    measured = {case: Measured(100.0 * case.boards, 100.0 * case.boards, "stage 0", ()) for case in CASES}
    assert all(figure.met for figure in figures(measured))
    measured[Case("lenet5", Cut.REPLICATED, 2)] = Measured(180.0, 200.0, "stage 0", ())
    missed = {figure.name for figure in figures(measured) if not figure.met}
    assert missed == {"lenet5 replicated on 2", "lenet5 speed-up of 2 replicas"}
