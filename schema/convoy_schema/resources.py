"""What a kernel takes of an xc7z020: DSPs and block RAM from its tile by counting, LUTs and flip-flops by estimate.

Nothing here was said by Vitis yet; `make hls-reports` compares it with Vitis' own reports where that is installed.
docs/hardware.md explains each figure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from convoy_schema.chain import LENET5, ChainStage
from convoy_schema.registers import WORD_BYTES
from convoy_schema.tiles import MODULES, ElementTile, PoolTile, WeightedTile
from convoy_schema.topology import Kind

#: Width and depth that an RAMB18 can have; an RAMB36 is two of them.
_SHAPES: Final = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))
#: Memories up to this depth go into LUTs, unless the source binds them to block RAM.
_SHALLOW: Final = 64
#: DSPs of one rescaling: a 32-bit sum over two 18-bit ports, times a multiplier of 24 bits on the 25-bit port.
RESCALING_DSPS: Final = 2
#: LUTs and flip-flops of a module's registers, stream edges and shape arithmetic; of one without addresses; and of a
#: kernel in a chain, where shapes are constant.
_MODULE, _ELEMENTWISE, _CHAINED = (4200, 3500), (2500, 2500), (1500, 1800)


@dataclass(frozen=True)
class Resources:
    """DSP48E1s and RAMB18s counted; LUTs and flip-flops estimated, to about a third."""

    dsps: int
    ramb18: int
    luts: int
    flip_flops: int

    @property
    def bram36(self) -> int:
        """RAMB36s, when no two kernels share one."""
        return -(-self.ramb18 // 2)

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            self.dsps + other.dsps,
            self.ramb18 + other.ramb18,
            self.luts + other.luts,
            self.flip_flops + other.flip_flops,
        )


NOTHING: Final = Resources(0, 0, 0, 0)


@dataclass(frozen=True)
class Memory:
    """`banks` memories of `depth` words of `width` bits, one read and one write port each.

    `bound`: the source demands block RAM (True) or LUTs (False), rather than leave it to the depth.
    """

    width: int
    depth: int
    banks: int = 1
    bound: bool | None = None

    @property
    def resources(self) -> Resources:
        """RAMB18s of the best shape, or LUTs: four of 64 x 1 bit make 3 bits of two ports."""
        if self.bound if self.bound is not None else self.depth > _SHALLOW:
            best = min(-(-self.width // width) * -(-self.depth // depth) for width, depth in _SHAPES)
            return Resources(0, self.banks * best, 0, 0)
        return Resources(0, 0, self.banks * -(-self.width // 3) * 4 * -(-self.depth // _SHALLOW), 0)


def total(parts: Iterable[Resources]) -> Resources:
    """All of them together."""
    return sum(parts, NOTHING)


def weighted_memories(kind: Kind, tile: WeightedTile) -> dict[str, Memory]:
    """The arrays of a conv2d or dense kernel, by the names that its source gives them."""
    memories = {
        "line": Memory(64, tile.line, bound=True),
        "weights": Memory(8 * tile.simd, tile.depth, tile.pe),
        "scales": Memory(62, -(-tile.scales // tile.rate), tile.rate),
        "partial": Memory(32, tile.row, tile.pe),
        "results": Memory(8 * tile.pe, tile.entries, bound=True),
    }
    if kind is Kind.CONV2D:
        memories["ranges"] = Memory(32, tile.blocks, bound=False)
    return memories


def weighted(kind: Kind, tile: WeightedTile, *, chained: bool = False) -> Resources:
    """A conv2d or dense kernel: a DSP for every weight it multiplies in a cycle, and two for each result."""
    luts, flip_flops = _CHAINED if chained else _MODULE
    products = tile.pe * tile.simd
    arithmetic = Resources(
        dsps=products + RESCALING_DSPS * tile.rate,
        ramb18=0,
        luts=luts + 30 * products + 160 * tile.pe + 650 * tile.rate,
        flip_flops=flip_flops + 40 * products + 200 * tile.pe + 900 * tile.rate,
    )
    return total([arithmetic, *(memory.resources for memory in weighted_memories(kind, tile).values())])


def pool_memories(kind: Kind, tile: PoolTile) -> dict[str, Memory]:
    """The arrays of a pool, by the names that its source gives them."""
    if kind is Kind.GLOBAL_AVERAGE_POOL:
        return {"sums": Memory(32, -(-tile.channels // WORD_BYTES), WORD_BYTES)}
    memories = {"line": Memory(64, tile.line, bound=True)}
    return memories | ({"scales": Memory(32, tile.taps, bound=True)} if tile.taps else {})


def pool(kind: Kind, tile: PoolTile, *, chained: bool = False) -> Resources:
    """A pool: eight additions or comparisons a cycle, and two DSPs for each result that is rescaled."""
    luts, flip_flops = (300, 400) if chained else _MODULE
    rates = 0 if kind is Kind.MAX_POOL else tile.rate
    arithmetic = Resources(RESCALING_DSPS * rates, 0, luts + 8 * 60 + 650 * rates, flip_flops + 8 * 64 + 900 * rates)
    return total([arithmetic, *(memory.resources for memory in pool_memories(kind, tile).values())])


def elementwise(kind: Kind, tile: ElementTile) -> Resources:
    """add: two products (9 by 24 bits, a DSP each) and a rounding a result; concat: tables of every value; identity."""
    luts, flip_flops = _ELEMENTWISE
    if kind is Kind.ADD:
        return Resources(2 * tile.rate, 0, luts + 900 * tile.rate, flip_flops + 900 * tile.rate)
    if kind is Kind.CONCAT:
        tables = Memory(8, tile.inputs * 256, WORD_BYTES)
        return tables.resources + Resources(RESCALING_DSPS, 0, luts + 1500, flip_flops + 1500)
    return Resources(0, 0, luts + 300, flip_flops + 300)


def module(kind: Kind) -> Resources:
    """The layer library's module of that kind."""
    tile = MODULES[kind]
    if isinstance(tile, WeightedTile):
        return weighted(kind, tile)
    return pool(kind, tile) if isinstance(tile, PoolTile) else elementwise(kind, tile)


def chain_stage(stage: ChainStage) -> Resources:
    """A kernel of a chain, with the fold before it if it has one."""
    if stage.tile is None:
        assert stage.window is not None
        rows = stage.window.kernel[0] + stage.window.stride[0]
        line = rows * stage.source[2] * -(-stage.source[0] // WORD_BYTES)
        return pool(stage.kind, PoolTile(stage.source[0], stage.source[2], line), chained=True)
    folding = Resources(0, 0, 350, 500) if stage.folded else NOTHING
    return weighted(stage.kind, stage.tile, chained=True) + folding


def chain(stages: Iterable[ChainStage] = LENET5) -> Resources:
    """The whole chain as one module: its kernels, the registers and edges, and FIFOs in LUTs between them."""
    return total([Resources(0, 0, 2000, 2500), *(chain_stage(stage) for stage in stages)])
