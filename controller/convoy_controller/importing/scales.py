"""Scales and zero points: what a quantised graph says of them, and the fixed-point numbers that a layer gets.

`convoy_controller.importing.graph` calls it for every QuantizeLinear and DequantizeLinear it meets.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from convoy_schema.kernels import covered
from convoy_schema.layers import Parameters, fixed_point
from convoy_schema.topology import Kind, Tensor
from numpy.typing import NDArray

from convoy_controller.importing.call import Call
from convoy_controller.importing.values import Constant, Pending, Quantised, Refusal, Value


def scale_and_zero(given: Call) -> tuple[float, int]:
    """Scale and int8 zero point of an activation; those of uint8 ones are shifted by 128."""
    scale = given.constant(1).array
    zero = given.constant(2).array if given.get(2) is not None else np.zeros((), np.uint8)
    if scale.size != 1 or zero.dtype not in (np.int8, np.uint8):
        raise Refusal(f"quantises an activation per channel or to {zero.dtype}; per tensor and 8 bits are needed")
    if not 1e-30 < float(scale.item()) < 1e30:
        raise Refusal(f"has a scale of {scale.item()}; it must be above 0 and finite")
    return float(np.float32(scale.item())), int(zero.item()) - (128 if zero.dtype == np.uint8 else 0)


def dequantised(given: Call) -> Value:
    """What DequantizeLinear makes of weights (their scales with them) or of an activation (itself)."""
    value = given.get(0)
    if isinstance(value, Constant):
        return _dequantised_constant(given, value)
    if not isinstance(value, Quantised):
        raise Refusal("dequantises a value that was not quantised")
    if scale_and_zero(given) != (value.tensor.scale, value.tensor.zero_point):
        raise Refusal("has another scale or zero point than the QuantizeLinear before it")
    return value


def _dequantised_constant(given: Call, value: Constant) -> Constant:
    scale = given.constant(1).array.astype(np.float32).ravel()
    zero = given.constant(2).array if given.get(2) is not None else np.zeros((), value.array.dtype)
    array: NDArray[Any] = value.array
    if array.dtype == np.uint8 and np.all(zero == 128):
        array, zero = (array.astype(np.int16) - 128).astype(np.int8), np.zeros((), np.int8)
    if np.any(zero != 0):
        raise Refusal("has weights with zero points other than 0; quantise them symmetrically")
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise Refusal("has weight scales that are not above 0 and finite")
    axis = given.attributes.get("axis", 1)
    if scale.size > 1 and (not -array.ndim <= axis < array.ndim or array.shape[axis] != scale.size):
        raise Refusal(f"has {scale.size} scales along axis {axis} of {array.shape}")
    return Constant(array, scale, axis % array.ndim if array.ndim else 0)


def step(real: float, scale: float, zero: int) -> int:
    """The int8 to which `real` (which may be infinite) is quantised."""
    with np.errstate(over="ignore"):
        return int(np.clip(np.rint(np.float32(real) / np.float32(scale)) + zero, -128, 127))


def parameters(made: Pending, output: Tensor) -> Parameters | None:
    """What the layer that makes `output` multiplies, adds and rescales by; None for one without parameters."""
    scales = [np.float32(each.tensor.scale) for each in made.inputs]
    out = np.float32(output.scale)
    if made.kind in (Kind.MAX_POOL, Kind.IDENTITY):
        return None
    if made.weights is not None:
        assert made.weight_scale is not None
        assert made.bias is not None
        if np.abs(made.bias).max() >= 2**31:
            raise Refusal("has a bias that does not fit int32 in units of input scale times weight scale")
        channels = len(made.weights)
        # In float32 and in this order, as onnxruntime does: 24 bits hold a float32's mantissa, so both scale alike.
        real = np.broadcast_to(scales[0] * made.weight_scale / out, channels)
        weights = np.ascontiguousarray(made.weights)
        return Parameters(weights, made.bias.astype(np.int32), *_fixed([float(each) for each in real]))
    if made.kind in (Kind.ADD, Kind.CONCAT):
        return Parameters(None, None, *_fixed([float(each / out) for each in scales]))
    real_scale = float(scales[0]) / float(out)
    return Parameters(None, None, *_fixed([real_scale / count for count in _pool_counts(made, output)]))


def _pool_counts(made: Pending, output: Tensor) -> list[int]:
    """Over how many elements an average is taken: one number, or 1 to all when padding is left out of the count."""
    shape = made.inputs[0].tensor.shape
    if made.kind is Kind.GLOBAL_AVERAGE_POOL:
        return [shape[1] * shape[2]]
    assert made.window is not None
    taps = math.prod(made.window.kernel)
    counts = covered(made.window, made.inputs[0].tensor, (output.shape[1], output.shape[2]))
    if made.count_include_pad or counts.min() == taps:
        return [taps]
    return list(range(1, taps + 1))


def _fixed(reals: list[float]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    pairs = [fixed_point(real) for real in reals]
    return np.array([pair[0] for pair in pairs], np.int32), np.array([pair[1] for pair in pairs], np.int32)
