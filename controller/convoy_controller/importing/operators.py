"""What each ONNX operation means: from a node and its input values to the value of its output.

One function an operation, in `READERS`. A node that is not supported in the form it has raises `Refusal` with the
reason; nothing here knows what becomes of the result (`convoy_controller.importing.graph` does).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from convoy_schema.topology import Kind, Window
from numpy.typing import NDArray
from onnx import helper

from convoy_controller.importing.values import Constant, Pending, Quantised, Refusal, Value


@dataclass(frozen=True)
class Call:
    """One node: its name, attributes, input values (None where an optional one is absent) and inferred output shape."""

    name: str
    op: str
    attributes: dict[str, Any]
    inputs: tuple[Value | None, ...]
    shape: tuple[int, ...] | None

    def get(self, index: int) -> Value | None:
        """Input number `index`, or None if it was not given."""
        return self.inputs[index] if index < len(self.inputs) else None

    def activation(self, index: int = 0) -> Quantised:
        """Input `index`, which must be an int8 activation."""
        value = self.get(index)
        if isinstance(value, Quantised):
            return value
        if isinstance(value, Constant):
            raise Refusal(f"input {index} is a constant where an activation is needed; fold it into the weights")
        raise Refusal(f"input {index} is not quantised; quantise it, or import the float model")

    def picture(self, index: int = 0) -> Quantised:
        """Input `index`, which must be an activation of (C, H, W)."""
        value = self.activation(index)
        if len(value.shape) != 3 or value.is_reshaped:
            raise Refusal(f"takes activations of (C, H, W), {value.shape} comes; only two-dimensional layers are there")
        return value

    def constant(self, index: int) -> Constant:
        """Input `index`, which must be a constant."""
        value = self.get(index)
        if not isinstance(value, Constant):
            raise Refusal(f"input {index} must be a constant: fold what computes it")
        return value


def call(node: onnx.NodeProto, inputs: Sequence[Value | None], shape: tuple[int, ...] | None) -> Call:
    """`node` with its attributes unpacked; a node without a name goes by its first output's."""
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return Call(node.name or node.output[0], node.op_type, attributes, tuple(inputs), shape)


# Windows -------------------------------------------------------------------------------------------------------------


def _window(given: Call, kernel: Sequence[int], shape: tuple[int, ...]) -> Window:
    kernel = tuple(given.attributes.get("kernel_shape", kernel))
    strides = tuple(given.attributes.get("strides", (1, 1)))
    dilations = tuple(given.attributes.get("dilations", (1, 1)))
    if not len(kernel) == len(strides) == len(dilations) == 2:
        raise Refusal(f"has a kernel of {kernel}; only two-dimensional ones are there")
    pads = list(given.attributes.get("pads", (0, 0, 0, 0)))
    automatic = given.attributes.get("auto_pad", b"NOTSET")
    if automatic != b"NOTSET":
        pads = _automatic_pads(automatic, kernel, strides, dilations, shape)
    if min(pads) < 0:
        raise Refusal(f"has negative padding {pads}; crop the input before it")
    top, left, bottom, right = pads
    window = Window(
        (kernel[0], kernel[1]), (strides[0], strides[1]), (top, left, bottom, right), (dilations[0], dilations[1])
    )
    return _rounded_up(given, window, shape) if given.attributes.get("ceil_mode", 0) else window


def _rounded_up(given: Call, window: Window, shape: tuple[int, ...]) -> Window:
    """`window` with as much more padding behind as a last, partial step needs (ceil_mode)."""
    pads = list(window.padding)
    for axis in (0, 1):
        stride, padded = window.stride[axis], shape[1 + axis] + pads[axis] + pads[2 + axis]
        room = padded - window.dilation[axis] * (window.kernel[axis] - 1) - 1
        starts = (room // stride + 1) * stride
        # A last window that would begin in the padding does not count.
        if room % stride and starts < shape[1 + axis] + pads[axis]:
            if given.op == "AveragePool":
                raise Refusal("rounds its output size up over a part of a window; export it with ceil_mode 0")
            pads[2 + axis] += -room % stride
    return replace(window, padding=(pads[0], pads[1], pads[2], pads[3]))


def _automatic_pads(
    how: bytes, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], shape: tuple[int, ...]
) -> list[int]:
    pads = [0, 0, 0, 0]
    if how == b"VALID":
        return pads
    for axis in (0, 1):
        size = shape[1 + axis]
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        total = max(0, (-(-size // strides[axis]) - 1) * strides[axis] + reach - size)
        small, large = total // 2, total - total // 2
        pads[axis], pads[2 + axis] = (small, large) if how == b"SAME_UPPER" else (large, small)
    return pads


def _shape(given: Call) -> tuple[int, ...]:
    if given.shape is None:
        raise Refusal("has an output of unknown shape; export the model with fixed sizes (only the batch may be free)")
    return given.shape


# Layers with weights -------------------------------------------------------------------------------------------------


def _weights(value: Constant, axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weights and their scales, one or one an output channel, which `axis` counts."""
    if value.scale is None or value.array.dtype != np.int8:
        raise Refusal(f"has weights of {value.array.dtype}; they must be int8, with zero points of 0")
    if value.scale.size > 1 and value.axis != axis:
        raise Refusal(f"has weight scales along axis {value.axis}; they must be per output channel (axis {axis})")
    return value.array, value.scale


def _bias(value: Value | None, steps: NDArray[np.float64], channels: int) -> NDArray[np.int64]:
    """int32 bias in units of `steps`, the input's scale times the weights' (one, or one a channel)."""
    if value is None:
        return np.zeros(channels, np.int64)
    if not isinstance(value, Constant):
        raise Refusal("has a bias that is computed; it must be a constant")
    if value.array.size != channels:
        raise Refusal(f"has a bias of shape {value.array.shape}, one value for each of {channels} channels is needed")
    same = value.scale is not None and np.allclose(value.scale, steps, rtol=1e-5, atol=0)
    if value.array.dtype == np.int32 and same:
        return value.array.ravel().astype(np.int64)
    bias = np.rint(value.real.ravel() / steps)
    if np.abs(bias).max() >= 2**31:
        raise Refusal("has a bias that does not fit int32 in units of input scale times weight scale")
    return bias.astype(np.int64)


def _conv(given: Call) -> Pending:
    source = given.picture()
    weights, scale = _weights(given.constant(1), 0)
    if weights.ndim != 4:
        raise Refusal(f"has weights of shape {weights.shape}; only two-dimensional convolutions are there")
    window = _window(given, weights.shape[2:], source.shape)
    steps = np.float64(source.tensor.scale) * scale
    return Pending(
        given.name,
        Kind.CONV2D,
        (source,),
        _shape(given),
        window,
        int(given.attributes.get("group", 1)),
        weights=weights,
        weight_scale=scale,
        bias=_bias(given.get(2), steps, len(weights)),
    )


def _dense(given: Call, weights: NDArray[np.int8], scale: NDArray[np.float32], bias: Value | None) -> Pending:
    source = given.activation()
    size = math.prod(source.shape)
    if weights.ndim != 2 or weights.shape[1] != size:
        raise Refusal(f"multiplies {size} inputs by weights {weights.shape[::-1]}; flatten its input")
    steps = np.float64(source.tensor.scale) * scale
    return Pending(
        given.name,
        Kind.DENSE,
        (source,),
        (len(weights),),
        weights=weights,
        weight_scale=scale,
        bias=_bias(bias, steps, len(weights)),
    )


def _gemm(given: Call) -> Pending:
    plain = {"alpha": 1.0, "beta": 1.0, "transA": 0}
    odd = {name: given.attributes[name] for name, usual in plain.items() if given.attributes.get(name, usual) != usual}
    if odd:
        raise Refusal(f"has {odd}; fold the factors into weights and bias")
    is_turned = bool(given.attributes.get("transB", 0))
    weights, scale = _weights(given.constant(1), 0 if is_turned else 1)
    return _dense(given, weights if is_turned else weights.T, scale, given.get(2))


def _matmul(given: Call) -> Pending:
    weights, scale = _weights(given.constant(1), 1)
    return _dense(given, weights.T, scale, None)


# Layers without ------------------------------------------------------------------------------------------------------


def _pool(given: Call) -> Pending:
    source = given.picture()
    if given.attributes.get("storage_order", 0):
        raise Refusal("stores by columns; export it with storage_order 0")
    if "kernel_shape" not in given.attributes:
        raise Refusal("has no kernel_shape")
    window = _window(given, (), source.shape)
    if given.op == "MaxPool":
        return Pending(given.name, Kind.MAX_POOL, (source,), _shape(given), window)
    include = bool(given.attributes.get("count_include_pad", 0))
    return Pending(given.name, Kind.AVERAGE_POOL, (source,), _shape(given), window, count_include_pad=include)


def _global_pool(given: Call) -> Pending:
    source = given.picture()
    return Pending(given.name, Kind.GLOBAL_AVERAGE_POOL, (source,), (source.shape[0], 1, 1))


def _add(given: Call) -> Pending:
    first, second = given.get(0), given.get(1)
    for value, other in ((first, second), (second, first)):
        # A dense or convolution without bias of its own, whose sum with a constant is quantised once.
        if isinstance(value, Pending) and isinstance(other, Constant) and value.bias is not None:
            assert value.weight_scale is not None
            steps = np.float64(value.inputs[0].tensor.scale) * value.weight_scale
            return replace(value, node=given.name, bias=value.bias + _bias(other, steps, len(value.bias)), made={})
    a, b = given.activation(0), given.activation(1)
    if a.shape != b.shape or a.is_reshaped or b.is_reshaped:
        raise Refusal(f"adds {a.shape} and {b.shape}; both must be of one shape, without broadcasting")
    return Pending(given.name, Kind.ADD, (a, b), a.shape)


def _concat(given: Call) -> Pending:
    parts = tuple(given.activation(index) for index in range(len(given.inputs)))
    axis = given.attributes.get("axis", 1)
    rank = len(parts[0].shape) + 1
    if axis % rank != 1 or any(part.is_reshaped for part in parts):
        raise Refusal(f"joins along axis {axis}; only channels (axis 1) are there")
    return Pending(given.name, Kind.CONCAT, parts, _shape(given))


def _clamped(given: Call, floor: float, ceiling: float) -> Value:
    value = given.get(0)
    if isinstance(value, Quantised):
        value = rescale(given.name, value)
    if not isinstance(value, Pending):
        raise Refusal("is applied to a value that is neither quantised nor a layer's result")
    floor, ceiling = max(value.floor, floor), min(value.ceiling, ceiling)
    return replace(value, floor=floor, ceiling=ceiling, made={})


def rescale(name: str, value: Quantised) -> Pending:
    """`value` as it is, to be clamped or quantised otherwise: an identity, or a concat of one input."""
    return Pending(name, Kind.IDENTITY, (value,), value.shape, is_rescale=True)


def _clip(given: Call) -> Value:
    floor, ceiling = (
        float(given.constant(index).real.item()) if given.get(index) is not None else given.attributes.get(name, usual)
        for index, name, usual in ((1, "min", -math.inf), (2, "max", math.inf))
    )
    return _clamped(given, floor, ceiling)


def _reshape(given: Call) -> Value:
    value, shape = given.get(0), _shape(given)
    if isinstance(value, Constant):
        return replace(value, array=value.array.reshape(given.constant(1).array)) if given.op == "Reshape" else value
    if not isinstance(value, Quantised):
        raise Refusal("reshapes a value that is not quantised; quantise its input")
    if math.prod(shape) != math.prod(value.shape):
        raise Refusal(f"makes {shape} of {value.shape}; it may not mix samples of a batch")
    return Quantised(value.tensor, shape)


def _same(given: Call) -> Value:
    value = given.get(0)
    assert value is not None
    return value


READERS: dict[str, Callable[[Call], Value]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": _global_pool,
    "Add": _add,
    "Concat": _concat,
    "Relu": lambda given: _clamped(given, 0.0, math.inf),
    "Clip": _clip,
    "Reshape": _reshape,
    "Flatten": _reshape,
    "Identity": _same,
    "Dropout": _same,
}

#: Operations that onnxruntime folds into others before it quantises.
FOLDED = frozenset({"BatchNormalization", "Constant"})
#: Operations that may stand at the end alone: they keep the order of the classes, and are left to the caller.
LAST = frozenset({"Softmax", "LogSoftmax"})
