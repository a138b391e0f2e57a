"""Random layers for the kernels, and the comparison with the reference: values, and the trips of every loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
from convoy_hls import Kernel, Library
from convoy_schema.cycles import Loop
from convoy_schema.cycles.loops import DEPTHS
from convoy_schema.errors import TopologyError
from convoy_schema.layers import Parameters, Prepared, fixed_point, output_shape, prepare
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window
from hypothesis import assume
from hypothesis import strategies as st
from numpy.typing import NDArray

#: Random layers of a kind that each test draws; fewer where they are run once more, more slowly (hls_quality.py).
EXAMPLES = int(os.environ.get("CONVOY_HLS_EXAMPLES", "500"))

Int8 = NDArray[np.int8]
Formula = Callable[[Layer, Sequence[Tensor], Tensor, int], Sequence[Loop]]

zero_points = st.sampled_from([-128, -127, -3, 0, 1, 127]) | st.integers(-128, 127)
clamps = st.just((-128, 127)) | st.tuples(st.integers(-128, 0), st.integers(0, 127))
#: Real scales of an output step: the ordinary, the exact halves that rounding is about, and those that saturate.
scales = st.sampled_from([0.5, 0.25, 0.0078125, 1.5, 2.0**-39]) | st.floats(1e-6, 4.0)


class Case:
    """One layer, its tensors, its parameters, and where its activations come from."""

    def __init__(
        self, layer: Layer, inputs: Sequence[Tensor], output: Tensor, parameters: Parameters | None, seed: int = 0
    ) -> None:
        self.layer, self.inputs, self.output, self.parameters = layer, tuple(inputs), output, parameters
        self.seed = seed
        tensors = {tensor.name: tensor for tensor in (*inputs, output)}
        self.topology = Topology("case", tuple(tensors.values()), (layer,), inputs[0].name, output.name)

    def __repr__(self) -> str:
        return f"Case({self.layer}, {self.inputs}, {self.output}, seed={self.seed})"

    def prepared(self) -> Prepared:
        """The reference; a drawn layer that it refuses is drawn again."""
        try:
            return prepare(self.layer, self.topology, self.parameters)
        except TopologyError:
            assume(False)
            raise

    def arrays(self, rows: int) -> list[Int8]:
        random = np.random.default_rng(self.seed)
        return [values(random, (rows, *tensor.shape)) for tensor in self.inputs]


def values(random: np.random.Generator, shape: tuple[int, ...]) -> Int8:
    """Any int8, or now and then only those at the ends."""
    if random.random() < 0.3:
        return np.asarray(random.choice([-128, -127, 0, 127], shape), np.int8)
    return np.asarray(random.integers(-128, 128, shape), np.int8)


def fixed(reals: Sequence[float]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Multipliers and shifts of real scales."""
    pairs = [fixed_point(real) for real in reals]
    return np.array([m for m, _ in pairs], np.int32), np.array([s for _, s in pairs], np.int32)


@st.composite
def weighted(draw: st.DrawFn, shape: tuple[int, ...], seed: int) -> Parameters:
    """Parameters of a conv2d or dense with weights of this shape; scales from a handful that were drawn."""
    random = np.random.default_rng(seed + 1)
    spread = draw(st.sampled_from([1, 1000, 2**20]))
    bias = np.asarray(random.integers(-spread, spread + 1, shape[0]), np.int32)
    few = draw(st.lists(scales, min_size=1, max_size=3))
    multiplier, shift = fixed([few[index % len(few)] for index in range(shape[0])])
    return Parameters(values(random, shape), bias, multiplier, shift)


def check(case: Case, rows: int, kernel: Kernel, library: Library, load: Formula | None, run: Formula) -> None:
    """The kernel gives what the reference gives, and goes round its loops as often as the formulas say."""
    reference = case.prepared()
    library.reset_loops()
    loaded = kernel.load(case.layer, case.inputs, case.output, case.parameters)
    assert counted(library) == (tuple(load(case.layer, case.inputs, case.output, rows)) if load else ())
    library.reset_loops()
    arrays = case.arrays(rows)
    np.testing.assert_array_equal(loaded.run(arrays), reference.run(arrays))
    assert counted(library) == tuple(run(case.layer, case.inputs, case.output, rows))


def counted(library: Library) -> tuple[Loop, ...]:
    """The loops that ran since the last reset, whose interval and depth are those of the model."""
    found = [loop for loop in library.loops() if loop.trips]
    for loop in found:
        assert (loop.interval, loop.depth) == (1, DEPTHS[loop.name])
    return tuple(sorted((Loop(loop.name, loop.entries, loop.trips) for loop in found), key=lambda loop: loop.name))


@st.composite
def windows(draw: st.DrawFn, *, pool: bool = False, most: int = 4) -> tuple[Window, tuple[int, int]]:
    """A window, and a (height, width) that it fits; a pool's padding never covers a whole window."""
    kernel, stride, dilation, size, before, after = [], [], [], [], [], []
    for _ in range(2):
        taps, gap = draw(st.integers(1, most)), draw(st.sampled_from([1, 1, 2, 3]))
        reach = gap * (taps - 1) + 1
        padding = st.integers(0, taps - 1 if pool else reach)
        kernel.append(taps)
        dilation.append(gap)
        stride.append(draw(st.integers(1, 3)))
        before.append(draw(padding))
        after.append(draw(padding))
        least = max(1, reach - before[-1] - after[-1])
        size.append(draw(st.integers(least, least + 7)))
    window = Window(
        (kernel[0], kernel[1]),
        (stride[0], stride[1]),
        (before[0], before[1], after[0], after[1]),
        (dilation[0], dilation[1]),
    )
    return window, (size[0], size[1])


@st.composite
def convolutions(draw: st.DrawFn, channels: int = 20) -> Case:
    window, size = draw(windows())
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 8]))
    each_in = 1 if draw(st.integers(0, 3)) == 0 else draw(st.integers(1, max(1, channels // groups)))
    each_out = draw(st.integers(1, max(1, channels // groups)))
    seed = draw(st.integers(0, 2**32 - 1))
    parameters = draw(weighted((groups * each_out, each_in, *window.kernel), seed))
    low, high = draw(clamps)
    source = Tensor("x", (groups * each_in, *size), 1.0, draw(zero_points))
    layer = Layer("conv1", Kind.CONV2D, ("x",), "y", window, groups, low=low, high=high)
    shape = output_shape(layer, [source.shape], groups * each_out)
    return Case(layer, [source], Tensor("y", shape, 1.0, draw(zero_points)), parameters, seed)


@st.composite
def dense_layers(draw: st.DrawFn, features: int = 200, outputs: int = 40) -> Case:
    extent = st.integers(1, 6)
    flat = draw(st.booleans())
    shape = (draw(st.integers(1, features)),) if flat else (draw(st.integers(1, 20)), draw(extent), draw(extent))
    out = draw(st.integers(1, outputs))
    seed = draw(st.integers(0, 2**32 - 1))
    parameters = draw(weighted((out, int(np.prod(shape))), seed))
    low, high = draw(clamps)
    layer = Layer("dense1", Kind.DENSE, ("x",), "y", low=low, high=high)
    source = Tensor("x", shape, 1.0, draw(zero_points))
    return Case(layer, [source], Tensor("y", (out,), 1.0, draw(zero_points)), parameters, seed)
