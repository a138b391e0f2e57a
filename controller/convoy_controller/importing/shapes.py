"""Reshape, Flatten, Squeeze, Unsqueeze and Transpose: they compute nothing, and only change how a value is seen.

Of weights they change the array; of activations the view, which dense layers take as any and other layers take plain.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from convoy_controller.importing.call import Call
from convoy_controller.importing.values import Constant, Quantised, Refusal, Value


def of_output(given: Call) -> tuple[int, ...]:
    """The inferred shape of a node's output without the batch; raises `Refusal` where it is not known."""
    if given.shape is None:
        raise Refusal("has an output of unknown shape; export the model with fixed sizes (only the batch may be free)")
    return given.shape


def reshape(given: Call) -> Value:
    """The same elements in another shape."""
    value = given.get(0)
    if isinstance(value, Constant):
        return _constant(value, _target(given, value.array.shape))
    if not isinstance(value, Quantised):
        raise Refusal("reshapes a value that is not quantised; quantise its input")
    shape = of_output(given)
    if math.prod(shape) != math.prod(value.shape):
        raise Refusal(f"makes {shape} of {value.shape}; it may not mix samples of a batch")
    return Quantised(value.tensor, value.view.reshaped(shape))


def transpose(given: Call) -> Value:
    """The axes in another order."""
    value = given.get(0)
    if isinstance(value, Constant):
        rank = value.array.ndim
        perm = tuple(given.attributes.get("perm", range(rank)[::-1]))
        if sorted(perm) != list(range(rank)):
            raise Refusal(f"has the order {perm} for {rank} axes")
        return replace(value, array=value.array.transpose(perm), axis=perm.index(value.axis) if rank else 0)
    if not isinstance(value, Quantised):
        raise Refusal("turns a value that is not quantised; quantise its input")
    rank = len(value.shape) + 1
    perm = tuple(given.attributes.get("perm", range(rank)[::-1]))
    if sorted(perm) != list(range(rank)) or perm[0] != 0:
        raise Refusal(f"has the order {perm}; the batch must stay first")
    return Quantised(value.tensor, value.view.transposed(tuple(axis - 1 for axis in perm[1:])))


def _target(given: Call, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that the node makes of a constant of `shape`."""
    if given.op == "Flatten":
        axis = int(given.attributes.get("axis", 1)) % (len(shape) + 1)
        return (math.prod(shape[:axis]), math.prod(shape[axis:]))
    listed = given.attributes.get("axes") if given.get(1) is None else given.constant(1).array.ravel().tolist()
    if given.op == "Reshape":
        kept = [shape[at] if size == 0 and at < len(shape) else int(size) for at, size in enumerate(listed or ())]
        return np.empty(shape, np.bool_).reshape(kept).shape
    axes = [int(axis) for axis in listed] if listed is not None else [at for at, size in enumerate(shape) if size == 1]
    if given.op == "Squeeze":
        return tuple(size for at, size in enumerate(shape) if at not in {axis % len(shape) for axis in axes})
    made = list(shape)
    for axis in sorted(axis % (len(shape) + len(axes)) for axis in axes):
        made.insert(axis, 1)
    return tuple(made)


def _constant(value: Constant, shape: tuple[int, ...]) -> Constant:
    """`value` in `shape`, its scales along the axis that is now their channels'."""
    array = value.array.reshape(shape)
    if value.scale is None or value.scale.size == 1:
        return replace(value, array=array)
    before = math.prod(value.array.shape[: value.axis])
    for axis, size in enumerate(shape):
        if size == value.scale.size and math.prod(shape[:axis]) == before:
            return replace(value, array=array, axis=axis)
    raise Refusal(f"breaks up the channels of its scales, {value.array.shape} to {shape}; quantise behind it")
