"""What does not depend on the input is computed once: constants through whatever they pass.

Weights of a quantised model stop at DequantizeLinear, which the reader looks behind. Results are bounded before they
are computed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from convoy_controller.importing.draft import Draft
from convoy_controller.importing.refusals import label

#: Bytes of one folded constant, at most, and of all together.
MAX_CONSTANT = 64 * 1024 * 1024
MAX_TOGETHER = 256 * 1024 * 1024
#: Stay as they are: graphs within, chance, and what marks a quantised weight.
_NEVER = frozenset({"DequantizeLinear", "If", "Loop", "Scan", "SequenceMap", "Dropout", "Bernoulli", "Multinomial"})


def fold_constants(draft: Draft) -> list[str]:
    """Replace every node whose inputs are constants by its value; returns why some could not be."""
    reasons: list[str] = []
    spent = 0
    for node in draft:
        found, reason = _value(node, draft)
        if reason:
            reasons.append(f"{label(node)}: {reason}")
        if found is None:
            continue
        spent += found.nbytes
        if spent > MAX_TOGETHER:
            return [
                *reasons,
                f"{label(node)}: the constants computed so far take {spent} bytes, at most {MAX_TOGETHER}",
            ]
        draft.constants[node.output[0]] = found
        draft.nodes = [each for each in draft.nodes if each is not node]
    return reasons


def _value(node: onnx.NodeProto, draft: Draft) -> tuple[NDArray[Any] | None, str]:
    """What `node` makes, if that does not depend on the input's values; and why it cannot be had, if it cannot."""
    if _is_foldable(node, draft):
        return _computed(node, draft)
    if node.op_type == "Shape" and node.input[0] in draft.shapes:
        begin, end = (_attribute(node, key, usual) for key, usual in (("start", 0), ("end", None)))
        return np.array(draft.shapes[node.input[0]][begin:end], np.int64), ""
    if node.op_type == "CastLike" and node.input[0] in draft.constants and node.input[1] in draft.types:
        kind = helper.tensor_dtype_to_np_dtype(draft.types[node.input[1]])
        return draft.constants[node.input[0]].astype(kind), ""
    return None, ""


def _attribute(node: onnx.NodeProto, name: str, usual: Any) -> Any:
    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), usual)


def _is_foldable(node: onnx.NodeProto, draft: Draft) -> bool:
    plain = node.domain in ("", "ai.onnx") and node.op_type not in _NEVER and not node.op_type.startswith("Random")
    single = sum(map(bool, node.output)) == 1 and bool(node.output[0])
    return plain and single and all(not name or name in draft.constants for name in node.input)


def _computed(node: onnx.NodeProto, draft: Draft) -> tuple[NDArray[Any] | None, str]:
    """The node's value, or why it cannot be had."""
    inputs = {name: draft.constants[name] for name in node.input if name}
    held = [numpy_helper.from_array(array, name) for name, array in inputs.items()]
    result = helper.make_empty_tensor_value_info(node.output[0])
    graph = helper.make_graph([node], "constant", [], [result], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", draft.opset)], ir_version=9)
    try:
        inferred = shape_inference.infer_shapes(model, data_prop=True).graph.output[0].type.tensor_type
        sizes = [each.dim_value if each.HasField("dim_value") else -1 for each in inferred.shape.dim]
        if not inferred.HasField("shape") or min(sizes, default=1) < 0:
            return None, "computes a constant whose size depends on values; fold it before the export"
        size = math.prod(sizes) * np.dtype(helper.tensor_dtype_to_np_dtype(inferred.elem_type)).itemsize
        if size > MAX_CONSTANT:
            return None, f"makes a constant of {size} bytes, at most {MAX_CONSTANT} are computed"
        values: list[Any] = list(ReferenceEvaluator(model).run(None, {}))
        return np.asarray(values[0]), ""
    except Exception as error:  # the evaluator raises whatever NumPy and its own operations raise
        return None, f"computes a constant that cannot be had: {error}; fold it before the export"
