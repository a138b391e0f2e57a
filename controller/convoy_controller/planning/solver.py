"""The planner's front door: an instance and a wish in, the best plan that can be proved out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from convoy_schema.messages.desired import Objective

from convoy_controller.errors import PlanError
from convoy_controller.planning import latency, throughput
from convoy_controller.planning.found import Found
from convoy_controller.planning.instance import Instance, Wish
from convoy_controller.planning.refusal import no_board, refusal
from convoy_controller.planning.segments import Segments, segments
from convoy_controller.planning.solution import Solution, solution


@dataclass(frozen=True)
class OneMore:
    """What a board more of `kind` would make of the objective, in seconds; `gain` is the share by which it is less."""

    kind: str
    value_s: float
    gain: float


def solve(instance: Instance, wish: Wish | None = None) -> Solution:
    """The best plan; raises `PlanError` with board, need and have."""
    wish = wish or Wish()
    there = replace(instance, kinds=tuple(kind for kind in instance.kinds if kind.count > 0))
    most = wish.limit(there)
    if most < 1 or not there.kinds:
        raise no_board(max(0, most))
    costs = [segments(there, kind) for kind in there.kinds]
    found = _search(there, wish, costs)
    if found is None:
        raise refusal(there, costs, most)
    return solution(there, wish, costs, found)


def one_more(instance: Instance, wish: Wish, present: Solution) -> tuple[OneMore, ...]:
    """What one more board of each kind would buy, beside `present`; nothing for one whose plan is not better."""
    found = []
    for at, kind in enumerate(instance.kinds):
        kinds = (*instance.kinds[:at], replace(kind, count=kind.count + 1), *instance.kinds[at + 1 :])
        most = None if wish.most is None else wish.most + 1
        better = solve(replace(instance, kinds=kinds), replace(wish, most=most, exactly=False, worth=1.0))
        value = min(present.value_s, better.value_s)
        found.append(OneMore(kind.name, value, 1.0 - value / present.value_s))
    return tuple(found)


def _search(instance: Instance, wish: Wish, costs: list[Segments]) -> Found | None:
    search = latency.search if wish.objective is Objective.LATENCY else throughput.search
    return search(instance, wish, costs)


def notes(instance: Instance, wish: Wish, present: Solution) -> tuple[str, ...]:
    """Sentences about `present` that a reader would ask for next: why not more boards, and whether fewer would do."""
    used, most = present.boards, wish.limit(instance)
    found = []
    if wish.exactly and used < most:
        found.append(f"only {used} of {most} boards can have a layer")
    elif 1 < used < most:
        found.append(f"{used} of {most} boards are used: more would not make it {1 / wish.worth - 1:.0%} better")
    elif used == 1 < most:
        found.append(f"1 board is used: {_of_two(instance, wish, present)}")
    if wish.exactly and used > 1:
        one = _value(instance, wish, 1)
        if one is not None and one <= present.value_s * (1 + 1e-9):
            found.append(f"{used} boards are used as asked, though one would take {_beside(one, present.value_s)}")
    return tuple(found)


def _of_two(instance: Instance, wish: Wish, present: Solution) -> str:
    two = _value(instance, wish, 2)
    if two is None:
        return "the network cannot be divided over two"
    if two > present.value_s * (1 + 1e-9):
        return f"two would be slower than one ({_beside(two, present.value_s)})"
    return f"two would be no better than {1 / wish.worth - 1:.0%} faster ({_beside(two, present.value_s)})"


def _beside(one_s: float, other_s: float) -> str:
    return f"{1e3 * one_s:.4g} ms beside {1e3 * other_s:.4g} ms"


def _value(instance: Instance, wish: Wish, boards: int) -> float | None:
    """The best with exactly so many boards; None when that is not possible."""
    kinds = tuple(replace(kind, count=min(kind.count, boards)) for kind in instance.kinds)
    try:
        found = solve(replace(instance, kinds=kinds), replace(wish, most=boards, spare=0, exactly=True))
    except PlanError:
        return None
    return found.value_s if found.boards == boards else None
