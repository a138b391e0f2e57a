"""Every kind of layer against a reference in plain Python integers and fractions, over random shapes and values."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from convoy_schema import kernels
from convoy_schema.errors import TopologyError
from convoy_schema.layers import Parameters, evaluate, fixed_point, output_shape, pack_parameters, prepare
from convoy_schema.names import digest_of
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

Int8 = NDArray[np.int8]
ROWS = 3


# A case: one layer, its tensors, its parameters and its inputs


class Case:
    def __init__(self, layer: Layer, inputs: list[Tensor], output: Tensor, parameters: Parameters | None) -> None:
        self.layer, self.inputs, self.output, self.parameters = layer, inputs, output, parameters
        self.topology = Topology("case", (*inputs, output), (layer,), inputs[0].name, output.name)

    def run(self, arrays: list[Int8]) -> Int8:
        return prepare(self.layer, self.topology, self.parameters).run(arrays)


def values(shape: tuple[int, ...], seed: int, extreme: bool) -> Int8:
    random = np.random.default_rng(seed)
    picked = random.choice([-128, -127, 0, 127], shape) if extreme else random.integers(-128, 128, shape)
    return np.asarray(picked, np.int8)


zero_points = st.sampled_from([-128, -127, -3, 0, 1, 127]) | st.integers(-128, 127)
#: Real scales of an output step: from one that saturates everything to one that flattens everything.
scales = st.sampled_from([0.5, 0.25, 0.0078125, 1.5]) | st.floats(1e-6, 4.0)
clamps = st.just((-128, 127)) | st.tuples(st.integers(-128, 0), st.integers(0, 127))


def fixed(reals: list[float]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    pairs = [fixed_point(real) for real in reals]
    return np.array([m for m, _ in pairs], np.int32), np.array([s for _, s in pairs], np.int32)


@st.composite
def windows(draw: st.DrawFn, *, pool: bool) -> tuple[Window, tuple[int, int]]:
    """A window, and a (height, width) that it fits."""
    kernel, stride, dilation, size = [], [], [], []
    before, after = [], []
    for _ in range(2):
        taps, gap = draw(st.integers(1, 4)), draw(st.sampled_from([1, 1, 2, 3]))
        gap = 1 if pool else gap
        reach = gap * (taps - 1) + 1
        kernel.append(taps)
        dilation.append(gap)
        stride.append(draw(st.integers(1, 3)))
        before.append(draw(st.integers(0, taps - 1 if pool else reach)))
        after.append(draw(st.integers(0, taps - 1 if pool else reach)))
        least = max(1, reach - before[-1] - after[-1])
        size.append(draw(st.integers(least, least + 7)))
    padding = (before[0], before[1], after[0], after[1])
    window = Window((kernel[0], kernel[1]), (stride[0], stride[1]), padding, (dilation[0], dilation[1]))
    return window, (size[0], size[1])


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Case, int, bool]:
    window, size = draw(windows(pool=False))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    depthwise = draw(st.booleans())
    each_in, each_out = (1 if depthwise else draw(st.integers(1, 3))), draw(st.integers(1, 3))
    channels, depth = groups * each_out, groups * each_in
    seed, extreme = draw(st.integers(0, 2**32 - 1)), draw(st.booleans())
    weights = values((channels, each_in, *window.kernel), seed + 1, extreme)
    bias = np.array([draw(st.integers(-(2**20), 2**20)) for _ in range(channels)], np.int32)
    multiplier, shift = fixed([draw(scales) for _ in range(channels)])
    low, high = draw(clamps)
    source = Tensor("x", (depth, *size), 1.0, draw(zero_points))
    layer = Layer("conv1", Kind.CONV2D, ("x",), "y", window, groups, low=low, high=high)
    shape = output_shape(layer, [source.shape], channels)
    case = Case(
        layer, [source], Tensor("y", shape, 1.0, draw(zero_points)), Parameters(weights, bias, multiplier, shift)
    )
    return case, seed, extreme


# The reference: loops over Python integers


def positions(window: Window, top: int, left: int, shape: tuple[int, ...]) -> Iterator[tuple[int, int, int, int, bool]]:
    """(i, j, row, column, inside) of each tap of the window whose output is at (top, left)."""
    for i, j in itertools.product(range(window.kernel[0]), range(window.kernel[1])):
        row = top * window.stride[0] + i * window.dilation[0] - window.padding[0]
        column = left * window.stride[1] + j * window.dilation[1] - window.padding[1]
        yield i, j, row, column, 0 <= row < shape[1] and 0 <= column < shape[2]


def finish(value: Fraction, case: Case) -> int:
    """Python's round() of a fraction is half to even."""
    return min(case.layer.high, max(case.layer.low, round(value) + case.output.zero_point))


def scale(case: Case, index: int) -> Fraction:
    assert case.parameters is not None
    return Fraction(int(case.parameters.multiplier[index]), 2 ** int(case.parameters.shift[index]))


def each(case: Case, compute: Callable[[int, tuple[int, ...]], int]) -> Int8:
    out = np.zeros((ROWS, *case.output.shape), np.int8)
    for row in range(ROWS):
        for at in itertools.product(*map(range, case.output.shape)):
            out[(row, *at)] = compute(row, at)
    return out


def reference_convolution(case: Case, x: Int8) -> Int8:
    layer, zero = case.layer, case.inputs[0].zero_point
    assert layer.window is not None
    assert case.parameters is not None
    weights, bias = case.parameters.weights, case.parameters.bias
    assert weights is not None
    assert bias is not None
    each_out, each_in = len(weights) // layer.groups, weights.shape[1]

    def compute(row: int, at: tuple[int, ...]) -> int:
        assert layer.window is not None
        total = int(bias[at[0]])
        for c in range(each_in):
            for i, j, r, s, inside in positions(layer.window, at[1], at[2], case.inputs[0].shape):
                if inside:
                    pixel = int(x[row, at[0] // each_out * each_in + c, r, s])
                    total += int(weights[at[0], c, i, j]) * (pixel - zero)
        return finish(total * scale(case, at[0]), case)

    return each(case, compute)


@settings(max_examples=120, deadline=None)
@given(convolutions())
def test_convolution(drawn: tuple[Case, int, bool]) -> None:
    case, seed, extreme = drawn
    x = values((ROWS, *case.inputs[0].shape), seed, extreme)
    np.testing.assert_array_equal(case.run([x]), reference_convolution(case, x))


@settings(max_examples=40, deadline=None)
@given(convolutions(), st.integers(1, 60))
def test_a_convolution_cut_into_small_tiles_is_the_same(drawn: tuple[Case, int, bool], tile: int) -> None:
    case, seed, extreme = drawn
    x = values((ROWS, *case.inputs[0].shape), seed, extreme)
    whole = case.run([x])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "TILE", tile)
        np.testing.assert_array_equal(case.run([x]), whole)


def test_scratch_left_by_a_larger_batch_does_not_show() -> None:
    window = Window((3, 3), padding=(1, 1, 1, 1))
    layer = Layer("conv1", Kind.CONV2D, ("x",), "y", window)
    multiplier, shift = fixed([0.01, 0.01])
    parameters = Parameters(values((2, 2, 3, 3), 1, False), np.zeros(2, np.int32), multiplier, shift)
    case = Case(layer, [Tensor("x", (2, 5, 5), 1.0, 7)], Tensor("y", (2, 5, 5), 1.0, 0), parameters)
    ready = prepare(layer, case.topology, parameters)
    x = values((9, 2, 5, 5), 2, False)
    together = ready.run([x])
    for rows in (1, 4, 9, 0):
        np.testing.assert_array_equal(ready.run([x[:rows]]), together[:rows])


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_dense(data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from([(7,), (2, 3, 2), (40,), (1, 1, 1)]))
    channels, seed, extreme = (
        data.draw(st.integers(1, 5)),
        data.draw(st.integers(0, 2**32 - 1)),
        data.draw(st.booleans()),
    )
    weights = values((channels, math.prod(shape)), seed + 1, extreme)
    bias = np.array([data.draw(st.integers(-(2**29), 2**29)) for _ in range(channels)], np.int32)
    low, high = data.draw(clamps)
    case = Case(
        Layer("dense1", Kind.DENSE, ("x",), "y", low=low, high=high),
        [Tensor("x", shape, 1.0, data.draw(zero_points))],
        Tensor("y", (channels,), 1.0, data.draw(zero_points)),
        Parameters(weights, bias, *fixed([data.draw(scales) for _ in range(channels)])),
    )
    x = values((ROWS, *shape), seed, extreme)
    flat = x.reshape(ROWS, -1)

    def compute(row: int, at: tuple[int, ...]) -> int:
        pairs = zip(weights[at[0]], flat[row], strict=True)
        total = int(bias[at[0]]) + sum(int(w) * (int(v) - case.inputs[0].zero_point) for w, v in pairs)
        return finish(total * scale(case, at[0]), case)

    np.testing.assert_array_equal(case.run([x]), each(case, compute))


@settings(max_examples=80, deadline=None)
@given(windows(pool=True), st.integers(0, 2**32 - 1), zero_points, clamps, st.booleans())
def test_max_pool(
    drawn: tuple[Window, tuple[int, int]], seed: int, zero: int, clamp: tuple[int, int], extreme: bool
) -> None:
    window, size = drawn
    source = Tensor("x", (2, *size), 0.5, zero)
    layer = Layer("pool1", Kind.MAX_POOL, ("x",), "y", window, low=clamp[0], high=clamp[1])
    case = Case(layer, [source], Tensor("y", output_shape(layer, [source.shape]), 0.5, zero), None)
    x = values((ROWS, *source.shape), seed, extreme)

    def compute(row: int, at: tuple[int, ...]) -> int:
        taps = positions(window, at[1], at[2], source.shape)
        most = max(int(x[row, at[0], r, s]) for _, _, r, s, inside in taps if inside)
        return min(clamp[1], max(clamp[0], most))

    np.testing.assert_array_equal(case.run([x]), each(case, compute))


@settings(max_examples=80, deadline=None)
@given(windows(pool=True), st.booleans(), st.integers(0, 2**32 - 1), scales, zero_points, zero_points, clamps)
def test_average_pool(
    drawn: tuple[Window, tuple[int, int]],
    include: bool,
    seed: int,
    real: float,
    zero: int,
    out_zero: int,
    clamp: tuple[int, int],
) -> None:
    window, size = drawn
    source = Tensor("x", (2, *size), 1.0, zero)
    layer = Layer("pool1", Kind.AVERAGE_POOL, ("x",), "y", window, 1, include, *clamp)
    shape = output_shape(layer, [source.shape])
    taps = math.prod(window.kernel)

    def count(at: tuple[int, ...]) -> int:
        inside = [tap[4] for tap in positions(window, at[1], at[2], source.shape)]
        return taps if include else sum(inside)

    even = min(map(count, itertools.product(*map(range, shape)))) == taps
    parameters = Parameters(None, None, *fixed([real / taps] if even else [real / n for n in range(1, taps + 1)]))
    case = Case(layer, [source], Tensor("y", shape, 1.0, out_zero), parameters)
    x = values((ROWS, *source.shape), seed, False)

    def compute(row: int, at: tuple[int, ...]) -> int:
        taps_there = positions(window, at[1], at[2], source.shape)
        total = sum(int(x[row, at[0], r, s]) - zero for _, _, r, s, inside in taps_there if inside)
        return finish(total * scale(case, 0 if even else count(at) - 1), case)

    np.testing.assert_array_equal(case.run([x]), each(case, compute))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1), scales, zero_points, zero_points)
def test_global_average_pool(height: int, width: int, seed: int, real: float, zero: int, out_zero: int) -> None:
    source = Tensor("x", (3, height, width), 1.0, zero)
    layer = Layer("pool1", Kind.GLOBAL_AVERAGE_POOL, ("x",), "y")
    parameters = Parameters(None, None, *fixed([real / (height * width)]))
    case = Case(layer, [source], Tensor("y", (3, 1, 1), 1.0, out_zero), parameters)
    x = values((ROWS, *source.shape), seed, False)

    def compute(row: int, at: tuple[int, ...]) -> int:
        return finish(sum(int(v) - zero for v in x[row, at[0]].ravel()) * scale(case, 0), case)

    np.testing.assert_array_equal(case.run([x]), each(case, compute))


@settings(max_examples=80, deadline=None)
@given(st.tuples(scales, scales), st.tuples(zero_points, zero_points, zero_points), clamps, st.integers(0, 2**32 - 1))
def test_add_rounds_once(
    reals: tuple[float, float], zeros: tuple[int, int, int], clamp: tuple[int, int], seed: int
) -> None:
    shape = (2, 3, 3)
    layer = Layer("add1", Kind.ADD, ("a", "b"), "y", low=clamp[0], high=clamp[1])
    inputs = [Tensor("a", shape, 1.0, zeros[0]), Tensor("b", shape, 1.0, zeros[1])]
    case = Case(layer, inputs, Tensor("y", shape, 1.0, zeros[2]), Parameters(None, None, *fixed(list(reals))))
    a, b = (values((ROWS, *shape), seed + i, bool(i)) for i in range(2))

    def compute(row: int, at: tuple[int, ...]) -> int:
        left = (int(a[(row, *at)]) - zeros[0]) * scale(case, 0)
        return finish(left + (int(b[(row, *at)]) - zeros[1]) * scale(case, 1), case)

    np.testing.assert_array_equal(case.run([a, b]), each(case, compute))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), scales, zero_points), min_size=1, max_size=4), zero_points, clamps)
def test_concat_requantises_each_input(
    parts: list[tuple[int, float, int]], out_zero: int, clamp: tuple[int, int]
) -> None:
    inputs = [Tensor(f"x{i}", (channels, 2, 3), 1.0, zero) for i, (channels, _, zero) in enumerate(parts)]
    names = tuple(tensor.name for tensor in inputs)
    layer = Layer("concat1", Kind.CONCAT, names, "y", low=clamp[0], high=clamp[1])
    output = Tensor("y", (sum(channels for channels, _, _ in parts), 2, 3), 1.0, out_zero)
    case = Case(layer, inputs, output, Parameters(None, None, *fixed([real for _, real, _ in parts])))
    arrays = [values((ROWS, *tensor.shape), i, False) for i, tensor in enumerate(inputs)]
    place = [(i, channel) for i, (channels, _, _) in enumerate(parts) for channel in range(channels)]

    def compute(row: int, at: tuple[int, ...]) -> int:
        which, channel = place[at[0]]
        pixel = int(arrays[which][row, channel, at[1], at[2]])
        return finish((pixel - inputs[which].zero_point) * scale(case, which), case)

    np.testing.assert_array_equal(case.run(arrays), each(case, compute))


def test_identity_keeps_or_clamps() -> None:
    x = values((ROWS, 4), 3, False)
    plain = Case(Layer("id", Kind.IDENTITY, ("x",), "y"), [Tensor("x", (4,), 1.0, 0)], Tensor("y", (4,), 1.0, 0), None)
    np.testing.assert_array_equal(plain.run([x]), x)
    clamped = Case(replace(plain.layer, low=-5, high=9), plain.inputs, plain.output, None)
    np.testing.assert_array_equal(clamped.run([x]), np.clip(x, -5, 9))


# Widths at their edges


def dense_case(weights: list[int], bias: int, zero: int = 0, real: float = 1.0) -> Case:
    parameters = Parameters(np.array([weights], np.int8), np.array([bias], np.int32), *fixed([real]))
    source, output = Tensor("x", (len(weights),), 1.0, zero), Tensor("y", (1,), 1.0, 0)
    return Case(Layer("dense7", Kind.DENSE, ("x",), "y"), [source], output, parameters)


def test_sums_beyond_2_to_24_stay_exact() -> None:
    # 4,000 products of -128 and -128 make 62.5 times 2 ** 20: beyond 2 ** 24, and one unit more or less must show.
    x = np.full((1, 4000), -128, np.int8)
    for bias, expected in ((-1, 62), (0, 62), (1, 63)):
        assert dense_case([-128] * 4000, bias, real=2.0**-20).run([x])[0, 0] == expected


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_accumulator_is_taken_and_one_more_is_refused(sign: int) -> None:
    most = 2**31 - 1
    fits = dense_case([1], sign * (most - 128))
    assert fits.run([np.array([[sign]], np.int8)])[0, 0] == sign * 128 - (sign > 0)
    with pytest.raises(TopologyError, match=r"dense7.*int32"):
        dense_case([1], sign * (most - 127)).run([np.array([[1]], np.int8)])


def test_the_zero_point_counts_in_the_bound() -> None:
    bias = 2**31 - 1 - 200
    dense_case([1], bias, zero=0).run([np.array([[1]], np.int8)])
    with pytest.raises(TopologyError, match="int32"):
        dense_case([1], bias, zero=-128).run([np.array([[1]], np.int8)])


# Refusals


def conv_case(**changes: object) -> Case:
    layer = Layer("conv9", Kind.CONV2D, ("x",), "y", Window((3, 3)))
    parameters = Parameters(np.ones((2, 2, 3, 3), np.int8), np.zeros(2, np.int32), *fixed([0.1, 0.1]))
    case = Case(layer, [Tensor("x", (2, 5, 5), 1.0, 0)], Tensor("y", (2, 3, 3), 1.0, 0), parameters)
    for name, value in changes.items():
        setattr(case, name, value)
    case.topology = Topology("case", (*case.inputs, case.output), (case.layer,), "x", "y")
    return case


LAYER = conv_case().layer
ONE = Parameters(None, None, *fixed([0.1]))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"output": Tensor("y", (2, 4, 3), 1.0, 0)}, "declared"),
        ({"output": Tensor("y", (3, 3, 3), 1.0, 0)}, "declared"),
        ({"inputs": [Tensor("x", (50,), 1.0, 0)]}, r"\(C, H, W\)"),
        ({"inputs": [Tensor("x", (2, 2, 5), 1.0, 0)]}, "does not fit"),
        ({"inputs": [Tensor("x", (3, 5, 5), 1.0, 0)]}, "needs weights"),
        ({"layer": replace(LAYER, window=None)}, "needs a window"),
        ({"layer": replace(LAYER, groups=3)}, "groups"),
        ({"layer": replace(LAYER, groups=2)}, "needs weights"),
        ({"layer": replace(LAYER, low=5, high=4)}, "clamp"),
        ({"parameters": None}, "needs parameters"),
        ({"parameters": ONE}, "weights and biases"),
        (
            {"parameters": Parameters(np.ones((2, 2, 3, 3), np.int8), np.zeros(2, np.int32), *fixed([1.0]))},
            "multipliers",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(changes: dict[str, object], match: str) -> None:
    case = conv_case(**changes)
    with pytest.raises(TopologyError, match=match) as caught:
        prepare(case.layer, case.topology, case.parameters)
    assert "conv9" in str(caught.value)


def plain(kind: Kind, parameters: Parameters | None, **fields: object) -> Case:
    shape = (1, 1, 1) if kind is Kind.GLOBAL_AVERAGE_POOL else (1, 4, 4)
    layer = Layer("layer5", kind, ("x",), "y", **fields)  # type: ignore[arg-type]
    return Case(layer, [Tensor("x", (1, 4, 4), 1.0, 0)], Tensor("y", shape, 1.0, 0), parameters)


def test_other_kinds_refuse_what_they_cannot_use() -> None:
    weights = Parameters(np.ones((1, 16), np.int8), np.zeros(1, np.int32), *fixed([1.0]))
    two = Parameters(None, None, *fixed([1.0, 1.0]))
    gap = Window((2, 2), padding=(1, 1, 1, 1), dilation=(9, 9), stride=(1, 1))
    for case, match in [
        (plain(Kind.IDENTITY, ONE), "takes no parameters"),
        (plain(Kind.GLOBAL_AVERAGE_POOL, weights), "takes no weights"),
        (plain(Kind.GLOBAL_AVERAGE_POOL, two), "needs 1 multiplier"),
        (plain(Kind.ADD, two), "two inputs"),
        (plain(Kind.MAX_POOL, None, window=gap), "does not fit"),
    ]:
        with pytest.raises(TopologyError, match=match):
            prepare(case.layer, case.topology, case.parameters)


def test_a_pool_over_padding_alone_is_refused() -> None:
    window = Window((1, 1), padding=(1, 0, 0, 0))
    for kind, parameters in ((Kind.MAX_POOL, None), (Kind.AVERAGE_POOL, ONE)):
        layer = Layer("pool3", kind, ("x",), "y", window)
        case = Case(layer, [Tensor("x", (1, 4, 4), 1.0, 0)], Tensor("y", (1, 5, 4), 1.0, 0), parameters)
        with pytest.raises(TopologyError, match=r"pool3.*padding"):
            prepare(layer, case.topology, parameters)


def test_max_pool_and_identity_cannot_change_the_scale() -> None:
    case = plain(Kind.IDENTITY, None)
    other = Case(case.layer, case.inputs, replace(case.output, scale=2.0), None)
    with pytest.raises(TopologyError, match="one scale"):
        prepare(other.layer, other.topology, None)


def test_scales_too_far_apart_are_refused_by_add() -> None:
    shape = (1,)
    inputs = [Tensor("a", shape, 1.0, 0), Tensor("b", shape, 1.0, 0)]
    layer = Layer("add1", Kind.ADD, ("a", "b"), "y")
    case = Case(layer, inputs, Tensor("y", shape, 1.0, 0), Parameters(None, None, *fixed([1.0, 2.0**-29])))
    with pytest.raises(TopologyError, match=r"add1.*factor"):
        prepare(layer, case.topology, case.parameters)


def test_arrays_of_another_shape_or_type_are_refused() -> None:
    case = conv_case()
    for array in (np.zeros((1, 2, 5, 4), np.int8), np.zeros((1, 2, 5, 5), np.uint8), np.zeros((), np.int8)):
        with pytest.raises(TopologyError, match="conv9"):
            case.run([array])
    with pytest.raises(TopologyError, match="takes 1 input"):
        case.run([])


# A small network


def small() -> tuple[Topology, dict[str, bytes]]:
    conv = Parameters(values((4, 1, 3, 3), 1, False), np.zeros(4, np.int32), *fixed([0.01] * 4))
    dense = Parameters(values((3, 16), 2, False), np.array([5, -5, 0], np.int32), *fixed([0.01] * 3))
    blobs = {digest_of(content): content for content in map(pack_parameters, (conv, dense))}
    first, second = blobs
    window = Window((3, 3), padding=(1, 1, 1, 1))
    tensors = (
        Tensor("x", (1, 4, 4), 1.0, 0),
        Tensor("c", (4, 4, 4), 1.0, -128),
        Tensor("p", (4, 2, 2), 1.0, -128),
        Tensor("y", (3,), 1.0, 0),
    )
    layers = (
        Layer("conv1", Kind.CONV2D, ("x",), "c", window, parameters=first),
        Layer("pool1", Kind.MAX_POOL, ("c",), "p", Window((2, 2), (2, 2))),
        Layer("dense1", Kind.DENSE, ("p",), "y", parameters=second),
    )
    return Topology("small", tensors, layers, "x", "y"), blobs


def test_evaluate_gives_every_tensor_and_stops_where_told() -> None:
    topology, blobs = small()
    x = values((5, 1, 4, 4), 3, False)
    found = evaluate(topology, blobs, x)
    assert list(found) == ["x", "c", "p", "y"]
    assert {name: array.shape for name, array in found.items()} == {
        tensor.name: (5, *tensor.shape) for tensor in topology.tensors
    }
    assert list(evaluate(topology, blobs, x, upto="c")) == ["x", "c"]
    for row in range(5):
        np.testing.assert_array_equal(evaluate(topology, blobs, x[row : row + 1])["y"][0], found["y"][row])


def test_evaluate_names_a_layer_whose_parameters_are_missing() -> None:
    topology, blobs = small()
    blobs.pop(topology.layers[2].parameters or "")
    with pytest.raises(TopologyError, match="dense1"):
        evaluate(topology, blobs, values((1, 1, 4, 4), 3, False))
