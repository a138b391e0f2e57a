"""The bench of every shipped network: its pure parts, the smallest network whole, and (`long`) all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from convoy_controller.bench import shipped
from convoy_controller.bench.shipped import (
    Measured,
    Network,
    Timing,
    emulated_board,
    figures,
    measure,
    planned,
    slowdown_of,
)
from convoy_controller.importer import ImportedModel
from convoy_controller.lenet5 import quantised
from convoy_models import SHIPPED

FINE = Measured(95.0, 100.0, 2, "stage 0", 60.0, 0)


@pytest.fixture(scope="module")
def lenet() -> ImportedModel:
    return quantised()[0]


def network(imported: ImportedModel, host_s: float) -> Network:
    none = np.zeros((shipped.BATCH, 1, 28, 28), np.int8)
    return Network("lenet5", imported, quantised()[1], none, none, host_s)


def test_a_rate_below_its_plans_and_a_wrong_answer_miss_their_bars() -> None:
    measured = {("a", 3): FINE, ("a", 6): replace(FINE, rate=89.0, used=6), ("b", 1): replace(FINE, used=1, wrong=2)}
    found = {figure.name: figure.met for figure in figures(measured)}
    assert found == {
        "a on 3, which uses 2": True,
        "a on 6": False,
        "b on 1": True,
        "a: answers that differ": True,
        "b: answers that differ": False,
    }


def test_boards_are_slowed_down_until_the_host_has_time_for_them(lenet: ImportedModel) -> None:
    board = emulated_board()
    plan = planned(lenet.topology, 3, board)
    frame_s = plan.period_s * plan.batch_rows
    assert slowdown_of(network(lenet, 0.0), plan, board, 0.25) * frame_s == pytest.approx(0.25)
    heavy = slowdown_of(network(lenet, 0.1), plan, board, 0.25)
    assert plan.batch_rows * 0.1 / (heavy * frame_s) == pytest.approx(shipped.HOST_SHARE)


def test_swaps_of_a_board_with_few_partitions_slow_it_down_further(lenet: ImportedModel) -> None:
    scarce = replace(emulated_board(), partitions=1)
    plan = planned(lenet.topology, 1, scarce)
    slowed = slowdown_of(network(lenet, 0.0), plan, scarce, 0.25) * plan.period_s * plan.batch_rows
    assert slowed == pytest.approx(5 * shipped.HOST_SWAP_S / shipped.HOST_SHARE)  # conv pool conv pool dense


@pytest.mark.long
def test_a_case_whole() -> None:
    result = measure("auto", ["residual"], [2], Timing(frame_s=0.1, windows=1))
    assert result.met, result.plain()
    assert result.notes["boards_used"] == {"residual on 2": 2}


@pytest.mark.long
@pytest.mark.parametrize("name", SHIPPED)
def test_every_network_on_one_three_and_six_boards(name: str) -> None:
    result = measure("auto", [name], shipped.BOARDS)
    assert result.met, result.plain()
    assert len(result.figures) == len(shipped.BOARDS) + 1
