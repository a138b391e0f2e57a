"""Makes a plan that goes wrong small: fewer faults, a shorter time, fewer boards, as long as it still goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from convoy_simulator.fleet import Shape
from convoy_simulator.run import Plan, run

#: Runs that shrinking one plan may take.
MOST_RUNS = 120
#: Seconds of requests behind the last fault that is left.
BEHIND_S = 1.0


@dataclass(frozen=True)
class Shrunk:
    """The smallest plan found, and how many runs that took."""

    plan: Plan
    runs: int


class _SpentError(Exception):
    """No run is left."""


class _Trial:
    def __init__(self, is_wrong: Callable[[Plan], bool], most_runs: int) -> None:
        self.runs = 0
        self._is_wrong = is_wrong
        self._most_runs = most_runs

    def __call__(self, plan: Plan) -> bool:
        if self.runs >= self._most_runs:
            raise _SpentError
        self.runs += 1
        return self._is_wrong(plan)


def goes_wrong(plan: Plan) -> bool:
    """Run it."""
    return not run(plan).is_right


def shrink(plan: Plan, is_wrong: Callable[[Plan], bool] = goes_wrong, most_runs: int = MOST_RUNS) -> Shrunk:
    """`plan` goes wrong; what is left of it does too, though perhaps in another way."""
    trial = _Trial(is_wrong, most_runs)
    smallest = plan
    try:
        for smaller in _smaller(plan, trial):
            smallest = smaller
    except _SpentError:
        pass
    return Shrunk(smallest, trial.runs)


def _smaller(plan: Plan, is_wrong: _Trial) -> Iterator[Plan]:
    """Ever smaller plans that go wrong."""
    for smaller in _with_fewer_faults(plan, is_wrong):
        plan = smaller
        yield plan
    for smaller in _shorter(plan, is_wrong):
        plan = smaller
        yield plan
    for boards in range(2, plan.shape.boards):
        tried = with_boards(plan, boards)
        if is_wrong(tried):
            yield tried
            return


def _with_fewer_faults(plan: Plan, is_wrong: _Trial) -> Iterator[Plan]:
    """By halves, quarters and so on, down to single faults, until none of them can be left out."""
    size = max(1, (len(plan.faults) + 1) // 2)
    while plan.faults:
        at, before = 0, len(plan.faults)
        while at < len(plan.faults):
            tried = replace(plan, faults=plan.faults[:at] + plan.faults[at + size :])
            if is_wrong(tried):
                plan = tried
                yield plan
            else:
                at += size
        if size == 1 and len(plan.faults) == before:
            return
        size = max(1, size // 2)


def _shorter(plan: Plan, is_wrong: _Trial) -> Iterator[Plan]:
    """Requests end soon after the last fault, if that will do; else in the middle between then and now."""
    last = max((fault.at for fault in plan.faults), default=0.0)
    for share in (0.0, 0.5):
        seconds = round(last + BEHIND_S + share * (plan.trouble_s - last - BEHIND_S), 1)
        tried = replace(plan, trouble_s=seconds)
        if seconds < plan.trouble_s and is_wrong(tried):
            yield tried
            return


def with_boards(plan: Plan, boards: int) -> Plan:
    """The same plan on so many boards: faults of others are left out, and fewer are used where it must be."""
    shape: Shape = plan.shape
    used = min(shape.used, boards)
    smaller = replace(shape, boards=boards, used=used, spare=min(shape.spare, boards - used))
    faults = tuple(fault for fault in plan.faults if not fault.concerns_board or fault.target < boards)
    return replace(plan, shape=smaller, faults=faults)
