"""One node of a quantised graph as its reader sees it: name, attributes, input values and inferred output shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import helper

from convoy_controller.importing.values import Constant, Quantised, Refusal, Value


@dataclass(frozen=True)
class Call:
    """One node: its name, attributes, input values (None where an optional one is absent) and inferred output shape."""

    name: str
    op: str
    attributes: dict[str, Any]
    inputs: tuple[Value | None, ...]
    shape: tuple[int, ...] | None

    def get(self, index: int) -> Value | None:
        """Input number `index`, or None if it was not given."""
        return self.inputs[index] if index < len(self.inputs) else None

    def activation(self, index: int = 0) -> Quantised:
        """Input `index`, which must be an int8 activation."""
        value = self.get(index)
        if isinstance(value, Quantised):
            return value
        if isinstance(value, Constant):
            raise Refusal(f"input {index} is a constant where an activation is needed; fold it into the weights")
        raise Refusal(f"input {index} is not quantised; quantise it, or import the float model")

    def picture(self, index: int = 0) -> Quantised:
        """Input `index`, which must be an activation of (C, H, W)."""
        value = self.activation(index)
        if len(value.shape) != 3 or value.is_reshaped:
            raise Refusal(f"takes activations of (C, H, W), {value.shape} comes; only two-dimensional layers are there")
        return value

    def constant(self, index: int) -> Constant:
        """Input `index`, which must be a constant."""
        value = self.get(index)
        if not isinstance(value, Constant):
            raise Refusal(f"input {index} must be a constant: fold what computes it")
        return value


def call(node: onnx.NodeProto, inputs: Sequence[Value | None], shape: tuple[int, ...] | None) -> Call:
    """`node` with its attributes unpacked; a node without a name goes by its first output's."""
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return Call(node.name or node.output[0], node.op_type, attributes, tuple(inputs), shape)
