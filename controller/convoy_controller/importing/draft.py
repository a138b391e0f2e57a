"""A graph that is being rewritten: nodes, constants as arrays, and the shape of every value.

`folding`, `shaping` and `merging` change it before the model is quantised or read. It knows no operation's meaning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from convoy_schema.ending import Ending
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference

from convoy_controller.importing.refusals import refuse

#: Elements of an activation of one sample, at most; the largest a board could hold is far smaller.
MAX_ELEMENTS = 16 * 1024 * 1024


@dataclass
class Draft:
    """One graph with one input and one output. `shapes` include the batch: `batch` rows, 1 when it is free."""

    name: str
    nodes: list[onnx.NodeProto]
    constants: dict[str, NDArray[Any]]
    input: str
    output: str
    batch: int
    opset: int
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    #: ONNX's element types, of values whose types are known.
    types: dict[str, int] = field(default_factory=dict)
    #: What a user should know of what was changed.
    notes: list[str] = field(default_factory=list)
    #: How callers lay out an input picture: "HWC" once a transposition was taken off the input.
    layout: str = "CHW"
    #: What was taken off the end, for the gateway to compute.
    ending: Ending = field(default_factory=Ending)

    @classmethod
    def of(cls, model: onnx.ModelProto, name: str) -> Draft:
        """A draft of `model`; raises `ImportRefusedError` for ends or types that no network here has."""
        graph = model.graph
        constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        inputs = [info for info in graph.input if info.name not in constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            ends = [info.name for info in inputs], [info.name for info in graph.output]
            raise refuse(name, [f"one input and one output are needed, {ends[0]} and {ends[1]} came"])
        opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
        batch, shape = _input_shape(inputs[0], name)
        draft = cls(name, list(graph.node), constants, inputs[0].name, graph.output[0].name, batch, opset)
        draft.shapes[draft.input] = (batch, *shape)
        draft.types[draft.input] = TensorProto.FLOAT
        draft.prune()
        return draft

    @property
    def shape(self) -> tuple[int, ...]:
        """The input's shape without the batch."""
        return self.shapes[self.input][1:]

    # Looking

    def maker(self, value: str) -> onnx.NodeProto | None:
        """The node that makes `value`; None for the input and constants."""
        return next((node for node in self.nodes if value in node.output), None)

    def users(self, value: str) -> list[onnx.NodeProto]:
        """The nodes that take `value`."""
        return [node for node in self.nodes if value in node.input]

    def only_user(self, value: str) -> onnx.NodeProto | None:
        """The one node that takes `value`, if there is just one and it is not the output as well."""
        users = self.users(value)
        return users[0] if len(users) == 1 and value != self.output else None

    def constant(self, node: onnx.NodeProto, index: int) -> NDArray[Any] | None:
        """Input `index` of `node`, if it is a constant."""
        return self.constants.get(node.input[index]) if len(node.input) > index else None

    def __iter__(self) -> Iterator[onnx.NodeProto]:
        """The nodes as they are now, whatever is changed meanwhile."""
        yield from list(self.nodes)

    # Changing

    def hold(self, stem: str, array: NDArray[Any]) -> str:
        """The name under which `array` is now a constant."""
        name, number = stem, 0
        while name in self.constants or name in self.shapes:
            number += 1
            name = f"{stem}_{number}"
        self.constants[name] = array
        return name

    def drop(self, node: onnx.NodeProto, value: str) -> None:
        """Take `node` out: whoever took its first output takes `value`, which the network's output lends its name."""
        self.nodes = [each for each in self.nodes if each is not node]
        old, new = node.output[0], value
        if self.output == old and (maker := self.maker(value)) is not None:
            old, new = value, self.output
            maker.output[list(maker.output).index(old)] = new
            if old in self.shapes:
                self.shapes[new] = self.shapes[old]
        elif self.output == old:
            self.output = new
        for each in self.nodes:
            for at, name in enumerate(each.input):
                if name == old:
                    each.input[at] = new

    def replace(self, node: onnx.NodeProto, op: str, inputs: list[str], **attributes: Any) -> onnx.NodeProto:
        """Put another node of the same name and output in the place of `node`."""
        made = helper.make_node(op, inputs, list(node.output[:1]), node.name or node.output[0], **attributes)
        self.nodes = [made if each is node else each for each in self.nodes]
        return made

    def insert_before(self, node: onnx.NodeProto, made: onnx.NodeProto) -> None:
        """Put `made` in front of `node`."""
        at = next(index for index, each in enumerate(self.nodes) if each is node)
        self.nodes.insert(at, made)

    def prune(self) -> None:
        """Drop nodes and constants that the output does not depend on."""
        needed, kept = {self.output}, []
        for node in reversed(self.nodes):
            if any(output in needed for output in node.output):
                needed.update(node.input)
                kept.append(node)
        self.nodes = kept[::-1]
        self.constants = {name: array for name, array in self.constants.items() if name in needed}

    # Leaving

    def model(self, batch: int | str) -> onnx.ModelProto:
        """The draft as an ONNX model with that batch size, or a free one of that name."""
        held = [numpy_helper.from_array(np.asarray(array), name) for name, array in self.constants.items()]
        ends = [
            helper.make_tensor_value_info(self.input, TensorProto.FLOAT, [batch, *self.shape]),
            helper.make_tensor_value_info(self.output, TensorProto.FLOAT, None),
        ]
        graph = helper.make_graph(self.nodes, self.name, ends[:1], ends[1:], held)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)

    def infer(self, strict: bool = False) -> list[str]:
        """Find every shape anew; returns why some cannot be: they do not fit each other, or are far too large."""
        plain = self.model(self.batch)
        try:
            found = shape_inference.infer_shapes(plain, check_type=strict, strict_mode=strict, data_prop=True)
        except Exception as error:  # onnx's C++ side raises whatever class it likes
            return [f"shapes or types do not fit each other: {str(error).strip()}"]
        self.shapes = {self.input: self.shapes[self.input]}
        self.shapes.update({name: tuple(array.shape) for name, array in self.constants.items()})
        for info in (*found.graph.value_info, *found.graph.output):
            shape = _whole(info)
            self.types[info.name] = info.type.tensor_type.elem_type
            if shape is not None:
                self.shapes[info.name] = shape
        reasons = []
        for node in self.nodes:
            elements = np.prod(np.array(self.shapes.get(node.output[0], ()), dtype=object), initial=1)
            if elements > MAX_ELEMENTS * self.batch:
                shape = self.shapes[node.output[0]]
                reasons.append(
                    f"{node.name or node.output[0]} ({node.op_type}): makes a tensor of {shape}, at most "
                    f"{MAX_ELEMENTS} elements a sample are taken"
                )
        return reasons


def _whole(info: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    """The shape with the batch; None where a part of it is not known."""
    if not info.type.tensor_type.HasField("shape"):
        return None
    dimensions = info.type.tensor_type.shape.dim
    if not all(each.HasField("dim_value") for each in dimensions):
        return None
    return tuple(each.dim_value for each in dimensions)


def _input_shape(info: onnx.ValueInfoProto, name: str) -> tuple[int, tuple[int, ...]]:
    """Batch (1 when free) and shape of the input; raises unless it is float32 and all but the batch is fixed."""
    kind = info.type.tensor_type.elem_type
    if kind != TensorProto.FLOAT:
        came = TensorProto.DataType.Name(kind) if kind in TensorProto.DataType.values() else f"type {kind}"
        raise refuse(name, [f"input {info.name}: is {came.lower()}, float32 is needed; export the model so"])
    dimensions = list(info.type.tensor_type.shape.dim)
    if not 2 <= len(dimensions) <= 4:
        raise refuse(
            name, [f"input {info.name}: has {len(dimensions)} dimensions; (batch, C, H, W) or (batch, N) is needed"]
        )
    free = [each.dim_param or "?" for each in dimensions[1:] if not each.HasField("dim_value")]
    if free:
        reason = f"input {info.name}: its sizes {', '.join(free)} are free; export the model with fixed sizes"
        raise refuse(name, [f"{reason} (only the batch may be free)"])
    shape = tuple(each.dim_value for each in dimensions[1:])
    batch = dimensions[0].dim_value if dimensions[0].HasField("dim_value") else 1
    if not all(1 <= each <= 65536 for each in shape) or not 0 <= batch <= 4096:
        raise refuse(name, [f"input {info.name}: has the shape {(batch, *shape)}; each size must be 1 to 65536"])
    if np.prod(shape, dtype=object) > MAX_ELEMENTS:
        raise refuse(name, [f"input {info.name}: has the shape {shape}, at most {MAX_ELEMENTS} elements are taken"])
    return max(1, batch), shape
