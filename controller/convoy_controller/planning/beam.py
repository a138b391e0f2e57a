"""Plans for more boards than can be searched exactly: the most promising beginnings only, at given prices of boards.

It proves nothing when it finds none; what it finds is a plan.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from convoy_controller.planning.multisets import Cut
from convoy_controller.planning.segments import Matrix

#: Beginnings kept for each number of layers done.
WIDTH = 32


def find(boards: Matrix, have: NDArray[np.float64], prices: NDArray[np.float64]) -> tuple[Cut, ...] | None:
    """Cuts that need no more than `have` (boards of each kind, then of all); `boards` over (kind, i, j) per stage."""
    kinds, length = boards.shape[0], boards.shape[1]
    used: Matrix = np.zeros((1, kinds))
    layer: NDArray[np.int64] = np.zeros(1, np.int64)
    made: list[tuple[int, Cut]] = [(-1, (0, 0, 0, 0))]
    for at in range(1, length):
        parents, chosen, after = _extended(boards[:, layer, at], used, have, prices)
        for parent, kind in zip(parents, chosen, strict=True):
            first = int(layer[parent])
            made.append((int(parent), (first, at, int(kind), int(boards[kind, first, at]))))
        used = np.concatenate([used, after])
        layer = np.concatenate([layer, np.full(len(after), at, np.int64)])
    if layer[-1] != length - 1:
        return None
    return _followed(made, int(np.flatnonzero(layer == length - 1)[0]))


def _extended(
    needed: Matrix, used: Matrix, have: NDArray[np.float64], prices: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], Matrix]:
    """The cheapest different continuations of beginnings that use `used`: where from, on which kind, and with what."""
    kind, parent = np.nonzero(np.isfinite(needed))
    after = used[parent]
    after[np.arange(len(kind)), kind] += needed[kind, parent]
    possible = (after <= have[:-1]).all(axis=1) & (after.sum(axis=1) <= have[-1])
    kind, parent, after = kind[possible], parent[possible], after[possible]
    cost = after @ (prices[:-1] + prices[-1])
    order = np.argsort(cost, kind="stable")[: 4 * WIDTH]
    _, different = np.unique(after[order], axis=0, return_index=True)
    kept = order[np.sort(different)[:WIDTH]]
    return parent[kept], kind[kept], after[kept]


def _followed(made: Sequence[tuple[int, Cut]], at: int) -> tuple[Cut, ...]:
    found: list[Cut] = []
    while made[at][0] >= 0:
        found.append(made[at][1])
        at = made[at][0]
    return tuple(reversed(found))
