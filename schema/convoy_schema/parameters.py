"""A layer's parameters: int8 weights, int32 biases and fixed-point scales, and the artifact that holds them.

One artifact a layer, named by its digest in `Layer.parameters`. Whether they fit a layer is for `convoy_schema.layers`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from convoy_schema import codec
from convoy_schema.artifacts import MAX_ARTIFACT
from convoy_schema.bounds import Range, Size
from convoy_schema.errors import DecodeError, TopologyError
from convoy_schema.fixedpoint import MAX_MULTIPLIER, MAX_SHIFT, MIN_MULTIPLIER

#: Output channels of a layer, and with it the most biases, multipliers and shifts.
MAX_CHANNELS = 65536


@dataclass(frozen=True)
class Parameters:
    """What a layer multiplies, adds and rescales by.

    `weights` is (out, in / groups, height, width) for conv2d and (out, in) for dense, symmetric per output channel;
    `bias` is (out,), in units of input scale x weight scale. Both are None for every other kind. `multiplier` and
    `shift` stand for the real scales multiplier * 2 ** -shift: one an output channel for conv2d and dense, one an input
    for add and concat, one for an average pool (or kernel height x width, entry n - 1 for windows over n elements, when
    padding is left out of the count). The multiplier is in [2 ** 23, 2 ** 24): 24 bits fit a DSP48E1's 25-bit signed
    port, and the product with an accumulator below 2 ** 29 is exact in float64.
    """

    weights: NDArray[np.int8] | None
    bias: NDArray[np.int32] | None
    multiplier: NDArray[np.int32]
    shift: NDArray[np.int32]

    def __post_init__(self) -> None:
        if (self.weights is None) != (self.bias is None):
            raise TopologyError("parameters hold weights and biases, or neither")
        if self.weights is not None and self.bias is not None:
            _check_weights(self.weights, self.bias)
        _check_scales(self.multiplier, self.shift)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays, as they stream to a kernel."""
        arrays = (self.weights, self.bias, self.multiplier, self.shift)
        return sum(array.nbytes for array in arrays if array is not None)


def _check_weights(weights: NDArray[np.int8], bias: NDArray[np.int32]) -> None:
    if weights.dtype != np.int8 or weights.ndim not in (2, 4) or weights.size == 0:
        raise TopologyError(f"weights must be int8 of 2 or 4 dimensions, {weights.dtype} {weights.shape} came")
    if bias.dtype != np.int32 or bias.shape != weights.shape[:1]:
        raise TopologyError(f"biases must be int32 {weights.shape[:1]}, {bias.dtype} {bias.shape} came")


def _check_scales(multiplier: NDArray[np.int32], shift: NDArray[np.int32]) -> None:
    for name, array in (("multiplier", multiplier), ("shift", shift)):
        if array.dtype != np.int32 or array.ndim != 1 or not 1 <= array.size <= MAX_CHANNELS:
            raise TopologyError(f"{name} must be 1 to {MAX_CHANNELS} int32, {array.dtype} {array.shape} came")
    if multiplier.shape != shift.shape:
        raise TopologyError(f"{multiplier.size} multipliers came with {shift.size} shifts")
    if multiplier.min() < MIN_MULTIPLIER or multiplier.max() > MAX_MULTIPLIER:
        raise TopologyError(f"multipliers must be in [{MIN_MULTIPLIER}, {MAX_MULTIPLIER}]")
    if shift.min() < 0 or shift.max() > MAX_SHIFT:
        raise TopologyError(f"shifts must be in [0, {MAX_SHIFT}]")


_Extents = Annotated[tuple[Annotated[int, Range(1, 2**26)], ...], Size(4)]
_Blob = Annotated[bytes, Size(MAX_ARTIFACT)]


@dataclass(frozen=True)
class PackedParameters:
    """`Parameters` as bytes: arrays in C order, little-endian."""

    shape: _Extents | None
    weights: _Blob | None
    bias: _Blob | None
    multiplier: _Blob
    shift: _Blob


def pack_parameters(parameters: Parameters) -> bytes:
    """The artifact that holds `parameters`: the same bytes for the same values."""
    weights, bias = parameters.weights, parameters.bias
    return codec.pack(
        PackedParameters(
            shape=None if weights is None else tuple(map(int, weights.shape)),
            weights=None if weights is None else weights.tobytes(),
            bias=None if bias is None else _little(bias),
            multiplier=_little(parameters.multiplier),
            shift=_little(parameters.shift),
        )
    )


def unpack_parameters(content: bytes) -> Parameters:
    """Read what `pack_parameters` wrote; raises `DecodeError`, or `TopologyError` for values that no layer takes."""
    if len(content) > MAX_ARTIFACT:
        raise DecodeError(f"parameters take at most {MAX_ARTIFACT} bytes, {len(content)} came", size=len(content))
    packed = codec.unpack(PackedParameters, content)
    weights: NDArray[np.int8] | None = None
    if packed.weights is not None:
        shape = packed.shape or ()
        if math.prod(shape) != len(packed.weights):
            raise DecodeError(f"weights of shape {shape} do not take {len(packed.weights)} bytes", field="weights")
        weights = np.frombuffer(packed.weights, np.int8).reshape(shape)
    bias = None if packed.bias is None else _int32(packed.bias, "bias")
    return Parameters(weights, bias, _int32(packed.multiplier, "multiplier"), _int32(packed.shift, "shift"))


def _little(array: NDArray[Any]) -> bytes:
    return array.astype("<i4", copy=False).tobytes()


def _int32(content: bytes, field: str) -> NDArray[np.int32]:
    if len(content) % 4:
        raise DecodeError(f"{field} must be whole int32 values, {len(content)} bytes came", field=field)
    return np.frombuffer(content, "<i4").astype(np.int32)
