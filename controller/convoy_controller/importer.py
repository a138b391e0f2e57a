"""Import of a model: an ONNX file and calibration samples in, a topology with parameters and golden tensors out.

A float model is quantised by onnxruntime first; one that comes quantised (QDQ form) is taken as it is. What cannot be
taken is refused by node name and operation, everything at once. What was taken is compared with onnxruntime, layer by
layer. Storing and signing are the catalogue's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from convoy_schema.ending import Ending
from convoy_schema.layers import evaluate, quantise
from convoy_schema.topology import Topology
from numpy.typing import NDArray

from convoy_controller.importing.agreement import Agreement, Difference, compare
from convoy_controller.importing.draft import Draft
from convoy_controller.importing.graph import Read, read_graph
from convoy_controller.importing.loading import load_model
from convoy_controller.importing.quantising import is_quantised, quantise_model
from convoy_controller.importing.refusals import refuse
from convoy_controller.importing.shaping import turned
from convoy_controller.importing.simplifying import simplified
from convoy_controller.importing.values import View

__all__ = ["Agreement", "Difference", "ImportedModel", "import_model", "input_shape"]

#: Samples in the self-test that travels with a model.
GOLDEN_ROWS = 4
#: Samples over which a model is compared with onnxruntime, and elements of all its tensors over them, at most.
CHECK_ROWS, CHECK_ELEMENTS = 16, 8 * 1024 * 1024


@dataclass(frozen=True)
class ImportedModel:
    """A model as boards run it.

    `parameters` are the layers' artifacts by digest; `golden` holds the exact int8 bytes of every tensor, in C order,
    over `golden_rows` samples; `quantised_onnx` is the ONNX file that onnxruntime runs, `origins` names each tensor's
    int8 counterpart in it, and `views` how that shows those whose elements lie otherwise. `agreement` says how far the
    two are apart, `layout` how callers lay out a picture, and `notes` what else they should know. `ending` is what the
    gateway computes from the network's output; everything else ends before it.
    """

    topology: Topology
    parameters: dict[str, bytes]
    golden: dict[str, bytes]
    golden_rows: int
    quantised_onnx: bytes
    origins: dict[str, str]
    views: dict[str, View]
    agreement: Agreement
    layout: str
    notes: tuple[str, ...]
    ending: Ending

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
    loaded = load_model(path, name)
    draft = simplified(loaded, name)
    samples = _samples(draft, calibration, Draft.of(loaded, name).shape)
    model = draft.model("batch")
    largest = max(math.prod(shape[1:]) for shape in draft.shapes.values())
    quantised = model if is_quantised(model) else quantise_model(model, samples, largest)
    read = read_graph(quantised, name)
    agreement = _checked(read, compare(read, quantised, samples, _check_rows(read.topology)))
    rows = quantise(np.resize(samples, (golden_rows, *samples.shape[1:])), read.topology.tensor(read.topology.input))
    golden = {tensor: array.tobytes() for tensor, array in evaluate(read.topology, read.parameters, rows).items()}
    return ImportedModel(
        read.topology,
        read.parameters,
        golden,
        golden_rows,
        quantised.SerializeToString(deterministic=True),
        read.origins,
        read.views,
        agreement,
        draft.layout if len(samples.shape) == 4 else "N",
        tuple(draft.notes),
        draft.ending,
    )


def input_shape(path: Path, name: str) -> tuple[tuple[int, ...], str]:
    """Shape of one input of the ONNX file at `path`, and its layout: "CHW", "HWC" or "N"; refused as `import_model`."""
    loaded = load_model(path, name)
    shape = Draft.of(loaded, name).shape
    return shape, simplified(loaded, name).layout if len(shape) == 3 else "N"


def _samples(draft: Draft, calibration: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """`calibration` as float32, checked against `shape`, the file's own, and laid out as the draft takes it."""
    samples = np.ascontiguousarray(calibration, np.float32)
    if not len(samples) or samples.shape[1:] != shape:
        expected = f"(rows, {', '.join(map(str, shape))})"
        raise refuse(draft.name, [f"calibration samples must be {expected}, {samples.shape} came"])
    if not np.isfinite(samples).all():
        raise refuse(draft.name, ["calibration samples hold values that are not finite"])
    return turned(draft, samples, shape)


def _check_rows(topology: Topology) -> int:
    return max(1, min(CHECK_ROWS, CHECK_ELEMENTS // sum(tensor.size for tensor in topology.tensors)))


def _checked(read: Read, agreement: Agreement) -> Agreement:
    """`agreement`, unless a layer is more than a rounding step from both of ONNX Runtime's ways to compute it."""
    reasons = [
        f"layer {layer}: is {found.steps} steps from onnxruntime, so it was not understood; report the file"
        for layer, found in agreement.layers.items()
        if found.steps > 1 and agreement.plain_layers[layer].steps > 1
    ]
    if reasons:
        raise refuse(read.topology.name, reasons)
    return agreement
