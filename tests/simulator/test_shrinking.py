"""A plan that goes wrong becomes small, in few runs, and has a name that replays it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from convoy_simulator.faults import Fault, Kind
from convoy_simulator.run import Plan
from convoy_simulator.shrinking import shrink, with_boards
from convoy_simulator.soak import Seed


def _needs(*needed: Fault):
    def is_wrong(plan: Plan) -> bool:
        return all(fault in plan.faults for fault in needed)

    return is_wrong


def _plan() -> Plan:
    seed = next(seed for seed in (Seed("all", number) for number in range(100)) if len(seed.plan().faults) >= 8)
    return seed.plan()


def test_only_faults_that_are_needed_are_left() -> None:
    plan = _plan()
    needed = plan.faults[1], plan.faults[6]
    shrunk = shrink(plan, _needs(*needed))
    assert shrunk.plan.faults == needed
    assert shrunk.runs < 40


def test_a_fault_that_is_needed_only_behind_another_is_tried_again() -> None:
    """Leaving one out may make another one superfluous that was tried before."""
    plan = _plan()
    first, last = plan.faults[0], plan.faults[-1]

    def is_wrong(tried: Plan) -> bool:
        return last in tried.faults and (first in tried.faults or plan.faults[1] not in tried.faults)

    assert shrink(plan, is_wrong).plan.faults == (last,)


def test_it_goes_wrong_without_any_fault() -> None:
    assert shrink(_plan(), lambda plan: True).plan.faults == ()


def test_time_and_boards_shrink_too() -> None:
    plan = replace(_plan(), faults=(Fault(2.0, Kind.CONTROLLER_KILL),))
    shrunk = shrink(plan, lambda tried: bool(tried.faults)).plan
    assert shrunk.trouble_s == 3.0
    assert shrunk.shape.boards == min(2, plan.shape.boards)
    assert shrunk.shape.used + shrunk.shape.spare <= shrunk.shape.boards


def test_what_needs_its_boards_keeps_them() -> None:
    plan = replace(_plan(), faults=(Fault(2.0, Kind.BOARD_KILL, 2),))
    shrunk = shrink(plan, lambda tried: bool(tried.faults)).plan
    assert shrunk.shape.boards == 3
    assert with_boards(plan, 2).faults == ()


def test_no_more_runs_than_allowed() -> None:
    tried = 0

    def is_wrong(plan: Plan) -> bool:
        nonlocal tried
        tried += 1
        return False

    plan = _plan()
    shrunk = shrink(plan, is_wrong, most_runs=3)
    assert (tried, shrunk.runs, shrunk.plan) == (3, 3, plan)


def test_what_is_left_has_a_name_that_makes_it_again() -> None:
    seed = Seed("all", 5)
    plan = seed.plan()
    kept = tuple(fault for fault in plan.faults if not fault.concerns_board)[:2]
    small = with_boards(replace(plan, faults=kept, trouble_s=4.0), 2)
    named = seed.smaller(small)
    assert named.plan() == small
    assert named.command("--log").startswith('make soak ARGS="--profile all --seed 5 --faults ')
    assert named.command("--log").endswith('--asked 4 --boards 2 --log"')


def test_a_name_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no profile 'nobody'"):
        Seed("nobody", 1).plan()
    with pytest.raises(ValueError, match="there is no fault 99"):
        Seed("all", 1, faults=(99,)).plan()
