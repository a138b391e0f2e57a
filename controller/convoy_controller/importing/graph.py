"""A quantised ONNX graph (QDQ form) to a topology and its parameters.

Nodes are read in order; what a name stands for is one of `values`. Layers come into being where a result is quantised,
so that Relu and Clip are clamps and Reshape is nothing. Every node that cannot be taken is collected, not only the
first.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from convoy_schema.errors import ConvoyError
from convoy_schema.kernels import covered
from convoy_schema.layers import Parameters, fixed_point, pack_parameters, prepare, unpack_parameters
from convoy_schema.names import LABEL_PATTERN, digest_of
from convoy_schema.topology import Kind, Layer, Tensor, Topology
from numpy.typing import NDArray
from onnx import numpy_helper, shape_inference

from convoy_controller.errors import ImportRefusedError
from convoy_controller.importing import operators
from convoy_controller.importing.values import Constant, Pending, Quantised, Refusal, Refused, Source, Value

#: What the layers of a kind are called, with a number.
PREFIX = {
    Kind.CONV2D: "conv",
    Kind.MAX_POOL: "pool",
    Kind.AVERAGE_POOL: "pool",
    Kind.GLOBAL_AVERAGE_POOL: "pool",
    Kind.DENSE: "dense",
    Kind.ADD: "add",
    Kind.CONCAT: "concat",
    Kind.IDENTITY: "clamp",
}


@dataclass(frozen=True)
class Read:
    """A topology, its parameter artifacts by digest, and the ONNX name of each of its int8 tensors."""

    topology: Topology
    parameters: dict[str, bytes]
    origins: dict[str, str]


def refuse(name: str, reasons: list[str]) -> ImportRefusedError:
    """The error that names every reason."""
    return ImportRefusedError(f"model {name} cannot be imported:\n  " + "\n  ".join(reasons), reasons=reasons)


def survey(model: onnx.ModelProto) -> list[str]:
    """Reasons why float `model` cannot be taken that its operations alone show, by node name."""
    known = {*operators.READERS, *operators.FOLDED, *operators.LAST, "QuantizeLinear", "DequantizeLinear"}
    outputs = {output.name for output in model.graph.output}
    reasons = []
    for node in model.graph.node:
        label = f"{node.name or node.output[0]} ({node.op_type})"
        if node.op_type not in known or node.domain not in ("", "ai.onnx"):
            there = ", ".join(sorted({*operators.READERS, *operators.FOLDED}))
            reasons.append(f"{label}: the layer library has no such operation; rewrite it with {there}")
        elif node.op_type in operators.LAST and node.output[0] not in outputs:
            reasons.append(f"{label}: may only be the last operation of the network")
    return reasons


def read_graph(model: onnx.ModelProto, name: str) -> Read:
    """The topology `name` of quantised `model`; raises `ImportRefusedError` with every reason."""
    reasons = survey(model)
    if reasons:
        raise refuse(name, reasons)
    return _Reader(shape_inference.infer_shapes(model, data_prop=True), name).read()


@dataclass
class _Reader:
    """State of reading one graph."""

    model: onnx.ModelProto
    name: str
    values: dict[str, Value] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    parameters: dict[str, bytes] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    input: Tensor | None = None

    def read(self) -> Read:
        graph = self.model.graph
        self.shapes = {info.name: _static(info) for info in (*graph.value_info, *graph.input, *graph.output)}
        for initialiser in graph.initializer:
            self.values[initialiser.name] = Constant(numpy_helper.to_array(initialiser))
        self._ends()
        for node in graph.node:
            if not self.reasons or not any(isinstance(self.values.get(each), Refused) for each in node.input):
                self._take(node)
            else:
                self.values.update({output: Refused() for output in node.output})
        output = self.values.get(graph.output[0].name) if graph.output else None
        if not self.reasons and not (isinstance(output, Quantised) and self.layers):
            self.reasons.append(f"output {graph.output[0].name}: is not quantised, or no layer makes it")
        if not self.reasons:
            assert isinstance(output, Quantised)
            return self._finish(output.tensor)
        raise refuse(self.name, self.reasons)

    def _ends(self) -> None:
        graph = self.model.graph
        inputs = [info.name for info in graph.input if info.name not in self.values]
        if len(inputs) != 1 or len(graph.output) != 1:
            outputs = [info.name for info in graph.output]
            raise refuse(self.name, [f"one input and one output are needed, {inputs} and {outputs} came"])
        shape = self.shapes[inputs[0]]
        if shape is None or len(shape) not in (1, 3):
            raise refuse(self.name, [f"input {inputs[0]}: must be (batch, C, H, W) or (batch, N), all but batch fixed"])
        self.values[inputs[0]] = Source(inputs[0], shape)

    def _take(self, node: onnx.NodeProto) -> None:
        given = operators.call(
            node, [self.values.get(each) if each else None for each in node.input], self.shapes.get(node.output[0])
        )
        try:
            self.values[node.output[0]] = self._value(given, node.output[0])
        except (Refusal, ConvoyError) as error:
            self.reasons.append(f"{given.name} ({given.op}): {error}")
            self.values[node.output[0]] = Refused()

    def _value(self, given: operators.Call, output: str) -> Value:
        if given.op == "Constant":
            if "value" not in given.attributes:
                raise Refusal("holds no tensor")
            return Constant(numpy_helper.to_array(given.attributes["value"]))
        if given.op == "DequantizeLinear":
            return _dequantised(given)
        if given.op == "QuantizeLinear":
            return self._quantised(given, output)
        if given.op in operators.LAST:
            return given.activation()
        if given.op not in operators.READERS:
            raise Refusal("cannot be folded into a layer beside it")
        return operators.READERS[given.op](given)

    # Layers

    def _quantised(self, given: operators.Call, output: str) -> Value:
        scale, zero = _scale_and_zero(given)
        value = given.get(0)
        if isinstance(value, Source):
            return self._input(value, scale, zero, output)
        if isinstance(value, Quantised):
            value = operators.rescale(given.name, value)
        if not isinstance(value, Pending):
            raise Refusal("quantises a value that is not a layer's result; fold constants first")
        if (scale, zero) not in value.made:
            value.made[scale, zero] = self._emit(value, scale, zero, output)
        tensor = value.made[scale, zero]
        return Quantised(tensor, value.shape)

    def _input(self, source: Source, scale: float, zero: int, output: str) -> Quantised:
        if self.input is None:
            self.input = self._tensor(source.name, source.shape, scale, zero, output)
        elif (self.input.scale, self.input.zero_point) != (scale, zero):
            raise Refusal("quantises the input a second time, otherwise")
        return Quantised(self.input, source.shape)

    def _tensor(self, label: str, shape: tuple[int, ...], scale: float, zero: int, origin: str) -> Tensor:
        if not re.fullmatch(LABEL_PATTERN, label):
            label = f"tensor{len(self.tensors)}"
        while label in self.tensors:
            label += "-out"
        tensor = Tensor(label, shape, scale, zero)
        self.tensors[label] = tensor
        self.origins[label] = origin
        return tensor

    def _emit(self, made: Pending, scale: float, zero: int, origin: str) -> Tensor:
        """The tensor of `made`, quantised so; adds the layer that makes it, if it takes one."""
        source = made.inputs[0].tensor
        same = (source.scale, source.zero_point) == (scale, zero)
        low, high = (_step(each, scale, zero) for each in (made.floor, made.ceiling))
        if made.is_rescale:
            if same and (low, high) == (-128, 127):
                return source
            made = replace(made, kind=Kind.IDENTITY if same else Kind.CONCAT, shape=source.shape)
        elif made.kind is Kind.MAX_POOL and not same:
            plain = replace(made, floor=-math.inf, ceiling=math.inf)
            pooled = self._emit(plain, source.scale, source.zero_point, f"{origin} (before rescaling)")
            rescaled = operators.rescale(made.node, Quantised(pooled, pooled.shape))
            return self._emit(replace(rescaled, floor=made.floor, ceiling=made.ceiling), scale, zero, origin)
        prefix = "scale" if made.is_rescale and not same else PREFIX[made.kind]
        self.counts[prefix] += 1
        label = f"{prefix}{self.counts[prefix]}"
        tensor = self._tensor(label, made.shape, scale, zero, origin)
        digest = None
        parameters = _parameters(made, tensor)
        if parameters is not None:
            content = pack_parameters(parameters)
            digest = digest_of(content)
            self.parameters[digest] = content
        names = tuple(each.tensor.name for each in made.inputs)
        layer = Layer(
            label, made.kind, names, tensor.name, made.window, made.groups, made.count_include_pad, low, high, digest
        )
        self.layers.append(layer)
        return tensor

    def _finish(self, output: Tensor) -> Read:
        assert self.input is not None
        topology = Topology(self.name, tuple(self.tensors.values()), tuple(self.layers), self.input.name, output.name)
        topology = self._named(_pruned(topology))
        topology.check()
        for layer in topology.layers:
            try:
                held = None if layer.parameters is None else unpack_parameters(self.parameters[layer.parameters])
                prepare(layer, topology, held)
            except ConvoyError as error:
                self.reasons.append(str(error))
        if self.reasons:
            raise refuse(self.name, self.reasons)
        used = {layer.parameters for layer in topology.layers}
        kept = {digest: content for digest, content in self.parameters.items() if digest in used}
        return Read(topology, kept, {tensor.name: self.origins[tensor.name] for tensor in topology.tensors})

    def _named(self, topology: Topology) -> Topology:
        """`topology` with its output tensor called as the model's output is."""
        old, new = topology.output, self.model.graph.output[0].name
        if new in self.tensors or not re.fullmatch(LABEL_PATTERN, new):
            return topology
        self.origins[new] = self.origins[old]

        def named(label: str) -> str:
            return new if label == old else label

        return replace(
            topology,
            tensors=tuple(replace(tensor, name=named(tensor.name)) for tensor in topology.tensors),
            layers=tuple(
                replace(layer, inputs=tuple(map(named, layer.inputs)), output=named(layer.output))
                for layer in topology.layers
            ),
            output=new,
        )


def _pruned(topology: Topology) -> Topology:
    """`topology` without layers that its output does not depend on."""
    needed = {topology.output}
    layers: list[Layer] = []
    for layer in reversed(topology.layers):
        if layer.output in needed:
            needed.update(layer.inputs)
            layers.insert(0, layer)
    needed.add(topology.input)
    tensors = tuple(tensor for tensor in topology.tensors if tensor.name in needed)
    return replace(topology, tensors=tensors, layers=tuple(layers))


# Scales --------------------------------------------------------------------------------------------------------------


def _static(info: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    """The shape without the batch; None where it is not known."""
    if not info.type.tensor_type.HasField("shape"):
        return None
    dimensions = info.type.tensor_type.shape.dim[1:]
    if not all(each.HasField("dim_value") and each.dim_value > 0 for each in dimensions):
        return None
    return tuple(each.dim_value for each in dimensions)


def _scale_and_zero(given: operators.Call) -> tuple[float, int]:
    """Scale and int8 zero point of an activation; those of uint8 ones are shifted by 128."""
    scale = given.constant(1).array
    zero = given.constant(2).array if given.get(2) is not None else np.zeros((), np.uint8)
    if scale.size != 1 or zero.dtype not in (np.int8, np.uint8):
        raise Refusal(f"quantises an activation per channel or to {zero.dtype}; per tensor and 8 bits are needed")
    return float(np.float32(scale.item())), int(zero.item()) - (128 if zero.dtype == np.uint8 else 0)


def _dequantised(given: operators.Call) -> Value:
    value = given.get(0)
    if isinstance(value, Constant):
        return _dequantised_constant(given, value)
    if not isinstance(value, Quantised):
        raise Refusal("dequantises a value that was not quantised")
    if _scale_and_zero(given) != (value.tensor.scale, value.tensor.zero_point):
        raise Refusal("has another scale or zero point than the QuantizeLinear before it")
    return value


def _dequantised_constant(given: operators.Call, value: Constant) -> Constant:
    scale = given.constant(1).array.astype(np.float32).ravel()
    zero = given.constant(2).array if given.get(2) is not None else np.zeros((), value.array.dtype)
    array: NDArray[Any] = value.array
    if array.dtype == np.uint8 and np.all(zero == 128):
        array, zero = (array.astype(np.int16) - 128).astype(np.int8), np.zeros((), np.int8)
    if np.any(zero != 0):
        raise Refusal("has weights with zero points other than 0; quantise them symmetrically")
    axis = given.attributes.get("axis", 1)
    return Constant(array, scale, axis % array.ndim if array.ndim else 0)


def _step(real: float, scale: float, zero: int) -> int:
    """The int8 to which `real` (which may be infinite) is quantised."""
    with np.errstate(over="ignore"):
        return int(np.clip(np.rint(np.float32(real) / np.float32(scale)) + zero, -128, 127))


def _parameters(made: Pending, output: Tensor) -> Parameters | None:
    scales = [np.float32(each.tensor.scale) for each in made.inputs]
    out = np.float32(output.scale)
    if made.kind in (Kind.MAX_POOL, Kind.IDENTITY):
        return None
    if made.weights is not None:
        assert made.weight_scale is not None
        assert made.bias is not None
        if np.abs(made.bias).max() >= 2**31:
            raise Refusal("has a bias that does not fit int32 in units of input scale times weight scale")
        channels = len(made.weights)
        # In float32 and in this order, as onnxruntime does: 24 bits hold a float32's mantissa, so both scale alike.
        real = np.broadcast_to(scales[0] * made.weight_scale / out, channels)
        weights = np.ascontiguousarray(made.weights)
        return Parameters(weights, made.bias.astype(np.int32), *_fixed([float(each) for each in real]))
    if made.kind in (Kind.ADD, Kind.CONCAT):
        return Parameters(None, None, *_fixed([float(each / out) for each in scales]))
    real_scale = float(scales[0]) / float(out)
    return Parameters(None, None, *_fixed([real_scale / count for count in _pool_counts(made, output)]))


def _pool_counts(made: Pending, output: Tensor) -> list[int]:
    """Over how many elements an average is taken: one number, or 1 to all when padding is left out of the count."""
    shape = made.inputs[0].tensor.shape
    if made.kind is Kind.GLOBAL_AVERAGE_POOL:
        return [shape[1] * shape[2]]
    assert made.window is not None
    taps = math.prod(made.window.kernel)
    counts = covered(made.window, made.inputs[0].tensor, (output.shape[1], output.shape[2]))
    if made.count_include_pad or counts.min() == taps:
        return [taps]
    return list(range(1, taps + 1))


def _fixed(reals: list[float]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    pairs = [fixed_point(real) for real in reals]
    return np.array([pair[0] for pair in pairs], np.int32), np.array([pair[1] for pair in pairs], np.int32)
