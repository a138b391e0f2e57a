"""Results that are often exactly half a step, where float rounding decides one way or the other, and how to avoid them.

They come of scales in a simple ratio: an average pool behind Relu6 whose output reaches 6 as its input does, or a sum
of two such. A slightly wider range of the output makes them rare. `quantising` calls it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference

#: The part of an operation's possible results that may be half a step.
OFTEN = 1e-4
#: How near to a half float32 cannot be trusted.
NEAR = 1e-4
#: What an output's range is multiplied by: no simple fraction.
WIDER = 1.0072973
#: What onnxruntime calls the values behind the network's output, in addition.
_OUTPUT = "_QuantizeLinear_Input"
#: Sums of a window that are looked at, at most.
_MOST = 1 << 16

Ranges = dict[str, list[dict[str, NDArray[np.float32]]]]


def wider_ranges(model: onnx.ModelProto) -> Ranges:
    """Output ranges, by tensor as onnxruntime's quantiser takes them, for operations of quantised `model` with ties."""
    found: Ranges = {}
    held = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    shapes = {
        info.name: tuple(each.dim_value for each in info.type.tensor_type.shape.dim)
        for info in shape_inference.infer_shapes(model).graph.value_info
    }
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    for node in model.graph.node:
        behind = _quantised_behind(node, users)
        before = [makers.get(name) for name in node.input]
        scales = [held.get(each.input[1]) for each in before if each is not None and each.op_type == "DequantizeLinear"]
        if behind is None or not scales or len(scales) != len(node.input) or any(each is None for each in scales):
            continue
        scale, zero = held.get(behind.input[1]), held.get(behind.input[2]) if len(behind.input) > 2 else None
        if scale is None or zero is None or scale.size != 1:
            continue
        reals = [float(each.item()) for each in scales if each is not None and each.size == 1]
        picture = shapes.get(node.input[0], ())
        if len(reals) == len(scales) and _ties(node, reals, float(scale.item()), picture):
            real, offset = scale.item() * WIDER, int(zero.item())
            ends = [np.array((end - offset) * real, np.float32) for end in (-128, 127)]
            found[behind.input[0].removesuffix(_OUTPUT)] = [{"rmin": ends[0], "rmax": ends[1]}]
    return found


def _quantised_behind(node: onnx.NodeProto, users: dict[str, list[onnx.NodeProto]]) -> onnx.NodeProto | None:
    """The QuantizeLinear of `node`'s result, behind what only clamps it."""
    while True:
        following = users.get(node.output[0], [])
        if len(following) != 1 or following[0].op_type not in ("QuantizeLinear", "Relu", "Clip"):
            return None
        node = following[0]
        if node.op_type == "QuantizeLinear":
            return node


def _ties(node: onnx.NodeProto, scales: list[float], out: float, shape: tuple[int, ...]) -> bool:
    """Whether too many of the sums that `node` can form of an input of `shape` are half a step of its output."""
    return any(_share_of_halves(sums) > OFTEN for sums in _sums(node, scales, out, shape))


def _sums(
    node: onnx.NodeProto, scales: list[float], out: float, shape: tuple[int, ...]
) -> Iterator[NDArray[np.float64]]:
    """What `node` can form, in steps of its output."""
    steps = np.arange(-255, 256, dtype=np.float64)
    if node.op_type in ("AveragePool", "GlobalAveragePool"):
        given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        taps = max(1, int(np.prod(given.get("kernel_shape", shape[2:]))))
        padded = any(given.get("pads", ())) or given.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")
        for count in range(1 if padded else taps, taps + 1):
            yield np.arange(min(255 * count, _MOST) + 1, dtype=np.float64) * (scales[0] / out / count)
    elif node.op_type == "Add" and len(scales) == 2:
        yield (steps[:, None] * (scales[0] / out) + steps * (scales[1] / out)).ravel()
    elif node.op_type == "Concat":
        for scale in scales:
            yield steps * (scale / out)


def _share_of_halves(values: NDArray[np.float64]) -> float:
    return float((np.abs(values - np.floor(values) - 0.5) < NEAR * np.maximum(1, np.abs(values)) / 128).mean())
