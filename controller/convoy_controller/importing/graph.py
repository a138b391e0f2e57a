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

import onnx
from convoy_schema.errors import ConvoyError
from convoy_schema.layers import pack_parameters, prepare, unpack_parameters
from convoy_schema.names import LABEL_PATTERN, digest_of
from convoy_schema.topology import Kind, Layer, Tensor, Topology
from onnx import numpy_helper, shape_inference

from convoy_controller.importing import operators
from convoy_controller.importing.call import Call, call
from convoy_controller.importing.refusals import refuse, survey
from convoy_controller.importing.scales import dequantised, parameters, scale_and_zero, step
from convoy_controller.importing.values import Constant, Pending, Quantised, Refusal, Refused, Source, Value, View

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
    """A topology, its parameter artifacts by digest, and the ONNX name of each of its int8 tensors.

    `views` says how that ONNX tensor shows those whose elements lie otherwise.
    """

    topology: Topology
    parameters: dict[str, bytes]
    origins: dict[str, str]
    views: dict[str, View]


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
    views: dict[str, View] = field(default_factory=dict)
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
        elif isinstance(output, Quantised) and output.view.order is not None:
            self.reasons.append(f"output {graph.output[0].name}: is transposed at the end; leave that to the caller")
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
        given = call(
            node, [self.values.get(each) if each else None for each in node.input], self.shapes.get(node.output[0])
        )
        try:
            self.values[node.output[0]] = self._value(given, node.output[0])
        except (Refusal, ConvoyError) as error:
            self.reasons.append(f"{given.name} ({given.op}): {error}")
            self.values[node.output[0]] = Refused()

    def _value(self, given: Call, output: str) -> Value:
        if given.op == "Constant":
            if "value" not in given.attributes:
                raise Refusal("holds no tensor")
            return Constant(numpy_helper.to_array(given.attributes["value"]))
        if given.op == "DequantizeLinear":
            return dequantised(given)
        if given.op == "QuantizeLinear":
            return self._quantised(given, output)
        if given.op not in operators.READERS:
            raise Refusal("cannot be folded into a layer beside it")
        return operators.READERS[given.op](given)

    # Layers

    def _quantised(self, given: Call, output: str) -> Value:
        scale, zero = scale_and_zero(given)
        value = given.get(0)
        if isinstance(value, Source):
            return self._input(value, scale, zero, output)
        if isinstance(value, Quantised):
            value = operators.rescale(given.name, value)
        if not isinstance(value, Pending):
            raise Refusal("quantises a value that is not a layer's result; fold constants first")
        if (scale, zero) not in value.made:
            value.made[scale, zero] = self._emit(value, scale, zero, output)
        return Quantised(value.made[scale, zero], value.seen)

    def _input(self, source: Source, scale: float, zero: int, output: str) -> Quantised:
        if self.input is None:
            self.input = self._tensor(source.name, source.shape, scale, zero, output)
        elif (self.input.scale, self.input.zero_point) != (scale, zero):
            raise Refusal("quantises the input a second time, otherwise")
        return Quantised(self.input, View(source.shape))

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
        low, high = (step(each, scale, zero) for each in (made.floor, made.ceiling))
        if made.is_rescale:
            if same and (low, high) == (-128, 127):
                return source
            made = replace(made, kind=Kind.IDENTITY if same else Kind.CONCAT, shape=source.shape)
        elif made.kind is Kind.MAX_POOL and not same:
            plain = replace(made, floor=-math.inf, ceiling=math.inf)
            pooled = self._emit(plain, source.scale, source.zero_point, f"{origin} (before rescaling)")
            rescaled = operators.rescale(made.node, Quantised(pooled, View(pooled.shape)))
            return self._emit(replace(rescaled, floor=made.floor, ceiling=made.ceiling), scale, zero, origin)
        prefix = "scale" if made.is_rescale and not same else PREFIX[made.kind]
        self.counts[prefix] += 1
        label = f"{prefix}{self.counts[prefix]}"
        tensor = self._tensor(label, made.shape, scale, zero, origin)
        digest = None
        held = parameters(made, tensor)
        if held is not None:
            content = pack_parameters(held)
            digest = digest_of(content)
            self.parameters[digest] = content
        if made.view is not None:
            self.views[tensor.name] = made.view
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
        origins = {tensor.name: self.origins[tensor.name] for tensor in topology.tensors}
        return Read(topology, kept, origins, {name: self.views[name] for name in origins if name in self.views})

    def _named(self, topology: Topology) -> Topology:
        """`topology` with its output tensor called as the model's output is."""
        old, new = topology.output, self.model.graph.output[0].name
        if new in self.tensors or not re.fullmatch(LABEL_PATTERN, new):
            return topology
        self.origins[new] = self.origins[old]
        if old in self.views:
            self.views[new] = self.views[old]

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


def _static(info: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    """The shape without the batch; None where it is not known."""
    if not info.type.tensor_type.HasField("shape"):
        return None
    dimensions = info.type.tensor_type.shape.dim[1:]
    if not all(each.HasField("dim_value") and each.dim_value > 0 for each in dimensions):
        return None
    return tuple(each.dim_value for each in dimensions)
