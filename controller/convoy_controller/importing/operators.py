"""What each ONNX operation means: from a node and its input values to the value of its output.

One function an operation, in `READERS`. A node that is not supported in the form it has raises `Refusal` with the
reason; nothing here knows what becomes of the result (`convoy_controller.importing.graph` does).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from convoy_schema.topology import Kind
from numpy.typing import NDArray

from convoy_controller.importing import shapes
from convoy_controller.importing.call import Call
from convoy_controller.importing.values import Constant, Pending, Quantised, Refusal, Value, View
from convoy_controller.importing.windows import window_of

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
    if value.array.size == 1 < channels:
        value = Constant(np.broadcast_to(value.real.ravel(), channels))
    if value.array.size != channels:
        raise Refusal(f"has a bias of shape {value.array.shape}, one value for each of {channels} channels is needed")
    same = value.scale is not None and np.allclose(value.scale, steps, rtol=1e-5, atol=0)
    if value.array.dtype == np.int32 and same:
        return value.array.ravel().astype(np.int64)
    bias = np.rint(value.real.ravel() / steps)
    if not np.abs(bias).max(initial=0) < 2**31:
        raise Refusal("has a bias that does not fit int32 in units of input scale times weight scale")
    return bias.astype(np.int64)


def _conv(given: Call) -> Pending:
    source = given.picture()
    weights, scale = _weights(given.constant(1), 0)
    if weights.ndim != 4:
        raise Refusal(f"has weights of shape {weights.shape}; only two-dimensional convolutions are there")
    window = window_of(given, weights.shape[2:], source.shape)
    steps = np.float64(source.tensor.scale) * scale
    return Pending(
        given.name,
        Kind.CONV2D,
        (source,),
        shapes.of_output(given),
        window,
        int(given.attributes.get("group", 1)),
        weights=weights,
        weight_scale=scale,
        bias=_bias(given.get(2), steps, len(weights)),
    )


def _dense(given: Call, weights: NDArray[np.int8], scale: NDArray[np.float32], bias: Value | None) -> Pending:
    source = given.activation()
    size = math.prod(source.shape)
    if weights.ndim != 2 or len(source.shape) != 1 or weights.shape[1] != size:
        raise Refusal(f"multiplies {size} inputs by weights {weights.shape[::-1]}; flatten its input")
    if source.view.order is not None:  # each weight to where its element lies
        laid = np.empty_like(weights)
        laid[:, source.view.order] = weights
        weights = laid
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
    window = window_of(given, (), source.shape)
    if given.op == "MaxPool":
        return Pending(given.name, Kind.MAX_POOL, (source,), shapes.of_output(given), window)
    include = bool(given.attributes.get("count_include_pad", 0))
    return Pending(given.name, Kind.AVERAGE_POOL, (source,), shapes.of_output(given), window, count_include_pad=include)


def _global_pool(given: Call) -> Pending:
    source = given.picture()
    return Pending(given.name, Kind.GLOBAL_AVERAGE_POOL, (source,), (source.shape[0], 1, 1))


def _add(given: Call) -> Pending:
    first, second = given.get(0), given.get(1)
    for value, other in ((first, second), (second, first)):
        # A dense or convolution whose sum with a constant is quantised once.
        if isinstance(value, Pending) and isinstance(other, Constant) and value.bias is not None:
            return _biased(given, value, other)
    a, b = given.activation(0), given.activation(1)
    if a.shape != b.shape or a.tensor.shape != b.tensor.shape or not a.view.is_like(b.view):
        raise Refusal(f"adds {a.shape} and {b.shape}; both must be of one shape and order, without broadcasting")
    return Pending(given.name, Kind.ADD, (a, b), a.tensor.shape, view=a.view)


def _biased(given: Call, value: Pending, other: Constant) -> Pending:
    assert value.weight_scale is not None
    assert value.bias is not None
    if math.isfinite(value.floor) or math.isfinite(value.ceiling):
        raise Refusal("adds a constant behind an activation function; quantise between them, or add it before")
    rank, shape = len(value.shape) + 1, other.array.shape
    aligned = (1,) * (rank - len(shape)) + shape
    if len(shape) > rank or any(size != 1 for at, size in enumerate(aligned) if at != 1):
        raise Refusal(f"adds a constant of {shape} to {value.shape}; only one number a channel can become a bias")
    steps = np.float64(value.inputs[0].tensor.scale) * value.weight_scale
    return replace(value, node=given.name, bias=value.bias + _bias(other, steps, len(value.bias)), made={})


def _concat(given: Call) -> Pending:
    parts = tuple(given.activation(index) for index in range(len(given.inputs)))
    rank = len(parts[0].shape) + 1
    axis = int(given.attributes.get("axis", 1)) % rank
    if any(part.is_reshaped for part in parts):
        return _joined(given, parts, axis)
    if axis != 1:
        raise Refusal(f"joins along axis {axis}; only channels (axis 1) are there")
    return Pending(given.name, Kind.CONCAT, parts, shapes.of_output(given))


def _joined(given: Call, parts: tuple[Quantised, ...], axis: int) -> Pending:
    """Channels one after the other, seen as the views of the parts are when they are joined along `axis`."""
    rests = {part.tensor.shape[1:] for part in parts}
    if len(rests) != 1 or axis == 0 or len({len(part.shape) for part in parts}) != 1:
        raise Refusal("joins values that differ in more than their channels; join them before they are reshaped")
    orders, first = [], 0
    for part in parts:
        own = np.arange(part.tensor.size) if part.view.order is None else part.view.order
        orders.append(own.reshape(part.shape) + first)
        first += part.tensor.size
    joined = np.concatenate(orders, axis - 1)
    order = joined.ravel()
    view = View(joined.shape, None if np.array_equal(order, np.arange(order.size)) else order)
    channels = sum(part.tensor.shape[0] for part in parts)
    return Pending(given.name, Kind.CONCAT, parts, (channels, *rests.pop()), view=view)


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
    return Pending(name, Kind.IDENTITY, (value,), value.tensor.shape, view=value.view, is_rescale=True)


def _clip(given: Call) -> Value:
    floor, ceiling = (
        float(given.constant(index).real.item()) if given.get(index) is not None else given.attributes.get(name, usual)
        for index, name, usual in ((1, "min", -math.inf), (2, "max", math.inf))
    )
    return _clamped(given, floor, ceiling)


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
    "Reshape": shapes.reshape,
    "Flatten": shapes.reshape,
    "Squeeze": shapes.reshape,
    "Unsqueeze": shapes.reshape,
    "Transpose": shapes.transpose,
    "Identity": _same,
    "Dropout": _same,
}
