"""Softmax and ArgMax at the end of a network, taken off it: the gateway computes them, from the fleet's answer.

`cut_ending` takes them off a draft, `Cut.read` says what they are once the shape in front of them is known. What would
give callers another answer than the file's own is refused by node name.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from convoy_schema.ending import Ending, Operation
from convoy_schema.names import LABEL_PATTERN
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference

from convoy_controller.importing.draft import Draft
from convoy_controller.importing.refusals import LAST, label
from convoy_controller.importing.shaping import RESHAPES
from convoy_controller.importing.values import Refusal

_ROUNDED = frozenset({"QuantizeLinear", "DequantizeLinear"})
#: What may come behind a Softmax or ArgMax that is taken off the end.
_BEHIND = RESHAPES | _ROUNDED | {"Identity", "Cast"}
#: The type each operation answers with, which a Cast may only repeat.
_TYPES = {"Softmax": TensorProto.FLOAT, "LogSoftmax": TensorProto.FLOAT, "ArgMax": TensorProto.INT64}


@dataclass(frozen=True)
class _Axis:
    """An axis of one sample of `shape`, without the batch."""

    shape: tuple[int, ...]
    axis: int

    @property
    def span(self) -> tuple[int, int]:
        """Its extent and the step from one element to the next in memory: the same through any reshaping."""
        return self.shape[self.axis], math.prod(self.shape[self.axis + 1 :])


@dataclass(frozen=True)
class Cut:
    """What was cut off behind value `start`: `nodes` in order, and whatever else their shapes hang on."""

    start: str
    output: str
    nodes: tuple[onnx.NodeProto, ...]
    beside: tuple[onnx.NodeProto, ...]
    constants: dict[str, NDArray[Any]]
    opset: int

    def read(self, shape: tuple[int, ...] | None, notes: list[str]) -> tuple[Ending, list[str]]:
        """The ending behind an output of `shape` (with the batch), or why it cannot be taken; adds to `notes`."""
        if not self.nodes:
            return Ending(), []
        try:
            return _Reader(self, self._shapes(shape), notes).read(), []
        except Refusal as error:
            return Ending(), [str(error)]

    def _shapes(self, shape: tuple[int, ...] | None) -> dict[str, tuple[int, ...]]:
        """Shapes, with the batch, of the cut and of every value behind it for which one follows."""
        if shape is None:
            return {}
        held = [numpy_helper.from_array(np.asarray(array), name) for name, array in self.constants.items()]
        ends = [helper.make_tensor_value_info(self.start, TensorProto.FLOAT, shape)]
        graph = helper.make_graph([*self.beside, *self.nodes], "ending", ends, [], held)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)
        found = shape_inference.infer_shapes(model, data_prop=True).graph
        known = {self.start: shape}
        for info in (*found.value_info, *found.output):
            extents = [each.dim_value for each in info.type.tensor_type.shape.dim]
            if info.type.tensor_type.HasField("shape") and all(extent > 0 for extent in extents):
                known[info.name] = tuple(extents)
        return known


def cut_ending(draft: Draft) -> Cut:
    """Take Softmax, LogSoftmax and ArgMax off the end of `draft`, with what only passes their result on."""
    value = found = draft.output
    behind: list[onnx.NodeProto] = []
    nodes: list[onnx.NodeProto] = []
    while (node := draft.maker(value)) is not None and node.op_type in LAST | _BEHIND:
        value = node.input[0]
        behind.insert(0, node)
        if node.op_type in LAST:
            found, nodes = value, list(behind)
    cut = Cut(found, draft.output, tuple(nodes), tuple(_beside(draft, nodes)), dict(draft.constants), draft.opset)
    if nodes:
        draft.output = found
        draft.prune()
    return cut


def _beside(draft: Draft, nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The nodes that compute shapes for `nodes`, in their order; what they take of the network itself stays out."""
    own = {node.output[0] for node in nodes}
    needed = {name for node in nodes for name in node.input[1:]}
    kept: list[onnx.NodeProto] = []
    for node in reversed(draft.nodes):
        if node.op_type != "Shape" and node.output[0] not in own and any(name in needed for name in node.output):
            needed.update(node.input)
            kept.insert(0, node)
    shapes = [node for node in draft.nodes if node.op_type == "Shape" and node.output[0] in needed]
    return [*shapes, *kept]


class _Reader:
    """Goes through the nodes of one cut and knows what they have made so far."""

    def __init__(self, cut: Cut, shapes: dict[str, tuple[int, ...]], notes: list[str]) -> None:
        self._cut = cut
        self._shapes = shapes
        self._notes = notes
        self._op = ""
        self._axis = _Axis((), 0)
        self._is_last = False

    def read(self) -> Ending:
        for node in self._cut.nodes:
            if node.op_type in LAST:
                self._operation(node)
            elif node.op_type == "Cast":
                self._cast(node)
            elif node.op_type in RESHAPES:
                self._after(node)
        nodes = self._cut.nodes
        if self._op == "LogSoftmax":
            last = next(node for node in nodes if node.op_type == "LogSoftmax")
            raise Refusal(f"{label(last)}: answers are probabilities or classes; end with Softmax, or leave it out")
        if nodes[-1].op_type == "QuantizeLinear":
            raise Refusal(f"{label(nodes[-1])}: rounds the answer to integers; end the model with Softmax itself")
        if any(node.op_type in _ROUNDED for node in nodes):
            self._notes.append("what rounds the answer behind Softmax is left out: probabilities come as float32")
        made = Operation.ARGMAX if self._op == "ArgMax" else Operation.SOFTMAX
        # A name that no message can carry is left out; the answer goes by that of the network's own output then.
        name = self._cut.output if re.fullmatch(LABEL_PATTERN, self._cut.output) else None
        return Ending(made, name, self._axis.shape, self._axis.axis, self._after(nodes[-1])[1:], self._is_last)

    def _operation(self, node: onnx.NodeProto) -> None:
        given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        shape = self._before(node)
        axis = given.get("axis", 0 if node.op_type == "ArgMax" else -1)
        axis += len(shape) if axis < 0 else 0
        if not 0 < axis < len(shape):
            raise Refusal(f"{label(node)}: goes over the batch, of samples that have nothing to do with each other")
        found = _Axis(shape[1:], axis - 1)
        if self._op and (node.op_type != "ArgMax" or self._op == "ArgMax"):
            raise Refusal(f"{label(node)}: comes behind {self._op}; only ArgMax behind Softmax is there")
        if self._op and found.span != self._axis.span:
            raise Refusal(f"{label(node)}: goes over another axis than {self._op} before it; leave {self._op} out")
        if node.op_type == "ArgMax":
            self._is_last = bool(given.get("select_last_index", 0))
        self._notes.append(
            f"{label(node)} at the end is left out: ArgMax behind it gives the same without it"
            if node.op_type != "ArgMax" and any(each.op_type == "ArgMax" for each in self._cut.nodes)
            else f"{label(node)} at the end is computed by the gateway, on its processor, from the fleet's answer"
        )
        self._op, self._axis = node.op_type, found

    def _cast(self, node: onnx.NodeProto) -> None:
        target = helper.get_attribute_value(node.attribute[0])
        if target != _TYPES[self._op]:
            raise Refusal(
                f"{label(node)}: makes {TensorProto.DataType.Name(target)} of the answer of {self._op}; leave it out, "
                "and convert where the answer is used"
            )

    def _before(self, node: onnx.NodeProto) -> tuple[int, ...]:
        return self._known(node, node.input[0])

    def _after(self, node: onnx.NodeProto) -> tuple[int, ...]:
        """The shape `node` makes, with the batch, which it must leave alone."""
        before, after = self._before(node), self._known(node, node.output[0])
        if not after or after[0] != self._shapes[self._cut.start][0]:
            raise Refusal(f"{label(node)}: makes {after} of {before}; it may not mix samples of a batch")
        return after

    def _known(self, node: onnx.NodeProto, value: str) -> tuple[int, ...]:
        if value not in self._shapes:
            raise Refusal(f"{label(node)}: makes a shape that is not known; export the model with fixed sizes")
        return self._shapes[value]
