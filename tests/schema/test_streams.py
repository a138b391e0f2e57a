"""Words as the kernels' streams carry them: the first byte lowest, channels innermost, and back."""

from __future__ import annotations

import numpy as np
import pytest
from convoy_schema.errors import TopologyError
from convoy_schema.layers import Parameters
from convoy_schema.streams import (
    Blocks,
    dense_tile,
    pack_inputs,
    pack_parameters,
    pack_tensor,
    parameter_passes,
    sample_words,
    scale_words,
    unpack_tensor,
)
from convoy_schema.tiles import CONV2D, DENSE
from convoy_schema.topology import Kind, Layer, Tensor, Window
from hypothesis import given
from hypothesis import strategies as st

SHAPES = st.one_of(st.tuples(st.integers(1, 40)), st.tuples(st.integers(1, 20), st.integers(1, 5), st.integers(1, 5)))


@given(shape=SHAPES, rows=st.integers(1, 3), seed=st.integers(0, 100))
def test_a_tensor_comes_back(shape: tuple[int, ...], rows: int, seed: int) -> None:
    array = np.random.default_rng(seed).integers(-128, 128, (rows, *shape)).astype(np.int8)
    words = pack_tensor(array)
    assert words.dtype == np.uint64
    assert words.size == rows * sample_words(shape)
    np.testing.assert_array_equal(unpack_tensor(words, rows, shape), array)


def test_channels_are_innermost_and_the_first_is_lowest() -> None:
    array = np.arange(1, 5, dtype=np.int8).reshape(1, 2, 1, 2)  # channel 0: 1 2, channel 1: 3 4
    assert [hex(word) for word in pack_tensor(array)] == ["0x301", "0x402"]
    assert [hex(word) for word in pack_tensor(-np.ones((1, 9), np.int8))] == ["0x" + "ff" * 8, "0xff"]


def test_inputs_take_turns() -> None:
    first, second = np.arange(1, 10, dtype=np.int8)[None], np.arange(11, 20, dtype=np.int8)[None]
    lowest = [int(word) & 0xFF for word in pack_inputs(Kind.ADD, [first, second])]
    assert lowest == [1, 11, 9, 19]
    lowest = [int(word) & 0xFF for word in pack_inputs(Kind.CONCAT, [first, second])]
    assert lowest == [1, 9, 11, 19]


def test_a_kernel_that_wrote_too_little_is_told() -> None:
    with pytest.raises(TopologyError, match="take 4 words, 3 came"):
        unpack_tensor(np.zeros(3, np.uint64), 2, (9,))


def test_a_scale() -> None:
    (word,) = scale_words(np.array([-2], np.int32), np.array([0xC00001], np.int32), np.array([33], np.int32))
    assert int(word) == 33 << 56 | 0xC00001 << 32 | 0xFFFFFFFE


def parameters(*shape: int) -> Parameters:
    ones = np.ones(shape[0], np.int32)
    return Parameters(np.full(shape, 7, np.int8), ones, ones << 23, ones)


def test_a_block_sees_the_words_of_its_groups_alone() -> None:
    layer = Layer("c", Kind.CONV2D, ("x",), "y", Window((1, 1)), groups=32)
    source, output = Tensor("x", (32, 1, 1), 1.0, 0), Tensor("y", (32, 1, 1), 1.0, 0)
    blocks = Blocks(layer, source, output, CONV2D)
    assert blocks.spans == tuple((block // 2, 1) for block in range(8))
    stream = pack_parameters(layer, [source], output, parameters(32, 1, 1, 1))
    assert stream.held
    assert stream.load.size == 8 + 8 * (4 + 4)
    assert [hex(word) for word in stream.load[8 + 4 : 8 + 8]] == ["0x7", "0x700", "0x70000", "0x7000000"]


def test_what_does_not_fit_passes_by() -> None:
    layer = Layer("d", Kind.DENSE, ("x",), "y")
    source, output = Tensor("x", (512,), 1.0, 0), Tensor("y", (100,), 1.0, 0)
    stream = pack_parameters(layer, [source], output, parameters(100, 512))
    assert not stream.held
    assert (stream.load.size, stream.each_pass.size) == (0, 25 * 4 * (1 + 64))
    blocks = Blocks(layer, source, output, DENSE)
    assert (dense_tile(blocks, 1000), dense_tile(blocks, 3)) == (64, 3)
    assert [parameter_passes(layer, output, rows, blocks) for rows in (1, 64, 65)] == [1, 1, 2]


def test_a_layer_without_parameters_sends_none() -> None:
    tensor = Tensor("x", (8,), 1.0, 0)
    stream = pack_parameters(Layer("i", Kind.IDENTITY, ("x",), "y"), [tensor], tensor, None)
    assert stream.held
    assert stream.load.size == 0
