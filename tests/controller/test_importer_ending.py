"""Softmax and ArgMax at the end of a file: what the gateway computes against ONNX Runtime on the whole file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from convoy_controller.errors import ImportRefusedError
from convoy_controller.importer import ImportedModel, import_model
from convoy_schema.ending import Ending, Operation
from convoy_schema.layers import dequantise, evaluate, quantise
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx_builder import Builder, Float


def behind(model: onnx.ModelProto, nodes: list[onnx.NodeProto], held: list[onnx.TensorProto]) -> onnx.ModelProto:
    """`model` with `nodes` behind its output, and their last output as its own."""
    graph = model.graph
    for each in held:  # the quantised model has names like theirs
        for node in nodes:
            node.input[:] = [f"end-{name}" if name == each.name else name for name in node.input]
        each.name = f"end-{each.name}"
    output = nodes[-1].output[0]
    kind = TensorProto.INT64 if any(node.op_type == "ArgMax" for node in nodes) else TensorProto.FLOAT
    if nodes[-1].op_type == "QuantizeLinear":
        kind = TensorProto.INT8
    if nodes[-1].op_type == "Cast":
        kind = nodes[-1].attribute[0].i
    made = helper.make_graph(
        [*graph.node, *nodes],
        "whole",
        list(graph.input),
        [helper.make_tensor_value_info(output, kind, None)],
        [*graph.initializer, *held],
    )
    whole = helper.make_model(made, opset_imports=model.opset_import, ir_version=9)
    return onnx.shape_inference.infer_shapes(whole)


def whole_file(folder: Path, end: Builder, picture: bool = False) -> tuple[Path, Float]:
    """A quantised file that ends in the nodes of `end`, and samples; its logits are (10,), or (5, 3, 3)."""
    b = Builder((3, 5, 5), seed=50)
    x = b.node("Relu", b.conv("x", 3, 5))
    x = b.conv(x, 5, 5, kernel=1) if picture else b.node("Gemm", b.node("Flatten", x), b.weights(45, 10))
    samples = b.samples(64)
    plain = import_model(b.save(folder, x), samples, name="plain")
    quantised = onnx.load_from_string(plain.quantised_onnx)
    end.nodes[0].input[0] = quantised.graph.output[0].name
    path = folder / "whole.onnx"
    onnx.save(behind(quantised, end.nodes, end.held), path)
    return path, samples


def answers(model: ImportedModel, samples: Float) -> NDArray[Any]:
    """What a gateway gives for `samples`."""
    topology = model.topology
    rows = quantise(samples, topology.tensor(topology.input))
    raw = evaluate(topology, model.parameters, rows)[topology.output]
    return model.ending.apply(dequantise(raw, topology.tensor(topology.output)))


def on_onnxruntime(path: Path, samples: Float) -> tuple[str, NDArray[Any]]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (output,) = session.get_outputs()
    return output.name, session.run(None, {session.get_inputs()[0].name: samples})[0]


def softmax(**attributes: object) -> Builder:
    b = Builder(())
    b.node("Softmax", "", **attributes)
    return b


def argmax(**attributes: object) -> Builder:
    b = Builder(())
    b.node("ArgMax", "", **attributes)
    return b


def squeezed() -> Builder:
    b = Builder(())
    b.node("Squeeze", b.node("Cast", b.node("ArgMax", "", axis=-1), to=TensorProto.INT64), b.hold(np.array([1])))
    return b


def reshaped() -> Builder:
    b = Builder(())
    x = b.node("Softmax", b.node("Reshape", "", b.hold(np.array([0, 5, 9]))), axis=1)
    b.node("Flatten", b.node("Identity", x))
    return b


def both() -> Builder:
    b = Builder(())
    b.node("ArgMax", b.node("Softmax", "", axis=-1), axis=1, keepdims=0, select_last_index=1)
    return b


@pytest.mark.parametrize(
    ("end", "picture"),
    [
        (softmax(), False),
        (softmax(axis=1), True),
        (softmax(axis=-2), True),
        (reshaped(), True),
        (argmax(axis=1), False),
        (argmax(axis=-1, keepdims=0), False),
        (argmax(axis=1, select_last_index=1), True),
        (argmax(axis=3, keepdims=0), True),
        (squeezed(), False),
        (both(), False),
    ],
)
def test_the_answer_is_that_of_the_whole_file(tmp_path: Path, end: Builder, picture: bool) -> None:
    path, samples = whole_file(tmp_path, end, picture)
    model = import_model(path, samples, name="whole")
    name, theirs = on_onnxruntime(path, samples)
    ours = answers(model, samples)
    assert model.ending.name == name
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    assert model.agreement.plain_output.steps == 0  # of the network before the ending, so that it alone is compared
    if model.ending.operation is Operation.ARGMAX:
        assert len(np.unique(theirs)) > 1
        np.testing.assert_array_equal(ours, theirs)
    else:
        assert theirs.max() > 1.5 / theirs.shape[1]  # not all alike
        np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-9)
    assert model.topology.output != name
    assert any("gateway" in note for note in model.notes)


def test_a_float_file_keeps_its_ending(tmp_path: Path) -> None:
    b = Builder((3, 5, 5), seed=51)
    logits = b.node("Gemm", b.node("Flatten", b.node("Relu", b.conv("x", 3, 5))), b.weights(45, 10))
    path, samples = b.save(tmp_path, b.node("Softmax", logits)), b.samples(64)
    model = import_model(path, samples, name="test")
    name, theirs = on_onnxruntime(path, samples)
    assert model.ending == Ending(Operation.SOFTMAX, name, (10,), 0, (10,))
    assert model.output == logits
    ours = answers(model, samples)
    assert np.abs(ours - theirs).max() < 0.03  # int8 against float
    assert (ours.argmax(1) == theirs.argmax(1)).mean() > 0.9


def test_a_file_without_one_has_none(tmp_path: Path) -> None:
    b = Builder((8,))
    model = import_model(b.save(tmp_path, b.node("Gemm", "x", b.weights(8, 5))), b.samples(), name="test")
    assert model.ending == Ending()


def cast() -> Builder:
    b = Builder(())
    b.node("Cast", b.node("ArgMax", "", axis=1), to=TensorProto.INT32)
    return b


def two_axes() -> Builder:
    b = Builder(())
    b.node("ArgMax", b.node("Softmax", "", axis=2), axis=1)
    return b


def log_softmax() -> Builder:
    b = Builder(())
    b.node("Identity", b.node("LogSoftmax", ""))
    return b


def rounded(pair: bool = True) -> Builder:
    b = Builder(())
    ends = [b.hold(np.float32(1 / 256)), b.hold(np.int8(-128))]
    x = b.node("QuantizeLinear", b.node("Softmax", ""), *ends)
    if pair:
        b.node("DequantizeLinear", x, *ends)
    return b


def twice() -> Builder:
    b = Builder(())
    b.node("Softmax", b.node("Softmax", ""))
    return b


def mixed() -> Builder:
    b = Builder(())
    b.node("Reshape", b.node("Softmax", ""), b.hold(np.array([-1, 5])))
    return b


def test_probabilities_that_the_file_rounds_come_as_they_are(tmp_path: Path) -> None:
    path, samples = whole_file(tmp_path, rounded())
    model = import_model(path, samples, name="whole")
    assert np.abs(answers(model, samples) - on_onnxruntime(path, samples)[1]).max() <= 0.5001 / 256
    assert any("left out" in note for note in model.notes)


@pytest.mark.parametrize(
    ("end", "picture", "reason"),
    [
        (argmax(), False, r"argmax_0 \(ArgMax\): goes over the batch"),
        (softmax(axis=0), False, r"softmax_0 \(Softmax\): goes over the batch"),
        (cast(), False, r"cast_1 \(Cast\): makes INT32 of the answer of ArgMax; leave it out"),
        (two_axes(), True, r"argmax_1 \(ArgMax\): goes over another axis than Softmax"),
        (log_softmax(), False, r"logsoftmax_0 \(LogSoftmax\): .* end with Softmax, or leave it out"),
        (rounded(pair=False), False, r"quantizelinear_1 \(QuantizeLinear\): rounds the answer to integers"),
        (twice(), False, r"softmax_1 \(Softmax\): comes behind Softmax"),
        (mixed(), False, r"reshape_1 \(Reshape\): makes \(2, 5\) of \(1, 10\); it may not mix samples"),
    ],
)
def test_what_would_be_another_answer_is_refused_by_name(
    tmp_path: Path, end: Builder, picture: bool, reason: str
) -> None:
    path, samples = whole_file(tmp_path, end, picture)
    with pytest.raises(ImportRefusedError, match=reason):
        import_model(path, samples, name="whole")
