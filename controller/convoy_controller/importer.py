"""Import of a model: an ONNX file and calibration samples in, a topology with parameters and golden tensors out.

A float model is quantised by onnxruntime first; one that comes quantised (QDQ form) is taken as it is. What cannot be
taken is refused by node name and operation, everything at once. Storing and signing are the catalogue's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from convoy_schema.layers import evaluate, quantise
from convoy_schema.topology import Topology
from google.protobuf.message import DecodeError as ProtobufError  # type: ignore[import-untyped]
from numpy.typing import NDArray

from convoy_controller.importing.graph import read_graph, refuse, survey
from convoy_controller.importing.operators import LAST
from convoy_controller.importing.quantising import is_quantised, quantise_model

#: Samples in the self-test that travels with a model.
GOLDEN_ROWS = 4
#: Bytes of an ONNX file, at most.
MAX_MODEL = 256 * 1024 * 1024


@dataclass(frozen=True)
class ImportedModel:
    """A model as boards run it.

    `parameters` are the layers' artifacts by digest; `golden` holds the exact int8 bytes of every tensor, in C order,
    over `golden_rows` samples; `quantised_onnx` is the ONNX file that onnxruntime runs, and `origins` names each
    tensor's int8 counterpart in it.
    """

    topology: Topology
    parameters: dict[str, bytes]
    golden: dict[str, bytes]
    golden_rows: int
    quantised_onnx: bytes
    origins: dict[str, str]

    @property
    def output(self) -> str:
        """Name of the output tensor."""
        return self.topology.output


def import_model(
    path: Path, calibration: NDArray[np.float32], *, name: str, golden_rows: int = GOLDEN_ROWS
) -> ImportedModel:
    """Import the ONNX file at `path` as topology `name`.

    `calibration` (rows, *input shape) holds real inputs as the network takes them, scaled; its first `golden_rows`
    become the self-test. Raises `ImportRefusedError` that lists every reason.
    """
    model = _load(path, name)
    reasons = survey(model)
    if reasons:
        raise refuse(name, reasons)
    _drop_last(model)
    samples = _samples(model, calibration, name)
    quantised = model if is_quantised(model) else quantise_model(model, samples)
    read = read_graph(quantised, name)
    rows = quantise(np.resize(samples, (golden_rows, *samples.shape[1:])), read.topology.tensor(read.topology.input))
    golden = {tensor: array.tobytes() for tensor, array in evaluate(read.topology, read.parameters, rows).items()}
    return ImportedModel(
        read.topology,
        read.parameters,
        golden,
        golden_rows,
        quantised.SerializeToString(deterministic=True),
        read.origins,
    )


def _load(path: Path, name: str) -> onnx.ModelProto:
    try:
        size = path.stat().st_size
        if size > MAX_MODEL:
            raise refuse(name, [f"{path} has {size} bytes, at most {MAX_MODEL} are read"])
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except (OSError, ValueError, ProtobufError, onnx.checker.ValidationError) as error:
        raise refuse(name, [f"{path} is not a valid ONNX file: {error}"]) from error
    if len(model.graph.input) == 0 or len(model.graph.output) == 0:
        raise refuse(name, [f"{path} has no input or no output"])
    return model


def _drop_last(model: onnx.ModelProto) -> None:
    """Take Softmax off the end: it keeps the order of the classes, and a client computes it from the logits."""
    graph = model.graph
    for output in graph.output:
        for node in [node for node in graph.node if node.op_type in LAST and node.output[0] == output.name]:
            graph.node.remove(node)
            output.name = node.input[0]


def _samples(model: onnx.ModelProto, calibration: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """`calibration` as float32, checked against the model's input."""
    held = {initialiser.name for initialiser in model.graph.initializer}
    inputs = [info for info in model.graph.input if info.name not in held]
    shape = [each.dim_value for each in inputs[0].type.tensor_type.shape.dim][1:] if inputs else []
    samples = np.ascontiguousarray(calibration, np.float32)
    if not len(samples) or list(samples.shape[1:]) != shape:
        raise refuse(name, [f"calibration samples must be (rows, {', '.join(map(str, shape))}), {samples.shape} came"])
    if not np.isfinite(samples).all():
        raise refuse(name, ["calibration samples hold values that are not finite"])
    return samples
