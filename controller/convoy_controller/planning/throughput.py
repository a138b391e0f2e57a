"""The least period: the slowest of all stages and links decides how often a sample can follow another.

Exact over multisets of boards where that table is small; else exact by search for the least period that the boards
suffice for; else the same search with prices, which leaves a proven gap. A plan that fewer boards nearly reach is made
with those, and of the plans that are left the best balanced one is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from convoy_controller.planning import frontier, multisets, prices
from convoy_controller.planning.found import Found
from convoy_controller.planning.frontier import Frontier, needs
from convoy_controller.planning.instance import Instance, Wish
from convoy_controller.planning.multisets import Cut, Sweep
from convoy_controller.planning.refusal import not_found
from convoy_controller.planning.segments import Matrix, Segments

#: Relative width at which the search with prices ends, and where it hands over to the exact one.
_FINE, _COARSE = 2e-3, 2e-2
_ROUNDING = 1e-12


def search(instance: Instance, wish: Wish, costs: Sequence[Segments]) -> Found | None:
    """The best plan, or None when the boards cannot hold the network; raises `PlanError` where neither is known."""
    counts = [kind.count for kind in instance.kinds]
    most = wish.limit(instance)
    periods = [cost.period for cost in costs]
    replicas = [wish.sharing(count) for count in counts]
    if multisets.affordable(counts, replicas, len(instance.layers)):
        return _by_multisets(costs, counts, replicas, most, wish)
    found = _by_period(costs, counts, replicas, most, wish)
    if found is None or not wish.exactly:
        return found
    cuts = spread(found.cuts, periods, counts, most, replicas)
    return Found(cuts, found.bound, period_of(cuts, periods) <= found.bound * (1 + 1e-9), found.method)


def first_kinds(used: tuple[int, ...]) -> tuple[int, ...]:
    """Sorts boards of the kinds that come first before others."""
    return tuple(-count for count in used)


def period_of(cuts: Sequence[Cut], periods: Sequence[Matrix]) -> float:
    """The slowest stage's seconds."""
    return max(float(periods[kind][first, last]) / replicas for first, last, kind, replicas in cuts)


def _by_multisets(
    costs: Sequence[Segments], counts: Sequence[int], replicas: Sequence[int], most: int, wish: Wish
) -> Found | None:
    shares = _shares([cost.period for cost in costs], replicas)
    totals = Sweep(shares, counts, most, np.maximum).complete()
    if not totals:
        return None
    if wish.exactly:
        boards = max(map(sum, totals))
        used = min((used for used in totals if sum(used) == boards), key=lambda used: (totals[used], first_kinds(used)))
        bound = totals[used]
    else:
        bound = min(totals.values())
        good = [used for used, period in totals.items() if period <= bound / wish.worth]
        used = min(good, key=lambda used: (sum(used), totals[used], first_kinds(used)))
    return Found(_balanced(costs, used, totals[used], replicas), bound, True, "exact: dynamic programming")


def _balanced(
    costs: Sequence[Segments], used: tuple[int, ...], period: float, replicas: Sequence[int]
) -> tuple[Cut, ...]:
    """Of the plans with exactly those boards and that period, the one with the least squares of boards' computing."""
    squares = [
        [
            np.where(cost.period <= period * boards * (1 + _ROUNDING), cost.compute * cost.compute / boards, np.inf)
            for boards in range(1, min(count, most) + 1)
        ]
        for cost, count, most in zip(costs, used, replicas, strict=True)
    ]
    return Sweep(squares, used, sum(used), np.add).cuts(used)


def _shares(periods: Sequence[Matrix], replicas: Sequence[int]) -> list[list[Matrix]]:
    return [[matrix / boards for boards in range(1, most + 1)] for matrix, most in zip(periods, replicas, strict=True)]


def _by_period(
    costs: Sequence[Segments], counts: Sequence[int], replicas: Sequence[int], most: int, wish: Wish
) -> Found | None:
    """The least period by bisection: `low` is proved impossible (or 0), `high` is a plan's."""
    search = _Bisection(costs, counts, replicas, most)
    if frontier.affordable(counts, len(costs[0].least)):
        if not search.start(search.exactly):
            return None
        search.narrow(search.roughly, _COARSE)
        search.finish()
        return search.found(search.exactly, wish.worth, "exact: search for the period")
    if not search.start(search.roughly):
        return None
    search.narrow(search.roughly, _FINE)
    return search.found(search.roughly, wish.worth, "bounded: prices")


_Try = Callable[[float], prices.Verdict]


class _Bisection:
    """The bracket: no plan is better than `low`, and `cuts` reach `high`."""

    def __init__(self, costs: Sequence[Segments], counts: Sequence[int], replicas: Sequence[int], most: int) -> None:
        self._periods, self._least = [cost.period for cost in costs], np.min([cost.least for cost in costs], axis=0)
        self._counts, self._replicas, self._most = counts, replicas, most
        self._low, self._high = 0.0, math.inf
        self._cuts: tuple[Cut, ...] = ()

    def exactly(self, period: float) -> prices.Verdict:
        """Whether the boards suffice for `period`; always known."""
        cuts = Frontier(self._needs(period), self._counts, self._most).cuts()
        return prices.Verdict(cuts, cuts is None)

    def roughly(self, period: float) -> prices.Verdict:
        """The same, perhaps not known, for any number of boards."""
        return prices.enough(self._needs(period), self._counts, self._most, int(frontier.NONE))

    def _needs(self, period: float) -> list[frontier.Needs]:
        return needs(self._periods, self._replicas, period)

    def start(self, ask: _Try) -> bool:
        """A first plan, with all the time in the world; False when there is none."""
        slowest = max(float(matrix[np.isfinite(matrix)].max(initial=0.0)) for matrix in self._periods)
        verdict = ask(max(slowest, 1e-300))
        if verdict.cuts is None:
            if not verdict.impossible:
                raise not_found(sum(self._counts))
            return False
        self._better(verdict.cuts)
        # No board can do more than be busy all the time, with the layers that it is best at.
        self._low = float(self._least.sum()) / self._most * (1 - 1e-9)
        return True

    def _better(self, cuts: tuple[Cut, ...]) -> None:
        self._cuts, self._high = cuts, period_of(cuts, self._periods)

    def narrow(self, ask: _Try, width: float) -> None:
        """Bring `low` and `high` together, as far as `ask` knows."""
        middle = self._middle()
        unknown: float | None = None
        while self._high > self._low * (1 + width):
            verdict = ask(middle)
            if verdict.cuts is not None:
                self._better(verdict.cuts)
            elif verdict.impossible:
                self._low = middle
            else:
                unknown = middle
                break
            middle = self._middle()
        if unknown is None:
            return
        above, below = unknown, unknown
        while self._high > above * (1 + width):
            verdict = ask(math.sqrt(above * self._high))
            if verdict.cuts is not None:
                self._better(verdict.cuts)
            else:
                above = math.sqrt(above * self._high)
        below = min(below, self._high)
        while below > self._low * (1 + width):
            middle = math.sqrt(self._low * below)
            if ask(middle).impossible:
                self._low = middle
            else:
                below = middle

    def _middle(self) -> float:
        # Layers that take no time at all leave no bound to begin with.
        return math.sqrt(self._low * self._high) if self._low > 0 else self._high / 1024

    def finish(self) -> None:
        """The least period there is: that of some run of layers on some number of boards."""
        candidates = self._candidates()
        first, last = 0, len(candidates) - 1
        while first <= last:
            middle = (first + last) // 2
            verdict = self.exactly(float(candidates[middle]))
            if verdict.cuts is None:
                first = middle + 1
                self._low = float(candidates[middle])
            else:
                self._better(verdict.cuts)
                last = int(np.searchsorted(candidates, self._high * (1 - 1e-12))) - 1
                last = min(last, middle - 1)
        self._low = self._high

    def _candidates(self) -> Matrix:
        """Periods between `low` and `high`, ascending."""
        found = []
        for matrix, most in zip(self._periods, self._replicas, strict=True):
            for boards in range(1, most + 1):
                share = matrix[np.isfinite(matrix)] / boards
                found.append(share[(share > self._low) & (share < self._high * (1 - 1e-12))])
        periods: Matrix = np.unique(np.concatenate(found))
        return periods

    def found(self, ask: _Try, worth: float, method: str) -> Found:
        """The plan with about the fewest boards that is nearly as good, and the bound."""
        exact = self._low >= self._high
        fewer = ask(self._high / worth).cuts
        if fewer is not None and sum(cut[3] for cut in fewer) < sum(cut[3] for cut in self._cuts):
            self._cuts = fewer
        return Found(self._cuts, min(self._low, self._high), exact, method)


def spread(
    cuts: Sequence[Cut], periods: Sequence[Matrix], counts: Sequence[int], most: int, replicas: Sequence[int]
) -> tuple[Cut, ...]:
    """`cuts` over all boards that can have a layer: step by step the addition that leaves the least period.

    At most `replicas` boards of each kind share a stage.
    """
    made = tuple(cuts)
    left = [count - sum(cut[3] for cut in made if cut[2] == kind) for kind, count in enumerate(counts)]
    while sum(cut[3] for cut in made) < most:
        options = [
            made[:at] + parts + made[at + 1 :]
            for at, cut in enumerate(made)
            for parts in _additions(cut, periods, left, replicas)
        ]
        if not options:
            break
        made = min(options, key=lambda option: _loads(option, periods))
        left = [count - sum(cut[3] for cut in made if cut[2] == kind) for kind, count in enumerate(counts)]
    return made


def _additions(
    cut: Cut, periods: Sequence[Matrix], left: Sequence[int], replicas: Sequence[int]
) -> list[tuple[Cut, ...]]:
    """What can become of a stage with a board more: a replica, or its best division into two."""
    first, last, kind, boards = cut
    found: list[tuple[Cut, ...]] = []
    if left[kind] and boards < replicas[kind]:
        found.append(((first, last, kind, boards + 1),))
    for other, free in enumerate(left):
        if not free:
            continue
        for a, b, n, m in ((kind, other, boards, 1), (other, kind, 1, boards)):
            halves = np.maximum(periods[a][first, first + 1 : last] / n, periods[b][first + 1 : last, last] / m)
            if halves.size and math.isfinite(halves.min()):
                at = first + 1 + int(np.argmin(halves))
                found.append(((first, at, a, n), (at, last, b, m)))
    return found


def _loads(cuts: Sequence[Cut], periods: Sequence[Matrix]) -> tuple[float, float]:
    shares = [(float(periods[kind][i, j]) / boards, boards) for i, j, kind, boards in cuts]
    return max(share for share, _ in shares), sum(share * share * boards for share, boards in shares)
