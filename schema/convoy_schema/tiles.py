"""The tiles of the layer library's kernels: how much each multiplies at once and holds, in its own units.

`hls/` compiles the same numbers (a test compares them). Packing of parameters, limits, cycles and resources follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from convoy_schema.topology import Kind


@dataclass(frozen=True)
class WeightedTile:
    """Of conv2d and dense: `pe` output channels times `simd` input channels a cycle, `rate` results a cycle.

    Held are `line` words of input, `depth` steps of pe x simd weights, `scales` output channels' scales, `row`
    positions of an output row, `entries` results (pe channels each) of a row or two, and the input range of `blocks`
    rounds of pe output channels. `window` bounds a kernel's reach, stride and padding.
    """

    pe: int
    simd: int
    rate: int
    line: int
    depth: int
    scales: int
    row: int
    entries: int
    blocks: int
    window: int


CONV2D: Final = WeightedTile(
    pe=4, simd=8, rate=1, line=4096, depth=512, scales=512, row=512, entries=4096, blocks=512, window=64
)
DENSE: Final = WeightedTile(
    pe=4, simd=8, rate=1, line=4096, depth=512, scales=512, row=512, entries=4096, blocks=1, window=0
)


@dataclass(frozen=True)
class PoolTile:
    """Of a pool: eight channels a cycle in, `rate` results a cycle out where they are rescaled.

    Held are `line` words of input rows (none: sums of `channels` instead) and `taps` scales. `channels` and `row` are
    the most of a tensor, `window` bounds reach, stride and padding.
    """

    channels: int
    row: int
    line: int = 0
    window: int = 0
    rate: int = 8
    taps: int = 0


@dataclass(frozen=True)
class ElementTile:
    """Of add, concat and identity, which hold no part of a tensor: `rate` results a cycle, of `inputs` tensors."""

    rate: int = 8
    inputs: int = 1


MAX_POOL: Final = PoolTile(channels=4096, row=1024, line=8192, window=64)
AVERAGE_POOL: Final = PoolTile(channels=4096, row=1024, line=8192, window=32, rate=2, taps=1024)
GLOBAL_AVERAGE_POOL: Final = PoolTile(channels=4096, row=65536, rate=2)
ADD: Final = ElementTile(rate=4, inputs=2)
CONCAT: Final = ElementTile(inputs=8)
IDENTITY: Final = ElementTile()

#: The library's module of each kind.
MODULES: Final[Mapping[Kind, WeightedTile | PoolTile | ElementTile]] = {
    Kind.CONV2D: CONV2D,
    Kind.MAX_POOL: MAX_POOL,
    Kind.AVERAGE_POOL: AVERAGE_POOL,
    Kind.GLOBAL_AVERAGE_POOL: GLOBAL_AVERAGE_POOL,
    Kind.DENSE: DENSE,
    Kind.ADD: ADD,
    Kind.CONCAT: CONCAT,
    Kind.IDENTITY: IDENTITY,
}
