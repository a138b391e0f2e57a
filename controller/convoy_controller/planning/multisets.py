"""Exact search over every multiset of boards: what the best plan is for each number of boards of each kind.

The table grows with the product of the counts, so identical boards collapse it. One sweep serves several sums: the
slowest stage (`np.maximum`), or the sum of all (`np.add`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from convoy_controller.planning.segments import Matrix

#: What a stage costs on `r` boards of kind k, over (i, j): `costs[k][r - 1]`.
Costs = Sequence[Sequence[Matrix]]
#: Layers [first, last) on so many boards of that kind: (first, last, kind, replicas).
Cut = tuple[int, int, int, int]
#: Elementary steps that a sweep may take: about a third of a second.
MOST_WORK = 4e8
#: Steps that calling NumPy takes, however small its arrays.
_CALL = 3000


def affordable(counts: Sequence[int], replicas: Sequence[int], length: int) -> bool:
    """Whether a sweep over so many boards, replicas of a stage, and layers stays within `MOST_WORK`."""
    states = math.prod(count + 1 for count in counts)
    return states * sum(replicas) * max((length + 1) ** 2, _CALL) <= MOST_WORK


class Sweep:
    """`best[used]` over layers done: the least cost of [0, j) with exactly the boards `used`, infinite where none is.

    `combine` joins what came before with a stage's cost; `most` bounds the boards used.
    """

    def __init__(
        self, costs: Costs, counts: Sequence[int], most: int, combine: Callable[[Matrix, Matrix], Matrix]
    ) -> None:
        self._costs = costs
        self._combine = combine
        length = next(matrix.shape[0] for row in costs for matrix in row)
        start = np.full(length, np.inf)
        start[0] = 0.0
        nothing = (0,) * len(counts)
        self._best = {nothing: start}
        for used in itertools.product(*(range(count + 1) for count in counts)):
            if used == nothing or sum(used) > most:
                continue
            found = np.full(length, np.inf)
            for kind, replicas in self._last_stages(used):
                before = self._best.get(_without(used, kind, replicas))
                if before is not None:
                    ended = combine(before[:, None], costs[kind][replicas - 1]).min(axis=0)
                    np.minimum(found, ended, out=found)
            if np.isfinite(found).any():
                self._best[used] = found

    def complete(self) -> dict[tuple[int, ...], float]:
        """The cost of all layers, by the boards used; only what is possible."""
        return {used: float(row[-1]) for used, row in self._best.items() if math.isfinite(row[-1])}

    def cuts(self, used: tuple[int, ...]) -> tuple[Cut, ...]:
        """A plan of that cost with exactly those boards."""
        at = self._best[used].shape[0] - 1
        found: list[Cut] = []
        while at > 0:
            cut = self._last_cut(used, at)
            found.append(cut)
            used, at = _without(used, cut[2], cut[3]), cut[0]
        return tuple(reversed(found))

    def _last_cut(self, used: tuple[int, ...], at: int) -> Cut:
        wanted = self._best[used][at]
        for kind, replicas in self._last_stages(used):
            before = self._best.get(_without(used, kind, replicas))
            if before is not None:
                ended = self._combine(before, self._costs[kind][replicas - 1][:, at])
                first = int(np.argmin(ended))
                if ended[first] == wanted:
                    return first, at, kind, replicas
        raise AssertionError(f"no stage ends at layer {at} with {used} boards")

    def _last_stages(self, used: tuple[int, ...]) -> list[tuple[int, int]]:
        return [
            (kind, replicas)
            for kind, count in enumerate(used)
            for replicas in range(1, min(count, len(self._costs[kind])) + 1)
        ]


def _without(used: tuple[int, ...], kind: int, replicas: int) -> tuple[int, ...]:
    left = list(used)
    left[kind] -= replicas
    return tuple(left)
