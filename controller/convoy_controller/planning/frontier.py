"""Exact answer for one period: the fewest boards of each kind with which no stage takes longer.

Of the kind there are most boards of, only the least number matters; so the table holds it, over the numbers used of all
others, and is smaller than one over every multiset by that kind's count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from convoy_controller.planning.multisets import Cut
from convoy_controller.planning.segments import Matrix

#: Bytes that finding one answer may move: about 0.1 s.
MOST_BYTES = 2.5e8
#: Boards that stand for a stage which a kind cannot run.
NONE = np.int16(20_000)
#: Seconds that stand for none, so that nothing is divided by 0.
_SOON = 1e-300
Needs = NDArray[np.int16]


def affordable(counts: Sequence[int], length: int) -> bool:
    """Whether one answer stays within `MOST_BYTES`."""
    states = math.prod(count + 1 for count in counts) // (max(counts) + 1)
    return 2 * states * length**2 / 2 * len(counts) <= MOST_BYTES and max(counts) < int(NONE) // 2


def needs(periods: Sequence[Matrix], replicas: Sequence[int], period: float) -> list[Needs]:
    """Boards of each kind that every run needs so as not to take longer than `period`; more than `replicas`: none."""
    found = []
    for matrix, most in zip(periods, replicas, strict=True):
        boards = np.ceil(np.minimum(matrix / max(period, _SOON), 1e9) * (1 - 1e-12))
        possible = boards <= most
        found.append(np.where(possible, np.maximum(boards, 1), NONE).astype(np.int16))
    return found


class Frontier:
    """The fewest boards for one period. `cuts()` is None when there are not enough, or more than `most` are needed."""

    def __init__(self, needed: Sequence[Needs], counts: Sequence[int], most: int) -> None:
        self._needed, self._counts, self._most = needed, counts, most
        self._last = int(np.argmax(counts))
        self._others = [kind for kind in range(len(counts)) if kind != self._last]
        self._length = needed[0].shape[0]
        self._shape = tuple(counts[kind] + 1 for kind in self._others)
        self._table = np.full((self._length, *self._shape), NONE, np.int16)
        self._table.reshape(self._length, -1)[0, 0] = 0
        for at in range(1, self._length):
            self._table[at] = self._reach(at)

    def _reach(self, at: int) -> NDArray[np.int16]:
        found = np.full(self._shape, NONE, np.int16)
        for kind, needed in enumerate(self._needed):
            column = needed[:at, at]
            for replicas in np.unique(column):
                if replicas >= NONE:
                    continue
                before = self._table[np.flatnonzero(column == replicas)].min(axis=0)
                if kind == self._last:
                    np.minimum(found, before + replicas, out=found)
                    continue
                axis = self._others.index(kind)
                to = _along(axis, slice(int(replicas), None))
                part = before[_along(axis, slice(None, self._shape[axis] - int(replicas)))]
                found[to] = np.minimum(found[to], part)
        found[found > self._counts[self._last]] = NONE
        return found

    def cuts(self) -> tuple[Cut, ...] | None:
        """The plan with the fewest boards."""
        total = self._table[-1].astype(np.int64)
        for axis, size in enumerate(self._shape):
            total = total + np.arange(size).reshape([-1 if axis == other else 1 for other in range(len(self._shape))])
        if total.min() > min(self._most, sum(self._counts)):
            return None
        state = tuple(int(value) for value in np.unravel_index(int(np.argmin(total)), self._shape))
        at, found = self._length - 1, list[Cut]()
        while at > 0:
            cut, state = self._last_cut(at, state)
            found.append(cut)
            at = cut[0]
        return tuple(reversed(found))

    def _last_cut(self, at: int, state: tuple[int, ...]) -> tuple[Cut, tuple[int, ...]]:
        wanted = self._table[at][state]
        for first in range(at):
            for kind, needed in enumerate(self._needed):
                replicas = int(needed[first, at])
                before = list(state)
                used = 0
                if kind == self._last:
                    used = replicas
                else:
                    before[self._others.index(kind)] -= replicas
                if min(before, default=0) >= 0 and int(self._table[first][tuple(before)]) + used == wanted:
                    return (first, at, kind, replicas), tuple(before)
        raise AssertionError(f"no stage ends at layer {at} in state {state}")


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    return (*(slice(None) for _ in range(axis)), part)
