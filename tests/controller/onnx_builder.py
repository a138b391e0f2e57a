"""Small ONNX models, node by node, with random weights from a seed: what the tests of the import are made of."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from convoy_controller.importer import ImportedModel
from convoy_controller.importing.agreement import compare
from convoy_controller.importing.graph import Read
from convoy_controller.importing.loading import load_model
from convoy_controller.importing.simplifying import simplified
from convoy_schema.layers import evaluate, quantise
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Float = NDArray[np.float32]


class Builder:
    """A float ONNX model, node by node, with random weights from a seed."""

    def __init__(self, shape: Sequence[int], seed: int = 1) -> None:
        self.random = np.random.default_rng(seed)
        self.shape = tuple(shape)
        self.nodes: list[onnx.NodeProto] = []
        self.held: list[onnx.TensorProto] = []

    def hold(self, array: NDArray[np.generic]) -> str:
        name = f"held{len(self.held)}"
        self.held.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, op: str, *inputs: str, **attributes: object) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [f"{name}_out"], name, **attributes))
        return f"{name}_out"

    def weights(self, *shape: int) -> str:
        spread = 1 / np.sqrt(max(1, np.prod(shape[1:])))
        return self.hold(self.random.normal(0, spread, shape).astype(np.float32))

    def conv(self, source: str, depth: int, channels: int, kernel: int = 3, **attributes: object) -> str:
        groups = attributes.get("group", 1)
        assert isinstance(groups, int)
        weights = self.weights(channels, depth // groups, kernel, kernel)
        return self.node("Conv", source, weights, self.weights(channels), **attributes)

    def model(self, output: str) -> onnx.ModelProto:
        ends = [
            helper.make_tensor_value_info(name, kind, shape)
            for name, kind, shape in (
                ("x", TensorProto.FLOAT, ["batch", *self.shape]),
                (output, TensorProto.INT64 if output.startswith("argmax") else TensorProto.FLOAT, None),
            )
        ]
        graph = helper.make_graph(self.nodes, "test", ends[:1], ends[1:], self.held)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)

    def save(self, folder: Path, output: str) -> Path:
        model = onnx.shape_inference.infer_shapes(self.model(output))
        onnx.save(model, folder / "model.onnx")
        return folder / "model.onnx"

    def samples(self, rows: int = 40) -> Float:
        return self.random.normal(0, 1, (rows, *self.shape)).astype(np.float32)


def check_against_onnxruntime(imported: ImportedModel, samples: Float) -> None:
    """Each layer, fed with ORT's integers, differs from both of ORT's kernels by one step at most, in few elements."""
    quantised = onnx.load_from_string(imported.quantised_onnx)
    read = Read(imported.topology, imported.parameters, imported.origins, imported.views)
    found = compare(read, quantised, samples, len(samples))
    assert found.rows == len(samples)
    for layers in (found.layers, found.plain_layers):
        assert layers, "nothing was compared"
        for name, difference in layers.items():
            assert difference.steps <= 1, name
            assert difference.apart <= max(1, 1e-4 * difference.elements), (name, difference)
    rows = quantise(samples, imported.topology.tensor(imported.topology.input))
    made = evaluate(imported.topology, imported.parameters, rows)
    for layer in imported.topology.layers:
        assert np.unique(made[layer.output]).size > 4, f"{layer.name} makes nothing worth comparing"


def check_simplified(path: Path, samples: Float) -> list[str]:
    """What the import makes of a float file before it is quantised computes what the file does; its operations.

    `samples` are as the file takes them.
    """
    draft = simplified(load_model(path, "test"), "test")
    plain, made = onnx.load(path), draft.model("batch")
    for name in [info.name for info in plain.graph.output]:
        plain.graph.output.remove(next(info for info in plain.graph.output if info.name == name))
    plain.graph.output.append(helper.make_empty_tensor_value_info(draft.output))
    given = samples.transpose(0, 3, 1, 2) if draft.layout == "HWC" else samples.reshape(len(samples), *draft.shape)
    theirs = np.asarray(_session(plain).run(None, {plain.graph.input[0].name: samples})[0])
    ours = np.asarray(_session(made).run(None, {draft.input: np.ascontiguousarray(given)})[0])
    assert theirs.size == ours.size
    assert np.abs(theirs).max() > 1e-3
    np.testing.assert_allclose(ours.reshape(theirs.shape), theirs, rtol=1e-4, atol=1e-5)
    return [node.op_type for node in made.graph.node]


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
