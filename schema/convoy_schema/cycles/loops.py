"""What cycles are counted in: pipelined loops, how often each is entered and goes round.

`hls/` names the same loops and counts them as its code runs under g++; tests compare each layer's formula with that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

#: Cycles of one iteration, and of entering and leaving the loop: a model until Vitis has said it. By loop's name.
DEPTHS: Final = {
    "ranges": 6,
    "load": 4,
    "fill": 4,
    "compute": 24,
    "drain": 5,
    "fold": 6,
    "route": 4,
    "skip": 3,
    "maximum": 9,
    "average": 22,
    "accumulate": 7,
    "finish": 20,
    "add": 22,
    "tables": 20,
    "concat": 9,
    "clamp": 5,
}


@dataclass(frozen=True)
class Loop:
    """`entries` times entered, `trips` iterations in all, one a cycle. A loop of no trips is not entered."""

    name: str
    entries: int
    trips: int

    @property
    def cycles(self) -> int:
        """Cycles that it takes."""
        return self.trips + self.entries * DEPTHS[self.name]


def total(loops: Iterable[Loop]) -> int:
    """Cycles of loops that run one after the other."""
    return sum(loop.cycles for loop in loops)


def gathered(loops: Iterable[Loop]) -> tuple[Loop, ...]:
    """One loop of each name, with their entries and trips added up; sorted by name, none without trips."""
    found: dict[str, Loop] = {}
    for loop in loops:
        before = found.get(loop.name, Loop(loop.name, 0, 0))
        found[loop.name] = Loop(loop.name, before.entries + loop.entries, before.trips + loop.trips)
    return tuple(found[name] for name in sorted(found) if found[name].trips)


def entered(name: str, trips: Sequence[int]) -> Loop:
    """A loop that is reached len(trips) times, going round trips[i] times each."""
    return Loop(name, sum(1 for count in trips if count > 0), sum(trips))
