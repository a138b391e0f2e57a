"""Cycles of whole commands, by layers worked out by hand; loop by loop the kernels are the test (tests/hls)."""

from __future__ import annotations

import pytest
from convoy_schema import cycles
from convoy_schema.topology import Kind, Layer, Tensor, Window

FIVE = Window((5, 5))
#: LeNet-5's layers: (kind, window, input, output).
LENET5 = {
    "conv1": (Kind.CONV2D, Window((5, 5), padding=(2, 2, 2, 2)), (1, 28, 28), (6, 28, 28)),
    "pool1": (Kind.MAX_POOL, Window((2, 2), (2, 2)), (6, 28, 28), (6, 14, 14)),
    "conv2": (Kind.CONV2D, FIVE, (6, 14, 14), (16, 10, 10)),
    "pool2": (Kind.MAX_POOL, Window((2, 2), (2, 2)), (16, 10, 10), (16, 5, 5)),
    "dense1": (Kind.DENSE, None, (16, 5, 5), (120,)),
    "dense2": (Kind.DENSE, None, (120,), (84,)),
    "dense3": (Kind.DENSE, None, (84,), (10,)),
}


def described(name: str) -> tuple[Layer, list[Tensor], Tensor]:
    kind, window, source, output = LENET5[name]
    return Layer(name, kind, ("x",), "y", window), [Tensor("x", source, 1.0, 0)], Tensor("y", output, 1.0, 0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("conv1", 9_557), ("pool1", 970), ("conv2", 11_239), ("pool2", 289), ("dense1", 8_669), ("dense2", 948)],
)
def test_one_image(name: str, expected: int) -> None:
    assert cycles.run(*described(name), 1) == expected


def test_weights_that_pass_by_pass_once_for_a_tile_of_samples() -> None:
    dense = described("dense1")
    # 50 words arrive and 30 blocks leave for each sample; the weights of 30 blocks of 50 steps come once.
    once = 30 * 4 * 51 + 30 * (4 + 24 + 4) + 4 + 5
    assert cycles.run(*dense, 64) == 64 * (50 + 30 * 50 + 30) + once
    assert cycles.run(*dense, 1) == 50 + 30 * 50 + 30 + once


def test_samples_of_a_convolution_share_nothing() -> None:
    assert cycles.run(*described("conv2"), 9) == 9 * cycles.run(*described("conv2"), 1)


def test_no_sample_takes_no_cycle() -> None:
    assert cycles.run(*described("dense1"), 0) == 0


def test_what_is_held_takes_cycles_to_load_and_what_passes_by_only_its_ranges() -> None:
    assert cycles.load(*described("dense3")) == 3 * 4 * (11 + 1) + 3 * 4
    assert cycles.load(*described("conv2")) == 4 + 6 + 4 * 4 * (25 + 1) + 4 * 4
    assert cycles.load(*described("dense1")) == 0
    assert cycles.load(*described("pool1")) == 0


def test_a_layer_beyond_its_kernel_has_the_cycles_of_a_larger_one() -> None:
    layer = Layer("conv1", Kind.CONV2D, ("x",), "y", Window((3, 3), padding=(1, 1, 1, 1)))
    source, output = Tensor("x", (64, 224, 224), 1.0, 0), Tensor("y", (64, 224, 224), 1.0, 0)
    assert cycles.run(layer, [source], output, 1) > 224 * 224 * 64 * 64 * 9 // 32
