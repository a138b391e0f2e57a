"""Bounds for any number of boards: each kind gets a price, and the cheapest plan is a shortest path over the cuts.

If even the cheapest plan costs more than all boards together, there is none: that is a proof, whatever the prices. If
it happens to use no more boards than there are, it is a plan. In between nothing is known, and prices change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convoy_controller.planning import beam
from convoy_controller.planning.multisets import Cut
from convoy_controller.planning.segments import Matrix

#: Times that prices change before nothing is known; and how fast, at first.
ROUNDS = 60
_PACE = 2.0
#: What a proof must exceed by, so that rounding proves nothing.
_SLACK = 1e-9


@dataclass(frozen=True)
class Verdict:
    """`cuts`: a plan that the boards suffice for; `impossible`: proved that there is none. Neither: not known."""

    cuts: tuple[Cut, ...] | None
    impossible: bool


def shortest(costs: Matrix) -> tuple[float, list[tuple[int, int]]]:
    """The cheapest way from layer 0 to the last, and its runs; infinite and none where there is no way."""
    length = costs.shape[0]
    reached = np.full(length, np.inf)
    reached[0] = 0.0
    before = np.zeros(length, np.int64)
    for at in range(1, length):
        ended = reached[:at] + costs[:at, at]
        before[at] = int(np.argmin(ended))
        reached[at] = ended[before[at]]
    if not np.isfinite(reached[-1]):
        return float("inf"), []
    runs, at = [], length - 1
    while at > 0:
        runs.append((int(before[at]), at))
        at = int(before[at])
    return float(reached[-1]), runs[::-1]


def enough(needed: Sequence[NDArray[np.int16]], counts: Sequence[int], most: int, none: int) -> Verdict:
    """Whether the boards suffice for stages that need so many of each kind; `none` and above: that kind cannot."""
    boards = np.stack([np.where(matrix >= none, np.inf, matrix.astype(float)) for matrix in needed])
    have = np.array([*counts, most], float)
    prices: NDArray[np.float64] = np.ones(len(have))
    nearest = 0.0, prices
    for turn in range(ROUNDS):
        prices = prices / float(prices @ have)
        each = prices[:-1] + prices[-1]
        costs, kinds = _cheapest(boards * each[:, None, None])
        total, runs = shortest(costs)
        if total > 1.0 + _SLACK:
            return Verdict(None, True)
        nearest = max(nearest, (total, prices), key=lambda item: item[0])
        cuts = tuple((i, j, int(kinds[i, j]), int(boards[kinds[i, j], i, j])) for i, j in runs)
        used = usage(cuts, len(counts))
        if (used <= have).all():
            return Verdict(cuts, False)
        prices = prices * np.exp(_PACE / (1 + turn / 4) * (used - have) / have.max())
    return Verdict(beam.find(boards, have, nearest[1]), False)


def cheapest(costs: Matrix, counts: Sequence[int], most: int) -> tuple[float, tuple[Cut, ...] | None]:
    """Stages of least total cost, each on one board; `costs` over (kind, i, j). A lower bound, and the best plan met.

    The bound is the plan's cost when the boards suffice for the cheapest plan of all.
    """
    have = np.array([*counts, most], float)
    prices = np.zeros(len(have))
    bound, best, best_cost = -np.inf, None, np.inf
    step = None
    for turn in range(ROUNDS):
        each = prices[:-1] + prices[-1]
        priced, kinds = _cheapest(costs + each[:, None, None])
        total, runs = shortest(priced)
        bound = max(bound, total - float(prices @ have))
        cuts = tuple((i, j, int(kinds[i, j]), 1) for i, j in runs)
        used = usage(cuts, len(counts))
        cost = float(sum(costs[kind, i, j] for i, j, kind, _ in cuts)) if cuts else np.inf
        if cuts and (used <= have).all() and cost < best_cost:
            best, best_cost = cuts, cost
        if not cuts or best_cost <= bound * (1 + _SLACK):
            break
        step = step or cost / len(have) / 4
        prices = np.maximum(0.0, prices + step / (1 + turn / 2) * (used - have) / have.max())
    return bound, best


def usage(cuts: Sequence[Cut], kinds: int) -> NDArray[np.float64]:
    """Boards of each kind that the cuts use, and then their sum."""
    used = np.zeros(kinds + 1)
    for _, _, kind, replicas in cuts:
        used[kind] += replicas
        used[-1] += replicas
    return used


def _cheapest(priced: Matrix) -> tuple[Matrix, NDArray[np.int64]]:
    kinds = np.argmin(priced, axis=0)
    return np.take_along_axis(priced, kinds[None], axis=0)[0], kinds
