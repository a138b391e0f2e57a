"""What only renames, reshapes or turns: dropped, brought to one form, or taken off the network's input."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray

from convoy_controller.importing.draft import Draft
from convoy_controller.importing.refusals import label

RESHAPES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})


def drop_idle(draft: Draft) -> None:
    """Take out Identity and Dropout, which compute nothing when a network is not being trained."""
    for node in draft:
        if node.op_type in ("Identity", "Dropout") and not any(draft.users(name) for name in node.output[1:] if name):
            draft.drop(node, node.input[0])


def settle_shapes(draft: Draft) -> list[str]:
    """Make every Reshape, Flatten, Squeeze and Unsqueeze of activations one Reshape that leaves the batch alone.

    Those that change nothing vanish. Returns why some cannot be.
    """
    reasons = []
    for node in draft:
        if node.op_type not in RESHAPES or node.input[0] in draft.constants:
            continue
        before, after = draft.shapes.get(node.input[0]), draft.shapes.get(node.output[0])
        if before is None or after is None:
            if not _is_plain(node, draft):
                reasons.append(f"{label(node)}: makes a shape that is not known; export the model with fixed sizes")
        elif before == after:
            draft.drop(node, node.input[0])
        elif not after or after[0] != before[0]:
            reasons.append(f"{label(node)}: makes {after} of {before}; it may not mix samples of a batch")
        else:
            target = draft.hold(f"{node.output[0]}/shape", np.array([0, *after[1:]], np.int64))
            draft.replace(node, "Reshape", [node.input[0], target])
    return reasons


def _is_plain(node: onnx.NodeProto, draft: Draft) -> bool:
    """Whether a node of unknown shape hangs on one that was refused, and so need not be refused itself."""
    return node.input[0] not in draft.shapes


def shape_input(draft: Draft) -> None:
    """Take a transposition from channels last, or a reshaping to a picture, off the input: callers' arrays follow."""
    while (node := _first_shape(draft)) is not None:
        before, after = draft.shape, draft.shapes.get(node.output[0], ())[1:]
        if node.op_type == "Transpose":
            perm = next((list(each.ints) for each in node.attribute if each.name == "perm"), [])
            if perm != [0, 3, 1, 2] or draft.layout != "CHW":
                return
            draft.layout = "HWC"
        elif len(after) != 3 or len(before) == 3:
            return
        else:
            draft.notes.append(f"{label(node)} is taken off the input: send arrays of {after} instead of {before}")
        draft.drop(node, node.input[0])
        draft.shapes[draft.input] = (draft.batch, *after)
        for each in draft.nodes:  # shapes before the node are not what they were
            if each.op_type in ("QuantizeLinear", "DequantizeLinear") and draft.shapes.get(each.output[0]) == (
                draft.batch,
                *before,
            ):
                draft.shapes[each.output[0]] = (draft.batch, *after)


def _first_shape(draft: Draft) -> onnx.NodeProto | None:
    """The Transpose or Reshape that alone takes the input, quantised or not."""
    node = draft.only_user(draft.input)
    while node is not None and node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        node = draft.only_user(node.output[0])
    return node if node is not None and node.op_type in ("Transpose", "Reshape") else None


def turned(draft: Draft, samples: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """`samples` (rows, *`shape`), the file's own input shape, as the draft takes them."""
    if samples.shape[1:] == shape and draft.layout == "HWC":
        samples = samples.transpose(0, 3, 1, 2)
    elif samples.shape[1:] == shape and draft.shape != shape:
        samples = samples.reshape(len(samples), *draft.shape)
    return np.ascontiguousarray(samples)
