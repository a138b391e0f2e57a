"""Why a model cannot be taken: reasons by node name and operation, and what could be done about each.

Every part of the import raises through `refuse`; nothing here reads a graph's values.
"""

from __future__ import annotations

import onnx

from convoy_controller.errors import ImportRefusedError

#: Operations that become a layer or a part of one, or nothing.
LAYERS = frozenset(
    {
        "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Conv", "Dropout", "Flatten", "Gemm",
        "GlobalAveragePool", "Identity", "MatMul", "MaxPool", "Relu", "Reshape", "Squeeze", "Transpose", "Unsqueeze",
    }
)  # fmt: skip
#: Operations that may stand at the end alone: the gateway computes them.
LAST = frozenset({"Softmax", "LogSoftmax", "ArgMax"})
_QUANTISED = frozenset({"QuantizeLinear", "DequantizeLinear"})
_SMOOTH = "train it with Relu or Clip (Relu6) instead"
#: What to do about operations that people have.
_ADVICE = {
    **dict.fromkeys(
        ("Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Elu", "Selu", "Gelu", "Mish", "Swish", "Softplus", "Erf"),
        _SMOOTH,
    ),
    **dict.fromkeys(("LeakyRelu", "PRelu", "ThresholdedRelu", "Celu"), "its slope has no clamp; " + _SMOOTH),
    **dict.fromkeys(
        ("Mul", "Div", "Sub", "Pow", "Sqrt"), "fold constant factors into weights or into --scale and --offset"
    ),
    **dict.fromkeys(("ConvTranspose", "Resize", "Upsample", "DepthToSpace"), "nothing here makes a picture larger"),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "Loop", "If", "Scan"), "only fixed graphs run here; unroll it"),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax"), "over height and width GlobalAveragePool does it"),
    **dict.fromkeys(("Conv1d", "ConvInteger", "QLinearConv", "QLinearMatMul", "MatMulInteger"), "bring the QDQ form"),
    "Pad": "put zero padding into the convolution behind it",
    "Split": "use two convolutions on the same input",
    "Slice": "crop the input before it",
    "LayerNormalization": "use BatchNormalization, which folds away",
    "InstanceNormalization": "use BatchNormalization, which folds away",
    "LRN": "leave it out and train again",
    "Cast": "export the model in float32 throughout",
}


def refuse(name: str, reasons: list[str]) -> ImportRefusedError:
    """The error that names every reason."""
    return ImportRefusedError(f"model {name} cannot be imported:\n  " + "\n  ".join(reasons), reasons=reasons)


def label(node: onnx.NodeProto) -> str:
    """What a node is called in reasons: its name, or its first output's, and its operation."""
    return f"{node.name or node.output[0]} ({node.op_type})"


def survey(model: onnx.ModelProto) -> list[str]:
    """Reasons why `model`, simplified, cannot be taken that its operations alone show, by node name."""
    reasons = []
    for node in model.graph.node:
        if node.op_type in LAST and node.domain in ("", "ai.onnx"):
            reasons.append(f"{label(node)}: may only be the last operation of the network")
        elif node.op_type not in LAYERS | _QUANTISED or node.domain not in ("", "ai.onnx"):
            reasons.append(f"{label(node)}: {_missing(node)}")
    return reasons


def unknown(model: onnx.ModelProto) -> list[str]:
    """Reasons by node name for operations that the file's own opset does not have."""
    versions = {("" if each.domain == "ai.onnx" else each.domain): each.version for each in model.opset_import}
    reasons = []
    for node in model.graph.node:
        domain = "" if node.domain == "ai.onnx" else node.domain
        if domain == "" and not onnx.defs.has(node.op_type, versions.get("", 1), ""):
            reasons.append(f"{label(node)}: {_missing(node)}")
        elif domain != "":
            reasons.append(f"{label(node)}: {_missing(node)} (its domain is {domain!r})")
    return reasons


def _missing(node: onnx.NodeProto) -> str:
    advice = _ADVICE.get(node.op_type)
    there = ", ".join(sorted(LAYERS))
    return "the layer library has no such operation; " + (
        f"{advice}; there is {there}" if advice else f"rewrite it with {there}"
    )
