"""What conv2d and dense share: parameters held or passing, new ones between two images, limits, tiles."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import convoy_hls
import numpy as np
import pytest
from convoy_hls import KernelError, Library
from convoy_schema.fixedpoint import fixed_point
from convoy_schema.layers import Parameters, output_shape, prepare
from convoy_schema.streams import Blocks, pack_parameters, parameter_passes
from convoy_schema.tiles import CONV2D, DENSE, WeightedTile
from convoy_schema.topology import Kind, Layer, Tensor, Window
from hls_cases import EXAMPLES, Case, check, convolutions, dense_layers
from hls_tiles import CONVOLUTIONS, DENSES, Instance
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

INCLUDE = Path(convoy_hls.__file__).parent / "include/convoy"


def convolution(channels: int, out: int, size: int, window: Window, groups: int = 1, seed: int = 0) -> Case:
    layer = Layer("conv1", Kind.CONV2D, ("x",), "y", window, groups)
    source = Tensor("x", (channels, size, size), 1.0, 3)
    shape = output_shape(layer, [source.shape], out)
    parameters = some_parameters((out, channels // groups, *window.kernel), seed)
    return Case(layer, [source], Tensor("y", shape, 1.0, -5), parameters, seed)


def dense(features: int, out: int, seed: int = 0) -> Case:
    layer = Layer("dense1", Kind.DENSE, ("x",), "y")
    return Case(
        layer, [Tensor("x", (features,), 1.0, 3)], Tensor("y", (out,), 1.0, -5),
        some_parameters((out, features), seed), seed,
    )  # fmt: skip


def some_parameters(shape: tuple[int, ...], seed: int) -> Parameters:
    random = np.random.default_rng(seed)
    multiplier, shift = fixed_point(0.01)
    return Parameters(
        random.integers(-128, 128, shape).astype(np.int8),
        random.integers(-1000, 1000, shape[0]).astype(np.int32),
        np.full(shape[0], multiplier, np.int32),
        np.full(shape[0], shift, np.int32),
    )


LARGE = {
    "resnet's 64 channels": convolution(64, 64, 10, Window((3, 3), padding=(1, 1, 1, 1))),
    "chunks of a block": convolution(520, 4, 4, Window((3, 3))),
    "mobilenet's depthwise": convolution(96, 96, 9, Window((3, 3), (2, 2), (1, 1, 1, 1)), groups=96),
    "mobilenet's pointwise": convolution(24, 144, 7, Window((1, 1))),
    "a first layer": convolution(3, 16, 40, Window((7, 7), (2, 2), (3, 3, 3, 3))),
    "many channels": convolution(8, 1030, 2, Window((1, 1))),
    "no room for the next rows": convolution(512, 4, 20, Window((3, 3))),
    "no room for two rows of results": convolution(8, 240, 40, Window((1, 1))),
    "dense in chunks": dense(5000, 7),
    "dense of many": dense(30, 700),
    "dense held": dense(400, 36),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_layers_of_the_library(counting: Library, name: str) -> None:
    case = LARGE[name]
    instance = CONVOLUTIONS[0] if case.layer.kind is Kind.CONV2D else DENSES[0]
    assert instance.limits.refusal(case.layer, case.inputs, case.output) == ""
    check(case, 3, instance.kernel(counting), counting, instance.load, instance.run)


#: (input, output channels, kernel, stride, groups): the largest of each sort in ResNet-50 and MobileNet v2.
KNOWN = [
    ((3, 224, 224), 64, 7, 2, 1),
    ((64, 56, 56), 256, 1, 1, 1),
    ((64, 56, 56), 64, 3, 1, 1),
    ((128, 56, 56), 128, 3, 2, 1),
    ((256, 56, 56), 512, 1, 2, 1),
    ((512, 28, 28), 1024, 1, 2, 1),
    ((1024, 14, 14), 2048, 1, 2, 1),
    ((2048, 7, 7), 512, 1, 1, 1),
    ((3, 224, 224), 32, 3, 2, 1),
    ((16, 112, 112), 96, 1, 1, 1),
    ((96, 112, 112), 96, 3, 2, 96),
    ((144, 56, 56), 144, 3, 1, 144),
    ((320, 7, 7), 1280, 1, 1, 1),
]


@pytest.mark.parametrize(("shape", "out", "kernel", "stride", "groups"), KNOWN)
def test_layers_of_well_known_networks_fit(
    shape: tuple[int, int, int], out: int, kernel: int, stride: int, groups: int
) -> None:
    padding = (kernel // 2,) * 4
    window = Window((kernel, kernel), (stride, stride), (padding[0], padding[1], padding[2], padding[3]))
    layer = Layer("c", Kind.CONV2D, ("x",), "y", window, groups)
    output = Tensor("y", output_shape(layer, [shape], out), 1.0, 0)
    assert CONVOLUTIONS[0].limits.refusal(layer, [Tensor("x", shape, 1.0, 0)], output) == ""


def test_some_of_them_are_held_and_some_pass_by() -> None:
    passing = set()
    for name, case in LARGE.items():
        tile = CONV2D if case.layer.kind is Kind.CONV2D else DENSE
        blocks = Blocks(case.layer, case.inputs[0], case.output, tile)
        stream = pack_parameters(case.layer, case.inputs, case.output, case.parameters)
        assert stream.held == blocks.held
        assert (parameter_passes(case.layer, case.output, 3, blocks) == 0) == stream.held
        passing |= set() if stream.held else {name}
    assert {"resnet's 64 channels", "chunks of a block", "dense in chunks"} <= passing
    assert "dense held" not in passing


@pytest.mark.parametrize(
    ("instance", "case"),
    [
        (CONVOLUTIONS[0], convolution(6, 10, 8, Window((3, 3)))),
        (CONVOLUTIONS[1], convolution(6, 10, 8, Window((3, 3)))),
        (DENSES[0], dense(100, 12)),
        (DENSES[1], dense(100, 12)),
    ],
)
def test_new_parameters_between_two_images(counting: Library, instance: Instance, case: Case) -> None:
    kernel = instance.kernel(counting)
    image = case.arrays(1)
    assert case.parameters is not None
    assert case.parameters.weights is not None
    new = some_parameters(case.parameters.weights.shape, 99)
    old_result = prepare(case.layer, case.topology, case.parameters).run(image)
    new_result = prepare(case.layer, case.topology, new).run(image)
    assert (old_result != new_result).any()
    loaded = kernel.load(case.layer, case.inputs, case.output, case.parameters)
    np.testing.assert_array_equal(loaded.run(image), old_result)
    np.testing.assert_array_equal(loaded.run(image), old_result)
    np.testing.assert_array_equal(kernel.load(case.layer, case.inputs, case.output, new).run(image), new_result)


def test_two_copies_of_the_kernels_keep_their_own_parameters(counting: Library) -> None:
    case, image = LARGE["dense held"], LARGE["dense held"].arrays(1)
    instance = DENSES[0]
    one = instance.kernel(counting).load(case.layer, case.inputs, case.output, case.parameters)
    before = one.run(image)
    other = instance.kernel(Library(counting.path))
    other.load(case.layer, case.inputs, case.output, some_parameters((36, 400), 5))
    np.testing.assert_array_equal(one.run(image), before)


@settings(max_examples=EXAMPLES // 3, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    case=st.one_of(
        st.tuples(st.sampled_from(CONVOLUTIONS[1:]), convolutions(60)),
        st.tuples(st.sampled_from(DENSES[1:]), dense_layers(3000, 600)),
    )
)
def test_a_kernel_refuses_what_its_limits_refuse(counting: Library, case: tuple[Instance, Case]) -> None:
    instance, drawn = case
    drawn.prepared()
    refused = bool(instance.limits.refusal(drawn.layer, drawn.inputs, drawn.output))
    kernel = instance.kernel(counting)
    with pytest.raises(KernelError, match="limits") if refused else contextlib.nullcontext():
        kernel.load(drawn.layer, drawn.inputs, drawn.output, drawn.parameters).run(drawn.arrays(1))


def test_a_range_beside_the_position_reads_nothing_beside_the_line(counting: Library) -> None:
    case = convolution(6, 4, 4, Window((1, 1)))
    stream = pack_parameters(case.layer, case.inputs, case.output, case.parameters)
    kernel = CONVOLUTIONS[0].kernel(counting)
    loaded = kernel.load(case.layer, case.inputs, case.output, case.parameters)
    expected = loaded.run(case.arrays(1))
    wrong = stream.load.copy()
    wrong[0] = 0xFFFF | 0xFFFF << 16
    registers = loaded.registers | {"command": 1}
    kernel.start(registers, stream.load[:0], wrong, 0)
    np.testing.assert_array_equal(loaded.run(case.arrays(1)), expected)


def constants(struct: str) -> dict[str, int]:
    text = (INCLUDE / "tiles.hpp").read_text(encoding="utf-8")
    body = re.search(rf"struct {struct} [^{{]*\{{(.*?)\n\}};", text, re.DOTALL)
    assert body is not None
    return {name: int(value) for name, value in re.findall(r"int32_t (\w+) = (\d+);", body[1])}


@pytest.mark.parametrize(("core", "tile"), [("conv2d", CONV2D), ("dense", DENSE)])
def test_the_tiles_are_those_of_the_source(core: str, tile: WeightedTile) -> None:
    found = constants("WeightedTile")
    names = ("LINE", "DEPTH", "SCALES", "ROW", "ENTRIES") + (("BLOCKS", "WINDOW") if core == "conv2d" else ())
    assert [found[name] for name in names] == [getattr(tile, name.lower()) for name in names]
    source = (INCLUDE.parents[1] / f"kernels/{core}.cpp").read_text(encoding="utf-8")
    assert f"{core}<{tile.pe}, {tile.simd}, {tile.rate}, " in source
