"""Activations and parameters as the kernels' streams carry them: 64-bit words, the first byte lowest.

The one place that knows the order; the board's fabric and the one that runs the kernels under g++ call it. A tensor is
a sequence of positions (a flat one is a single position), each its channels padded with zeros to whole words: a frame's
(C, H, W) becomes H * W positions of ceil(C / 8) words. What the words mean to a kernel is in hls/README.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convoy_schema.errors import TopologyError
from convoy_schema.parameters import Parameters
from convoy_schema.registers import WORD_BYTES
from convoy_schema.tiles import CONV2D, DENSE, WeightedTile
from convoy_schema.topology import Kind, Layer, Tensor

Words = NDArray[np.uint64]
Int8 = NDArray[np.int8]


def words_of(channels: int) -> int:
    """Words of one position of so many channels."""
    return -(-channels // WORD_BYTES)


def sample_words(shape: tuple[int, ...]) -> int:
    """Words of one sample of a tensor (C, H, W) or (N,)."""
    return math.prod(shape[1:]) * words_of(shape[0])


def pack_tensor(array: Int8) -> Words:
    """Words of int8 (rows, C, H, W) or (rows, N), one sample after the other."""
    return _positions(array).reshape(-1)


def unpack_tensor(words: Words, rows: int, shape: tuple[int, ...]) -> Int8:
    """int8 (rows, *shape) of what a kernel wrote."""
    channels, rest = shape[0], shape[1:]
    expected = rows * sample_words(shape)
    if words.size != expected:
        raise TopologyError(f"{rows} samples of {shape} take {expected} words, {words.size} came")
    taken = np.ascontiguousarray(words, "<u8").view(np.int8)
    found = taken.reshape(rows, math.prod(rest), -1)[:, :, :channels].swapaxes(1, 2)
    return np.ascontiguousarray(found).reshape(rows, *shape)


def pack_inputs(kind: Kind, arrays: Sequence[Int8]) -> Words:
    """The input stream of a layer: one tensor; of concat's inputs the positions in turn, of add's the words in turn."""
    positions = [_positions(array) for array in arrays]  # (rows, positions, words)
    if kind is Kind.ADD:
        return np.stack(positions, axis=-1).reshape(-1)
    return np.concatenate(positions, axis=2).reshape(-1)


def _positions(array: Int8) -> Words:
    rows, channels = array.shape[:2]
    padded = np.zeros((rows, math.prod(array.shape[2:]), words_of(channels) * WORD_BYTES), np.int8)
    padded[:, :, :channels] = array.reshape(rows, channels, -1).swapaxes(1, 2)
    return padded.view("<u8").astype(np.uint64, copy=False)


@dataclass(frozen=True)
class ParameterStream:
    """A layer's parameters for one kernel: what `LOAD` takes once, and what one pass of `RUN` takes again."""

    load: Words
    each_pass: Words

    @property
    def held(self) -> bool:
        """Whether the kernel keeps them, so that a run needs none."""
        return self.each_pass.size == 0


def pack_parameters(
    layer: Layer,
    inputs: Sequence[Tensor],
    output: Tensor,
    parameters: Parameters | None,
    tile: WeightedTile | None = None,
) -> ParameterStream:
    """The parameter stream of a layer that `convoy_schema.layers.prepare` accepts; `tile` other than the library's."""
    none = np.zeros(0, np.uint64)
    if parameters is None:
        return ParameterStream(none, none)
    if layer.kind in (Kind.CONV2D, Kind.DENSE):
        blocks = Blocks(layer, inputs[0], output, tile or (CONV2D if layer.kind is Kind.CONV2D else DENSE))
        body = _weights(blocks, layer, inputs[0], parameters)
        return ParameterStream(np.concatenate([blocks.ranges, body]), none) if blocks.held else _passing(blocks, body)
    offsets: NDArray[np.int32] = np.zeros(parameters.multiplier.size, np.int32)
    if layer.kind in (Kind.ADD, Kind.CONCAT):
        offsets = np.array([tensor.zero_point for tensor in inputs], np.int32)
    scales = scale_words(offsets, parameters.multiplier, parameters.shift)
    if layer.kind is Kind.CONCAT:
        channels = np.array([tensor.shape[0] for tensor in inputs], np.uint64)
        scales = np.stack([scales, channels], axis=1).reshape(-1)
    return ParameterStream(scales, none)


def scale_words(offset: NDArray[np.int32], multiplier: NDArray[np.int32], shift: NDArray[np.int32]) -> Words:
    """One word a scale: the offset (a bias, or an input's zero point) in 32 bits, 24 of multiplier, 6 of shift."""
    low: Words = offset.astype(np.uint32).astype(np.uint64)
    return np.asarray(low | multiplier.astype(np.uint64) << np.uint64(32) | shift.astype(np.uint64) << np.uint64(56))


def _passing(blocks: Blocks, body: Words) -> ParameterStream:
    return ParameterStream(blocks.ranges, body)


class Blocks:
    """How a conv2d's or dense layer's output channels come in blocks, and the input range of each.

    `spans` is (first word, words) for each block; `steps` the steps (pe words of weights) of each.
    """

    def __init__(self, layer: Layer, source: Tensor, output: Tensor, tile: WeightedTile) -> None:
        self.tile = tile
        self.channels = output.shape[0]
        self.count = -(-self.channels // tile.pe)
        self.spans: tuple[tuple[int, int], ...]
        self.steps: NDArray[np.int64]
        self.ranges: Words
        if layer.kind is Kind.DENSE:
            self.spans = ((0, sample_words(source.shape)),)
            self.steps = np.full(self.count, self.spans[0][1], np.int64)
            self.ranges = np.zeros(0, np.uint64)
        else:
            assert layer.window is not None
            each_in, each_out = source.shape[0] // layer.groups, self.channels // layer.groups
            self.spans = tuple(self._span(block, each_in, each_out) for block in range(self.count))
            taps = math.prod(layer.window.kernel)
            self.steps = np.array([words * taps for _, words in self.spans], np.int64)
            self.ranges = np.array([first | words << 16 for first, words in self.spans], np.uint64)
        deep = self.count * tile.pe <= tile.scales
        self.held = deep and int(self.steps.sum()) <= tile.depth

    def _span(self, block: int, each_in: int, each_out: int) -> tuple[int, int]:
        first, last = block * self.tile.pe, min((block + 1) * self.tile.pe, self.channels) - 1
        lowest, highest = first // each_out * each_in, (last // each_out + 1) * each_in
        return lowest // WORD_BYTES, words_of(highest) - lowest // WORD_BYTES


def _weights(blocks: Blocks, layer: Layer, source: Tensor, parameters: Parameters) -> Words:
    """For each block its scales (pe words), then for each tap and input word pe words of eight weights."""
    assert parameters.weights is not None
    assert parameters.bias is not None
    pe, count = blocks.tile.pe, blocks.count
    scales = np.zeros(count * pe, np.uint64)
    scales[: blocks.channels] = scale_words(parameters.bias, parameters.multiplier, parameters.shift)
    lanes = np.zeros((count * pe, *_taps(layer, source, parameters.weights).shape[1:]), np.int8)
    lanes[: blocks.channels] = _taps(layer, source, parameters.weights)
    words = lanes.view("<u8").astype(np.uint64, copy=False)  # (channels, taps, words)
    parts: list[Words] = []
    for block, rows in enumerate(_in_blocks(words, pe)):
        first, length = blocks.spans[0 if len(blocks.spans) == 1 else block]
        parts += [scales[block * pe : (block + 1) * pe], rows[:, :, first : first + length].transpose(1, 2, 0).ravel()]
    return np.concatenate(parts)


def _in_blocks(words: Words, pe: int) -> Iterator[Words]:
    for first in range(0, len(words), pe):
        yield words[first : first + pe]


def _taps(layer: Layer, source: Tensor, weights: Int8) -> Int8:
    """Weights as (out, taps, input channels padded to words), zero where an output does not see the channel."""
    if layer.kind is Kind.DENSE:
        channels = source.shape[0]
        padded = np.zeros((len(weights), math.prod(source.shape[1:]), words_of(channels) * WORD_BYTES), np.int8)
        padded[:, :, :channels] = weights.reshape(len(weights), channels, -1).swapaxes(1, 2)
        return padded.reshape(len(weights), 1, -1)
    out, each_in = weights.shape[:2]
    each_out = out // layer.groups
    flat = weights.reshape(out, each_in, -1).swapaxes(1, 2)  # (out, taps, channels of the group)
    padded = np.zeros((out, flat.shape[1], words_of(source.shape[0]) * WORD_BYTES), np.int8)
    for group in range(layer.groups):
        outputs = slice(group * each_out, (group + 1) * each_out)
        padded[outputs, :, group * each_in : (group + 1) * each_in] = flat[outputs]
    return padded


def parameter_passes(layer: Layer, output: Tensor, rows: int, blocks: Blocks) -> int:
    """How often a run of `rows` samples takes `ParameterStream.each_pass`: 0 when the kernel holds them."""
    if blocks.held:
        return 0
    if layer.kind is Kind.CONV2D:
        return rows * output.shape[1]
    return -(-rows // dense_tile(blocks, rows))


def dense_tile(blocks: Blocks, rows: int) -> int:
    """Samples that a dense kernel treats together."""
    tile = blocks.tile
    return max(1, min(tile.line // blocks.spans[0][1], tile.entries // blocks.count, tile.row, rows))
