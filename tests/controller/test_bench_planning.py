"""The planning bench: its simple splits are plans, and its figures say what was met."""

from __future__ import annotations

import math

import pytest
from convoy_controller.bench.planning import (
    LARGE,
    SIZES,
    Size,
    Trial,
    _period,
    _trial,
    equal_split,
    figures,
    instance,
    proportional_split,
)
from convoy_controller.planning.instance import Wish
from convoy_controller.planning.segments import segments


@pytest.mark.parametrize("size", [*SIZES, Size("more boards than layers", 5, (4, 4))])
def test_simple_splits_give_every_layer_to_one_board_and_no_board_two_runs(size: Size) -> None:
    problem = instance(size, 0)
    for runs in (equal_split(problem), proportional_split(problem)):
        assert [at for first, last, _ in runs for at in range(first, last)] == [*range(size.layers)]
        for kind, count in enumerate(size.counts):
            assert sum(1 for run in runs if run[2] == kind) <= count


def test_an_equal_split_of_alike_boards_differs_by_one_layer_at_most() -> None:
    runs = equal_split(instance(Size("alike", 30, (8,)), 1))
    sizes = {last - first for first, last, _ in runs}
    assert max(sizes) - min(sizes) <= 1
    assert len(runs) == 8


def test_no_simple_split_beats_a_plan() -> None:
    for seed in range(3):
        problem = instance(SIZES[0], seed)
        trial = _trial(problem, Wish(worth=1.0))
        costs = [segments(problem, kind) for kind in problem.kinds]
        assert trial.plan.period_s <= _period(equal_split(problem), costs)
        assert trial.plan.period_s <= trial.proportional_s


def test_figures_of_the_large_size_bound_time_and_gap() -> None:
    trial = _trial(instance(LARGE, 0), Wish())
    assert all(figure.met for figure in figures("large", [trial], is_large=True))
    slow = Trial(trial.plan, 3.0, math.inf, trial.plan.period_s / 2)
    found = {figure.name: figure.met for figure in figures("large", [trial, slow], is_large=True)}
    assert not found["large: time"]
    assert found["large: period (1 of 2 fit)"]
