"""Random pools, adds, concats and identities, and the instances of their kernels that tests run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from convoy_hls import Kernel, Library
from convoy_hls.build import Outcome, Words
from convoy_schema.cycles import elementwise, pools
from convoy_schema.cycles.loops import Loop, gathered
from convoy_schema.kernels import covered
from convoy_schema.layers import Parameters, output_shape
from convoy_schema.limits import KernelLimits, elementwise_limits, pool_limits
from convoy_schema.registers import Command
from convoy_schema.streams import pack_inputs, pack_tensor
from convoy_schema.tiles import (
    ADD,
    AVERAGE_POOL,
    CONCAT,
    GLOBAL_AVERAGE_POOL,
    IDENTITY,
    MAX_POOL,
    ElementTile,
    PoolTile,
)
from convoy_schema.topology import Kind, Layer, Tensor
from hls_cases import Case, check, clamps, fixed, scales, windows, zero_points
from hypothesis import reject
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)


@dataclass(frozen=True)
class PlainInstance:
    """A core of a kind without weights, and its tile."""

    core: str
    kind: Kind
    tile: PoolTile | ElementTile

    @property
    def limits(self) -> KernelLimits:
        """What it refuses."""
        if isinstance(self.tile, PoolTile):
            return pool_limits(self.kind, self.tile)
        return elementwise_limits(self.kind, self.tile)

    def load(self, layer: Layer, inputs: Sequence[Tensor], output: Tensor, _rows: int = 1) -> tuple[Loop, ...]:
        """Loops of `LOAD`."""
        if isinstance(self.tile, PoolTile):
            return gathered(pools.load(layer, inputs[0], output))
        return gathered(elementwise.load(layer, inputs))

    def run(self, layer: Layer, inputs: Sequence[Tensor], output: Tensor, rows: int) -> tuple[Loop, ...]:
        """Loops of `RUN`."""
        if isinstance(self.tile, PoolTile):
            return gathered(pools.run(layer, inputs[0], output, rows, self.tile))
        return gathered(elementwise.run(layer, inputs, output, rows, self.tile))

    def check(self, case: Case, rows: int, library: Library) -> None:
        """Exact results in the cycles of the formula, whatever lies in the spare bytes."""
        if self.limits.refusal(case.layer, case.inputs, case.output):
            reject()
        check(case, rows, _Spare(library, self, case), library, self.load, self.run)


class _Spare(Kernel):
    """Puts anything into the bytes that are no channel's, and wants 0 in those that come back."""

    def __init__(self, library: Library, instance: PlainInstance, case: Case) -> None:
        super().__init__(library, instance.kind, instance.core)
        self._case = case

    def start(self, registers: dict[str, int], words: Words, parameters: Words, room: int) -> Outcome:
        if registers["command"] != Command.RUN:
            return super().start(registers, words, parameters, room)
        rows = registers["rows"]
        random = np.random.default_rng(self._case.seed)
        ones = [np.full((rows, *tensor.shape), -1, np.int8) for tensor in self._case.inputs]
        spare = ~pack_inputs(self.kind, ones)
        anything = random.integers(0, 2**64, words.size, dtype=np.uint64)
        outcome = super().start(registers, words | (anything & spare), parameters, room)
        made = pack_tensor(np.full((rows, *self._case.output.shape), -1, np.int8))
        assert not (outcome.words & ~made).any()
        return outcome


_SMALL = PoolTile(channels=20, row=9, line=64, window=5)
_SUMS = PoolTile(channels=20, row=65536)

MAX_POOLS = (
    PlainInstance("max_pool", Kind.MAX_POOL, MAX_POOL),
    PlainInstance("small_max_pool", Kind.MAX_POOL, _SMALL),
)
AVERAGE_POOLS = (
    PlainInstance("average_pool", Kind.AVERAGE_POOL, AVERAGE_POOL),
    PlainInstance("small_average_pool", Kind.AVERAGE_POOL, replace(_SMALL, rate=1, taps=25)),
    PlainInstance("fast_average_pool", Kind.AVERAGE_POOL, replace(_SMALL, rate=4, taps=25)),
)
GLOBAL_AVERAGE_POOLS = (
    PlainInstance("global_average_pool", Kind.GLOBAL_AVERAGE_POOL, GLOBAL_AVERAGE_POOL),
    PlainInstance("small_global_average_pool", Kind.GLOBAL_AVERAGE_POOL, replace(_SUMS, rate=1)),
    PlainInstance("fast_global_average_pool", Kind.GLOBAL_AVERAGE_POOL, replace(_SUMS, rate=4)),
)
ADDS = (
    PlainInstance("add", Kind.ADD, ADD),
    PlainInstance("slow_add", Kind.ADD, replace(ADD, rate=2)),
    PlainInstance("slower_add", Kind.ADD, replace(ADD, rate=1)),
)
CONCATS = (
    PlainInstance("concat", Kind.CONCAT, CONCAT),
    PlainInstance("small_concat", Kind.CONCAT, replace(CONCAT, inputs=3)),
)
IDENTITIES = (PlainInstance("identity", Kind.IDENTITY, IDENTITY),)


def shapes(channels: int = 26) -> st.SearchStrategy[tuple[int, ...]]:
    """Of a flat tensor or of one with height and width."""
    extent = st.integers(1, 5)
    return st.tuples(st.integers(1, 3 * channels)) | st.tuples(st.integers(1, channels), extent, extent)


@st.composite
def max_pools(draw: st.DrawFn, channels: int = 20, most: int = 4) -> Case:
    window, size = draw(windows(pool=True, most=most))
    low, high = draw(clamps)
    layer = Layer("pool1", Kind.MAX_POOL, ("x",), "y", window, low=low, high=high)
    source = Tensor("x", (draw(st.integers(1, channels)), *size), 0.5, draw(zero_points))
    output = Tensor("y", output_shape(layer, [source.shape]), 0.5, source.zero_point)
    return Case(layer, [source], output, None, draw(seeds))


@st.composite
def average_pools(draw: st.DrawFn, channels: int = 20, most: int = 4) -> Case:
    window, size = draw(windows(pool=True, most=most))
    low, high = draw(clamps)
    layer = Layer("pool1", Kind.AVERAGE_POOL, ("x",), "y", window, 1, draw(st.booleans()), low, high)
    source = Tensor("x", (draw(st.integers(1, channels)), *size), 1.0, draw(zero_points))
    output = Tensor("y", output_shape(layer, [source.shape]), 1.0, draw(zero_points))
    taps, real = math.prod(window.kernel), draw(scales)
    even = layer.count_include_pad or covered(window, source, (output.shape[1], output.shape[2])).min() == taps
    reals = [real / taps] if even else [real / count for count in range(1, taps + 1)]
    return Case(layer, [source], output, Parameters(None, None, *fixed(reals)), draw(seeds))


@st.composite
def global_average_pools(draw: st.DrawFn) -> Case:
    low, high = draw(clamps)
    layer = Layer("pool1", Kind.GLOBAL_AVERAGE_POOL, ("x",), "y", low=low, high=high)
    extent = st.integers(1, 9)
    source = Tensor("x", (draw(st.integers(1, 40)), draw(extent), draw(extent)), 1.0, draw(zero_points))
    output = Tensor("y", (source.shape[0], 1, 1), 1.0, draw(zero_points))
    real = draw(scales) / math.prod(source.shape[1:])
    return Case(layer, [source], output, Parameters(None, None, *fixed([real])), draw(seeds))


@st.composite
def adds(draw: st.DrawFn) -> Case:
    shape = draw(shapes())
    low, high = draw(clamps)
    layer = Layer("add1", Kind.ADD, ("a", "b"), "y", low=low, high=high)
    inputs = [Tensor(name, shape, 1.0, draw(zero_points)) for name in layer.inputs]
    #: Up to the furthest apart that the common fixed point takes.
    real = draw(scales)
    reals = [real, draw(scales | st.integers(-28, 28).map(lambda spread: min(real * 2.0**spread, 1e6)))]
    parameters = Parameters(None, None, *fixed(reals))
    return Case(layer, inputs, Tensor("y", shape, 1.0, draw(zero_points)), parameters, draw(seeds))


@st.composite
def concats(draw: st.DrawFn) -> Case:
    rest = draw(st.sampled_from([(), (1, 1), (2, 3), (3, 1), (1, 4)]))
    parts = draw(st.lists(st.integers(1, 20) | st.just(8), min_size=1, max_size=8))
    low, high = draw(clamps)
    zeros = draw(st.tuples(zero_points, zero_points))
    inputs = [Tensor(f"x{i}", (channels, *rest), 1.0, zeros[i % 2]) for i, channels in enumerate(parts)]
    layer = Layer("concat1", Kind.CONCAT, tuple(tensor.name for tensor in inputs), "y", low=low, high=high)
    few = draw(st.tuples(scales, scales))  # every pair of a zero point and a scale, in four inputs
    parameters = Parameters(None, None, *fixed([few[index // 2 % 2] for index in range(len(parts))]))
    output = Tensor("y", (sum(parts), *rest), 1.0, draw(zero_points))
    return Case(layer, inputs, output, parameters, draw(seeds))


@st.composite
def identities(draw: st.DrawFn) -> Case:
    shape, (low, high), zero = draw(shapes()), draw(clamps), draw(zero_points)
    low, high = draw(st.sampled_from([(low, high), (5, 9), (-9, -5)]))  # also where 0 is outside
    layer = Layer("identity1", Kind.IDENTITY, ("x",), "y", low=low, high=high)
    return Case(layer, [Tensor("x", shape, 1.0, zero)], Tensor("y", shape, 1.0, zero), None, draw(seeds))
