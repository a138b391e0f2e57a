"""The NumPy kernels behind `convoy_schema.layers`: exact, and as fast as BLAS and strided copies allow.

Sums of products run in float32 where the worst case that the actual weights allow is below 2 ** 24, else in float64;
biases are added in float64. So no result depends on a sum's order. `fixedpoint` requantises what comes out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from convoy_schema.costs import swept, window_of
from convoy_schema.errors import TopologyError
from convoy_schema.fixedpoint import Requantiser, round_shift
from convoy_schema.parameters import Parameters
from convoy_schema.topology import Kind, Layer, Tensor, Window

Array = NDArray[np.int8]
Kernel = Callable[[Sequence[Array]], Array]
#: A ufunc of two arrays.
Combine = Callable[..., Any]
Number = TypeVar("Number", bound=np.signedinteger[Any])

#: Scratch of a convolution, in elements: what stays in the cache while BLAS reads it.
TILE = 192 * 1024
#: How much wider than the output scratch of a convolution may be, so that its taps lie together.
MOST_WASTE = 1.5
#: Shifts of the two inputs of an add may differ by this much, so that their common fixed point fits int64.
MAX_SPREAD = 28
_LEAST = -128


def choose(layer: Layer, inputs: Sequence[Tensor], output: Tensor, parameters: Parameters | None) -> Kernel:
    """The kernel for `layer`, whose shapes were checked; raises `TopologyError` for parameters that do not fit it."""
    if layer.kind in (Kind.MAX_POOL, Kind.IDENTITY):
        if parameters is not None:
            raise _wrong(layer, "takes no parameters")
        if (inputs[0].scale, inputs[0].zero_point) != (output.scale, output.zero_point):
            raise _wrong(layer, "must have one scale and zero point for input and output")
        return _identity(layer) if layer.kind is Kind.IDENTITY else MaxPool(layer, inputs[0])
    if parameters is None:
        raise _wrong(layer, "needs parameters")
    if (parameters.weights is not None) != (layer.kind in (Kind.CONV2D, Kind.DENSE)):
        raise _wrong(layer, "needs weights and biases" if parameters.weights is None else "takes no weights")
    if layer.kind is Kind.CONV2D:
        return Convolution(layer, inputs[0], output, parameters)
    if layer.kind is Kind.DENSE:
        return Dense(layer, inputs[0], output, parameters)
    if layer.kind in (Kind.ADD, Kind.CONCAT):
        make = add if layer.kind is Kind.ADD else concat
        return make(layer, inputs, output, parameters)
    return AveragePool(layer, inputs[0], output, parameters)


def _wrong(layer: Layer, what: str) -> TopologyError:
    return TopologyError(f"layer {layer.name}: a {layer.kind.value} {what}", layer=layer.name)


def _expect_scales(layer: Layer, parameters: Parameters, count: int) -> None:
    if parameters.multiplier.size != count:
        raise _wrong(layer, f"needs {count} multipliers here, {parameters.multiplier.size} came")


def _reach(tensor: Tensor) -> int:
    """The largest |x - zero point| of an int8."""
    return max(127 - tensor.zero_point, tensor.zero_point + 128)


class _Weighted:
    """What conv2d and dense share: the accumulator's bound, the width in which sums are exact, bias and requantisation.

    Sums run over x rather than x - zero point, with zero point times the sum of the weights taken off the bias: the
    same accumulator, from smaller terms.
    """

    def __init__(self, layer: Layer, source: Tensor, output: Tensor, parameters: Parameters, taps: int) -> None:
        assert parameters.weights is not None
        assert parameters.bias is not None
        channels = output.shape[0]
        flat = parameters.weights.reshape(channels, -1)
        if flat.shape[1] != taps:
            raise _wrong(layer, f"needs {taps} weights an output here, {flat.shape[1]} came")
        _expect_scales(layer, parameters, channels)
        bias = parameters.bias.astype(np.int64)
        sums = np.abs(flat, dtype=np.int16).sum(1, dtype=np.int64)
        bound = sums * _reach(source) + np.abs(bias)
        if bound.max() >= 2**31:
            raise _wrong(layer, f"could reach {bound.max()} in an int32 accumulator: scale its weights or bias down")
        self.dtype: type[np.floating[Any]] = np.float32 if int(sums.max()) * 128 < 2**24 else np.float64
        self.weights: NDArray[Any] = flat.astype(self.dtype)
        # An accumulator is added up in float64: one channel with a large bias, as importers give to dead ones, would
        # otherwise cost all of them float32.
        self.bias = (bias - source.zero_point * flat.sum(1, dtype=np.int64)).astype(np.float64)
        scales = (parameters.multiplier, parameters.shift, bound)
        if layer.kind is Kind.CONV2D:  # (channels, positions)
            scales = (scales[0][:, None], scales[1][:, None], scales[2][:, None])
        self.requantise = Requantiser(*scales, output.zero_point, (layer.low, layer.high))


class Dense(_Weighted):
    """(rows, anything) flattened in C order, times (out, in)."""

    def __init__(self, layer: Layer, source: Tensor, output: Tensor, parameters: Parameters) -> None:
        super().__init__(layer, source, output, parameters, source.size)

    def __call__(self, inputs: Sequence[Array]) -> Array:
        """int8 (rows, out) of one array (rows, *shape)."""
        x = inputs[0]
        sums = x.reshape(len(x), self.weights.shape[1]).astype(self.dtype) @ self.weights.T
        return self.requantise(sums + self.bias)


class Convolution(_Weighted):
    """im2col and one GEMM a group over several samples at once; depthwise adds tap after tap instead."""

    def __init__(self, layer: Layer, source: Tensor, output: Tensor, parameters: Parameters) -> None:
        window, groups = window_of(layer), layer.groups
        channels, depth = output.shape[0], source.shape[0]
        if channels % groups or depth % groups:
            raise _wrong(layer, f"of {depth} to {channels} channels cannot be cut into {groups} groups")
        assert parameters.weights is not None
        shape = (channels, depth // groups, *window.kernel)
        if parameters.weights.shape != shape:
            raise _wrong(layer, f"needs weights {shape}, {parameters.weights.shape} came")
        super().__init__(layer, source, output, parameters, int(np.prod(shape[1:])))
        self.window, self.groups, self.shape = window, groups, output.shape
        self.padded = _Padded(source, window, source.zero_point, self.dtype)
        self.depthwise = depth == groups and groups > 1
        # Scratch memory may be as wide as the input with its border: then what a tap meets lies together, over all
        # rows, and is copied several times as fast; what it makes beside the output is dropped.
        whole, width = self.padded.shape[2], self.shape[2]
        self.is_whole = window.stride == (1, 1) and whole <= MOST_WASTE * width
        self.width = whole if self.is_whole else width

    def __call__(self, inputs: Sequence[Array]) -> Array:
        """int8 (rows, out, H, W) of one array (rows, C, H, W)."""
        x = inputs[0]
        out = np.empty((len(x), *self.shape), np.int8)
        taps, positions = self.weights.shape[1], self.shape[1] * self.width
        work = self.shape[0] if self.depthwise else taps * self.groups
        step = max(1, min(len(x), TILE // (work * positions)))
        band = max(1, min(self.shape[1], TILE // (work * self.width)))
        for first in range(0, len(x), step):
            padded = self.padded.fill(x[first : first + step])
            for top in range(0, self.shape[1], band):
                target = out[first : first + step, :, top : top + band]
                (self._depthwise if self.depthwise else self._grouped)(padded, top, target)
        return out

    def _grouped(self, padded: NDArray[Any], top: int, out: Array) -> None:
        rows, channels, height, width = out.shape
        each = channels // self.groups
        for group in range(self.groups):
            view = self._taps(padded, group, top, height)
            columns: NDArray[Any] = np.empty(view.shape, self.dtype)
            np.copyto(columns, view)
            wanted = slice(group * each, (group + 1) * each)
            sums: NDArray[Any] = self.weights[wanted] @ columns.reshape(-1, rows * height * self.width)
            sums = sums.reshape(each, -1, self.width)[:, :, :width] + self.bias[wanted, None, None]
            made = self.requantise(sums.reshape(each, -1), wanted)
            out[:, wanted] = made.reshape(each, rows, height, width).swapaxes(0, 1)

    def _taps(self, padded: NDArray[Any], group: int, top: int, height: int) -> NDArray[Any]:
        """View (channels of the group, kernel height, kernel width, rows, ...) of `height` output rows from `top`."""
        depth = padded.shape[1] // self.groups
        if not self.is_whole:
            view = _windows(padded, self.window, top, height, self.width)
            return view[:, group * depth : (group + 1) * depth].transpose(1, 2, 3, 0, 4, 5)
        sample, channel, row, column = padded.strides
        below, beside = self.window.dilation
        return np.ndarray(
            (depth, *self.window.kernel, len(padded), height * self.width),
            self.dtype,
            self.padded.buffer,
            group * depth * channel + top * row,
            (channel, row * below, column * beside, sample, column),
        )

    def _depthwise(self, padded: NDArray[Any], top: int, out: Array) -> None:
        rows, channels, height, width = out.shape
        depth = padded.shape[1]
        view = _windows(padded, self.window, top, height, width)
        sums: NDArray[Any] = np.zeros((rows, depth, channels // depth, height, width), self.dtype)
        weights = self.weights.reshape(depth, -1, *self.window.kernel)
        for i in range(self.window.kernel[0]):
            for j in range(self.window.kernel[1]):
                sums += view[:, :, None, i, j] * weights[:, :, i, j, None, None]
        out[:] = self.requantise(sums.reshape(rows, channels, -1) + self.bias[:, None]).reshape(out.shape)


class _Padded:
    """A batch with its border; the border is written once and only the inside for every batch.

    `buffer` is the memory below, flat: as much as a window is wide lies behind the last sample.
    """

    def __init__(self, source: Tensor, window: Window, value: int, dtype: type[np.number[Any]] = np.int8) -> None:
        self.top, self.left, bottom, right = window.padding
        channels, height, width = source.shape
        self.shape = (channels, height + self.top + bottom, width + self.left + right)
        self.inside = (height, width)
        self.value = value
        self.dtype = dtype
        self.behind = (window.kernel[1] - 1) * window.dilation[1]
        self.buffer: NDArray[Any] = np.zeros(self.behind, dtype)
        self.whole: NDArray[Any] = self.buffer[:0].reshape(0, *self.shape)

    def fill(self, x: Array) -> NDArray[Any]:
        """`x` with its border, contiguous, in scratch memory that the next call overwrites."""
        if self.dtype == np.int8 and self.shape[1:] == self.inside:
            return np.ascontiguousarray(x)
        if len(self.whole) < len(x):
            size = len(x) * math.prod(self.shape)
            self.buffer = np.full(size + self.behind, self.value, self.dtype)
            self.whole = self.buffer[:size].reshape(len(x), *self.shape)
        padded = self.whole[: len(x)]
        height, width = self.inside
        padded[:, :, self.top : self.top + height, self.left : self.left + width] = x
        return padded


def _windows(padded: NDArray[Any], window: Window, top: int, height: int, width: int) -> NDArray[Any]:
    """View (rows, channels, kernel height, kernel width, height, width) of output rows [top, top + height)."""
    rows, channels, row, column = padded.strides
    # `as_strided` does the same, and takes longer than the smallest layers.
    return np.ndarray(
        (*padded.shape[:2], *window.kernel, height, width),
        padded.dtype,
        padded,
        top * window.stride[0] * row,
        (
            rows,
            channels,
            row * window.dilation[0],
            column * window.dilation[1],
            row * window.stride[0],
            column * window.stride[1],
        ),
    )


def _sweep(combine: Combine, values: NDArray[Number], window: Window, size: tuple[int, int]) -> NDArray[Number]:
    """`combine` over each window, (rows, channels, *size): down the rows, then along them; a view where it is 1 x 1."""
    for axis, count in enumerate(size):
        step, span = window.stride[axis], (count - 1) * window.stride[axis] + 1
        starts = [tap * window.dilation[axis] for tap in range(window.kernel[axis])]
        before = (slice(None),) * (2 + axis)
        picks = [(*before, slice(start, start + span, step)) for start in starts]
        taps = [values[pick] for pick in picks]
        values = taps[0] if len(taps) == 1 else combine(taps[0], taps[1])
        for tap in taps[2:]:
            combine(values, tap, out=values)
    return values


class MaxPool:
    """The largest of each window; padding is never the largest."""

    def __init__(self, layer: Layer, source: Tensor) -> None:
        self.window, self.low, self.high = window_of(layer), layer.low, layer.high
        self.size = swept(layer, self.window, source.shape)
        if covered(self.window, source, self.size).min() == 0:
            raise _wrong(layer, "has a window of nothing but padding")
        self.padded = _Padded(source, self.window, _LEAST)

    def __call__(self, inputs: Sequence[Array]) -> Array:
        """int8 (rows, C, H, W) of one array (rows, C, H, W)."""
        out = _sweep(np.maximum, self.padded.fill(inputs[0]), self.window, self.size)
        if out.base is not None:
            out = out.copy()
        return _clamp(out, self.low, self.high)


def covered(window: Window, source: Tensor, size: tuple[int, int]) -> NDArray[np.int64]:
    """(height, width): how many elements of the input, not of the padding, each window covers."""
    along = []
    for axis in (0, 1):
        step = window.dilation[axis]
        start = np.arange(size[axis]) * window.stride[axis] - window.padding[axis]
        first = np.maximum(-(start // step), 0)  # the first tap at or after 0, and the last one before the end
        last = np.minimum((source.shape[1 + axis] - 1 - start) // step, window.kernel[axis] - 1)
        along.append(np.maximum(last - first + 1, 0))
    return np.asarray(np.outer(along[0], along[1]), np.int64)


class AveragePool:
    """The sum of each window less its zero points, times a multiplier that holds 1 / n as well as the scales."""

    def __init__(self, layer: Layer, source: Tensor, output: Tensor, parameters: Parameters) -> None:
        if layer.kind is Kind.GLOBAL_AVERAGE_POOL:
            window = Window((source.shape[1], source.shape[2]))
        else:
            window = window_of(layer)
        self.window, self.size = window, (output.shape[1], output.shape[2])
        counts = covered(window, source, self.size)
        if counts.min() == 0:
            raise _wrong(layer, "has a window of nothing but padding")
        taps = window.kernel[0] * window.kernel[1]
        bound = taps * _reach(source)
        if bound >= 2**31:
            raise _wrong(layer, f"over {taps} elements could reach {bound} in an int32 accumulator")
        multiplier, shift = parameters.multiplier, parameters.shift
        if layer.count_include_pad or counts.min() == taps:
            _expect_scales(layer, parameters, 1)
        else:
            _expect_scales(layer, parameters, taps)
            multiplier, shift = multiplier[counts.ravel() - 1], shift[counts.ravel() - 1]
        self.requantise = Requantiser(multiplier, shift, np.int64(bound), output.zero_point, (layer.low, layer.high))
        self.offset = taps * source.zero_point
        self.padded = _Padded(source, window, source.zero_point)

    def __call__(self, inputs: Sequence[Array]) -> Array:
        """int8 (rows, C, H, W) of one array (rows, C, H, W)."""
        padded = self.padded.fill(inputs[0])
        if self.size == (1, 1):  # one sum over what lies together
            sums = _windows(padded, self.window, 0, 1, 1).sum((2, 3), dtype=np.int32)
        else:
            sums = _sweep(np.add, padded.astype(np.int32), self.window, self.size)
        rows, channels = padded.shape[:2]
        sums = sums.reshape(rows * channels, math.prod(self.size))
        return self.requantise(sums - np.float64(self.offset)).reshape(rows, channels, *self.size)


def add(layer: Layer, inputs: Sequence[Tensor], output: Tensor, parameters: Parameters) -> Kernel:
    """Both inputs brought to the finer of the two fixed points, added there, and rounded once.

    There are only 65,536 pairs of int8, so the sum is a table made in integers.
    """
    _expect_scales(layer, parameters, 2)
    shift = parameters.shift.astype(np.int64)
    if abs(shift[0] - shift[1]) > MAX_SPREAD:
        raise _wrong(layer, f"needs scales within a factor of 2 ** {MAX_SPREAD} of each other")
    common = int(shift.max())
    terms = [
        (np.arange(-128, 128, dtype=np.int64) - tensor.zero_point) * int(multiplier) << (common - int(own))
        for tensor, multiplier, own in zip(inputs, parameters.multiplier, shift, strict=True)
    ]
    table = _saturate(round_shift(terms[0][:, None] + terms[1][None, :], common), layer, output).ravel()

    def run(arrays: Sequence[Array]) -> Array:
        index = (arrays[0].astype(np.int32) + 128) << 8
        index += arrays[1]
        index += 128
        return np.asarray(table[index])

    return run


def concat(layer: Layer, inputs: Sequence[Tensor], output: Tensor, parameters: Parameters) -> Kernel:
    """Each input requantised by a table of its 256 values, one after the other along the channels."""
    _expect_scales(layer, parameters, len(inputs))
    tables = []
    for tensor, multiplier, shift in zip(inputs, parameters.multiplier, parameters.shift, strict=True):
        values = (np.arange(-128, 128, dtype=np.int64) - tensor.zero_point) * int(multiplier)
        # A negative int8 indexes from the end, so the table begins at 0.
        tables.append(np.roll(_saturate(round_shift(values, int(shift)), layer, output), 128))

    def run(arrays: Sequence[Array]) -> Array:
        return np.concatenate([table[array] for table, array in zip(tables, arrays, strict=True)], axis=1)

    return run


def _saturate(values: NDArray[np.int64], layer: Layer, output: Tensor) -> Array:
    return np.asarray(np.clip(values + output.zero_point, layer.low, layer.high).astype(np.int8))


def _identity(layer: Layer) -> Kernel:
    def run(arrays: Sequence[Array]) -> Array:
        return _clamp(arrays[0], layer.low, layer.high)

    return run


def _clamp(values: Array, low: int, high: int) -> Array:
    if (low, high) == (-128, 127):
        return values
    return np.asarray(np.clip(values, np.int8(low), np.int8(high)))
