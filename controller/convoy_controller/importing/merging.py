"""What becomes part of the layer beside it, before a float model is quantised.

Batch normalisation, constants that are added, padding, Gemm's factors, and averages over a whole picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from convoy_controller.importing.draft import Draft
from convoy_controller.importing.refusals import label

Float = NDArray[np.float32]


def merge(draft: Draft) -> list[str]:
    """Merge what can be; returns reasons for what has no form that can be taken."""
    reasons = []
    for node in draft:
        if (change := _CHANGES.get(node.op_type)) is not None:
            reasons += [f"{label(node)}: {reason}" for reason in change(draft, node)]
    draft.prune()
    return reasons


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes by name."""
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def _channels_of(array: NDArray[Any], shape: tuple[int, ...]) -> Float | None:
    """`array`, added to values of `shape` (batch included), as one number a channel; None if it is not that."""
    if array.ndim > len(shape):
        return None
    aligned = (1,) * (len(shape) - array.ndim) + array.shape
    if any(size != 1 for at, size in enumerate(aligned) if at != 1) or aligned[1] not in (1, shape[1]):
        return None
    return np.broadcast_to(array.ravel(), shape[1]).astype(np.float32)


# Scale and shift a channel -------------------------------------------------------------------------------------------


def _normalisation(draft: Draft, node: onnx.NodeProto) -> list[str]:
    held = [draft.constant(node, index) for index in range(1, 5)]
    given = attributes(node)
    if any(each is None for each in held):
        return ["its factors are computed; they must be constants"]
    if given.get("training_mode", 0) or any(draft.users(name) for name in node.output[1:] if name):
        return ["is exported for training; export the model in its evaluation mode"]
    gamma, beta, mean, variance = (np.asarray(each, np.float64) for each in held)
    with np.errstate(all="ignore"):
        factor = gamma / np.sqrt(variance + given.get("epsilon", 1e-5))
    return _scaled(draft, node, factor.astype(np.float32), (beta - mean * factor).astype(np.float32))


def _scaled(draft: Draft, node: onnx.NodeProto, factor: Float, offset: Float) -> list[str]:
    """Put factor and offset a channel into the layer before `node`, or make a depthwise layer of them."""
    if not (np.isfinite(factor).all() and np.isfinite(offset).all()):
        return ["has factors that are not finite"]
    before = draft.maker(node.input[0])
    alone = before is not None and draft.only_user(node.input[0]) is node
    if alone and before is not None and before.op_type in ("Conv", "Gemm") and _absorbed(draft, before, factor, offset):
        draft.drop(node, node.input[0])
        return []
    shape = draft.shapes.get(node.input[0], ())
    if len(shape) != 4:
        return ["has no convolution or dense layer before it to become a part of"]
    weights = draft.hold(f"{node.output[0]}/factor", factor.reshape(-1, 1, 1, 1))
    bias = draft.hold(f"{node.output[0]}/offset", offset)
    draft.replace(node, "Conv", [node.input[0], weights, bias], group=len(factor), kernel_shape=[1, 1])
    return []


def _absorbed(draft: Draft, layer: onnx.NodeProto, factor: Float, offset: Float) -> bool:
    """Scale and shift the outputs of a Conv or Gemm with constant weights; False if it has none."""
    weights, bias = draft.constant(layer, 1), draft.constant(layer, 2)
    if weights is None or (bias is None and len(layer.input) > 2 and layer.input[2]):
        return False
    axis = 0
    if layer.op_type == "Gemm":
        given = attributes(layer)
        axis = 0 if given.get("transB", 0) else 1
        if given.get("beta", 1.0) != 1.0 or given.get("alpha", 1.0) != 1.0:
            return False
    if len(factor) != weights.shape[axis] or (bias is not None and bias.size not in (1, len(factor))):
        return False
    along = [1] * weights.ndim
    along[axis] = -1
    scaled = (weights * factor.reshape(along)).astype(np.float32)
    shifted = (np.zeros(len(factor)) if bias is None else bias.ravel()) * factor + offset
    layer.input[1] = draft.hold(f"{layer.input[1]}/merged", scaled)
    name = draft.hold(f"{layer.output[0]}/bias", shifted.astype(np.float32))
    if len(layer.input) > 2:
        layer.input[2] = name
    else:
        layer.input.append(name)
    return True


def _sum(draft: Draft, node: onnx.NodeProto) -> list[str]:
    """A constant that is added becomes a bias; a sum of two activations stays."""
    for value, other in ((0, 1), (1, 0)):
        held = draft.constant(node, other)
        shape = draft.shapes.get(node.input[value])
        if held is None or shape is None or len(shape) < 2:
            continue
        offset = _channels_of(held, shape)
        if offset is None:
            return [f"adds a constant of {held.shape} to {shape}; only one number a channel can become a bias"]
        made = draft.replace(node, "Add", [node.input[value], node.input[other]])
        before = draft.maker(made.input[0])
        if before is not None and before.op_type == "MatMul" and draft.only_user(made.input[0]) is made:
            weights = draft.constant(before, 1)
            if weights is not None and weights.ndim == 2 and len(shape) == 2:
                draft.replace(before, "Gemm", list(before.input))
        return _scaled(draft, made, np.ones(len(offset), np.float32), offset)
    return []


def _factors(draft: Draft, node: onnx.NodeProto) -> list[str]:
    """Gemm's alpha and beta go into its weights and biases."""
    given, weights, bias = attributes(node), draft.constant(node, 1), draft.constant(node, 2)
    alpha, beta = given.get("alpha", 1.0), given.get("beta", 1.0)
    if (alpha, beta) == (1.0, 1.0) or weights is None or (bias is None and len(node.input) > 2):
        return []
    inputs = [node.input[0], draft.hold(f"{node.output[0]}/weights", (weights * np.float32(alpha)).astype(np.float32))]
    if bias is not None:
        inputs.append(draft.hold(f"{node.output[0]}/bias", (bias * np.float32(beta)).astype(np.float32)))
    draft.replace(node, "Gemm", inputs, transA=given.get("transA", 0), transB=given.get("transB", 0))
    return []


# Windows -------------------------------------------------------------------------------------------------------------


def _pad(draft: Draft, node: onnx.NodeProto) -> list[str]:
    """Zeros around a picture become the padding of the convolutions behind it."""
    given, pads, value = attributes(node), draft.constant(node, 1), draft.constant(node, 2)
    users = draft.users(node.output[0])
    filled = 0.0 if value is None or value.size == 0 else float(value.ravel()[0])
    if given.get("mode", b"constant") != b"constant" or filled != 0.0 or pads is None or pads.size != 8:
        return ["only zeros around height and width can become a layer's padding"]
    if len(node.input) > 3 and node.input[3]:
        return ["pads chosen axes; name all of them"]
    edges = [int(each) for each in pads]
    if any(edges[at] for at in (0, 1, 4, 5)) or min(edges) < 0:
        return ["only zeros around height and width can become a layer's padding"]
    odd = [user for user in users if user.op_type != "Conv" or attributes(user).get("auto_pad", b"NOTSET") != b"NOTSET"]
    if odd or not users or node.output[0] == draft.output:
        return ["only convolutions without auto_pad can take its zeros as their padding"]
    for user in users:
        given = attributes(user)
        own = given.get("pads", [0, 0, 0, 0])
        both = [int(a) + b for a, b in zip(own, (edges[2], edges[3], edges[6], edges[7]), strict=True)]
        draft.replace(user, "Conv", [node.input[0], *user.input[1:]], **{**given, "pads": both})
    return []


def _mean(draft: Draft, node: onnx.NodeProto) -> list[str]:
    """An average over height and width is a global average pool."""
    given, shape = attributes(node), draft.shapes.get(node.input[0], ())
    held = draft.constant(node, 1)
    axes = given.get("axes") if held is None else [int(each) for each in held.ravel()]
    if len(shape) != 4 or axes is None or sorted(each % 4 for each in axes) != [2, 3]:
        return []
    if given.get("keepdims", 1):
        draft.replace(node, "GlobalAveragePool", [node.input[0]])
        return []
    pooled = helper.make_node("GlobalAveragePool", [node.input[0]], [f"{node.output[0]}/pooled"], f"{node.name}/pooled")
    draft.insert_before(node, pooled)
    target = draft.hold(f"{node.output[0]}/shape", np.array([0, shape[1]], np.int64))
    draft.replace(node, "Reshape", [pooled.output[0], target])
    return []


_CHANGES: dict[str, Callable[[Draft, onnx.NodeProto], list[str]]] = {
    "BatchNormalization": _normalisation,
    "Add": _sum,
    "Gemm": _factors,
    "Pad": _pad,
    "ReduceMean": _mean,
}
