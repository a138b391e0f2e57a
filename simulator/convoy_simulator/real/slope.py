"""How fast a process grows: a slope over all its lives, with how sure it is. Pure arithmetic.

A life is what lies between two restarts. Its first `WARM_UP_S` do not count; the rest is cut into blocks of `BLOCK_S`,
of which the means count, so that a moment's garbage does not. All lives share one slope and each has a level of its
own: the least squares of that. What is left over of one block is much like what is left over of the next, so the error
is widened by their correlation, as if there were fewer blocks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

#: Caches fill: of those that are bounded, SQLite's pages (2 MB a connection) take a controller of a few boards longest.
WARM_UP_S = 600.0
BLOCK_S = 15.0
#: Blocks that a life must have to count.
LEAST_BLOCKS = 4
#: Seconds that must have been seen, warm-ups excluded, for a verdict.
LEAST_S = 300.0
#: Standard errors on either side of the slope: 95 % are within two.
ERRORS = 2.0

#: (monotonic seconds, bytes) of one life, in order.
Life = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Slope:
    """Bytes an hour, plus or minus `error_bytes_per_h`; what it rests on; and where the process was."""

    bytes_per_h: float
    error_bytes_per_h: float
    seen_s: float
    lives: int
    first_bytes: float
    most_bytes: float

    @property
    def is_sure(self) -> bool:
        """Whether enough was seen for a verdict."""
        return self.seen_s >= LEAST_S

    def exceeds(self, bound_bytes_per_h: float) -> bool:
        """Whether it is above the bound beyond doubt."""
        return self.is_sure and self.bytes_per_h - self.error_bytes_per_h > bound_bytes_per_h


def fit(lives: Sequence[Life]) -> Slope:
    """The slope over `lives`, each from its start on."""
    counted = [blocks for life in lives if len(blocks := _blocks(life)) >= LEAST_BLOCKS]
    everything = [size for life in lives for _, size in life]
    first, most = (everything[0], max(everything)) if everything else (0.0, 0.0)
    seen_s = sum(len(blocks) for blocks in counted) * BLOCK_S
    centred = [_centred(blocks) for blocks in counted]
    spread = sum(at * at for life in centred for at, _ in life)
    if not spread:
        return Slope(0.0, math.inf, seen_s, len(counted), first, most)
    slope = sum(at * size for life in centred for at, size in life) / spread
    left = [[size - slope * at for at, size in life] for life in centred]
    count = sum(map(len, left))
    freedom = max(1, count - len(left) - 1)
    variance = sum(rest * rest for life in left for rest in life) / freedom
    error = math.sqrt(variance / spread * _widening(left))
    return Slope(slope * 3600, ERRORS * error * 3600, seen_s, len(counted), first, most)


def _blocks(life: Life) -> list[tuple[float, float]]:
    """The means of whole blocks after the warm-up."""
    if not life:
        return []
    begin = life[0][0] + WARM_UP_S
    found: dict[int, list[tuple[float, float]]] = {}
    for at, size in life:
        if at >= begin:
            found.setdefault(int((at - begin) / BLOCK_S), []).append((at, size))
    whole = [part for number, part in sorted(found.items()) if number < int((life[-1][0] - begin) / BLOCK_S)]
    return [(sum(at for at, _ in part) / len(part), sum(size for _, size in part) / len(part)) for part in whole]


def _centred(life: Life) -> list[tuple[float, float]]:
    middle_at = sum(at for at, _ in life) / len(life)
    middle = sum(size for _, size in life) / len(life)
    return [(at - middle_at, size - middle) for at, size in life]


def _widening(left: Sequence[Sequence[float]]) -> float:
    """How many times as large the variance is as that of independent blocks: that of an AR(1) process."""
    power = sum(rest * rest for life in left for rest in life)
    if not power:
        return 1.0
    shared = sum(one * other for life in left for one, other in itertools.pairwise(life))
    correlation = min(0.95, max(0.0, shared / power))
    return (1 + correlation) / (1 - correlation)
