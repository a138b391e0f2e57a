"""The graph of layers: tensors with their quantisation, layers with their attributes, and stages cut from it.

A topology is pure description; what a layer computes and costs is in `convoy_schema.layers`.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from convoy_schema.bounds import Range, Size
from convoy_schema.errors import TopologyError
from convoy_schema.names import Digest, Label, Name

Extent = Annotated[int, Range(1, 65536)]
Int8 = Annotated[int, Range(-128, 127)]


class Kind(enum.Enum):
    """What a layer computes, and which kernel or module can run it."""

    CONV2D = "conv2d"
    MAX_POOL = "max-pool"
    AVERAGE_POOL = "average-pool"
    GLOBAL_AVERAGE_POOL = "global-average-pool"
    DENSE = "dense"
    ADD = "add"
    CONCAT = "concat"
    IDENTITY = "identity"


@dataclass(frozen=True)
class Tensor:
    """An int8 activation: real value = scale * (q - zero_point). `shape` is (C, H, W) or (N,), without the batch."""

    name: Label
    shape: Annotated[tuple[Extent, ...], Size(3)]
    scale: Annotated[float, Range(1e-30, 1e30)]
    zero_point: Int8

    @cached_property
    def size(self) -> int:
        """Elements of one sample, which are also its bytes."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Window:
    """How a convolution or pooling moves over its input, in elements; `padding` is (top, left, bottom, right)."""

    kernel: tuple[Extent, Extent]
    stride: tuple[Extent, Extent] = (1, 1)
    padding: tuple[
        Annotated[int, Range(0, 65535)],
        Annotated[int, Range(0, 65535)],
        Annotated[int, Range(0, 65535)],
        Annotated[int, Range(0, 65535)],
    ] = (0, 0, 0, 0)
    dilation: tuple[Extent, Extent] = (1, 1)

    @property
    def reach(self) -> tuple[int, int]:
        """Height and width from its first element to its last, dilation included."""
        height, width = (step * (size - 1) + 1 for size, step in zip(self.kernel, self.dilation, strict=True))
        return height, width


@dataclass(frozen=True)
class Layer:
    """One operation. `low` and `high` clamp the quantised output: that is how Relu, Relu6 and Clip are fused."""

    name: Label
    kind: Kind
    inputs: Annotated[tuple[Label, ...], Size(64)]
    output: Label
    window: Window | None = None
    groups: Extent = 1
    count_include_pad: bool = False
    low: Int8 = -128
    high: Int8 = 127
    parameters: Digest | None = None


@dataclass(frozen=True)
class Topology:
    """Layers in an order in which each one's inputs are already there; one input tensor and one output tensor."""

    name: Name
    tensors: Annotated[tuple[Tensor, ...], Size(4096)]
    layers: Annotated[tuple[Layer, ...], Size(2048)]
    input: Label
    output: Label

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name."""
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise TopologyError(f"topology {self.name} has no tensor {name!r}", tensor=name)

    def layer(self, name: str) -> Layer:
        """The layer of that name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise TopologyError(f"topology {self.name} has no layer {name!r}", layer=name)

    def check(self) -> None:
        """Raise `TopologyError` unless names are unique and every layer's inputs are made before it runs."""
        tensors = {tensor.name for tensor in self.tensors}
        if len(tensors) != len(self.tensors):
            raise TopologyError(f"topology {self.name} names a tensor twice")
        if len({layer.name for layer in self.layers}) != len(self.layers):
            raise TopologyError(f"topology {self.name} names a layer twice")
        made = {self.input}
        for layer in self.layers:
            for name in (*layer.inputs, layer.output):
                if name not in tensors:
                    raise TopologyError(f"layer {layer.name} refers to a tensor {name!r} that is not there")
            missing = [name for name in layer.inputs if name not in made]
            if missing or not layer.inputs:
                raise TopologyError(f"layer {layer.name} needs {missing or 'an input'} before it is made")
            if layer.output in made:
                raise TopologyError(f"layer {layer.name} makes {layer.output!r} a second time")
            made.add(layer.output)
        if self.input not in tensors or self.output not in made:
            raise TopologyError(f"topology {self.name} lacks its input or output tensor")

    def needed(self, names: Sequence[str]) -> tuple[str, ...]:
        """Tensors that the layers `names` take from outside themselves, in the order first used."""
        layers = [self.layer(name) for name in names]
        inside = {layer.output for layer in layers}
        return tuple(dict.fromkeys(t for layer in layers for t in layer.inputs if t not in inside))

    def crossing(self, cut: int) -> tuple[str, ...]:
        """Tensors that travel when layers [0, cut) run before the rest; `cut` 0 is the input, the last the output."""
        if cut >= len(self.layers):
            return (self.output,)
        made = {self.input} | {layer.output for layer in self.layers[:cut]}
        later = [name for layer in self.layers[cut:] for name in layer.inputs]
        if self.output in made:
            later.append(self.output)
        return tuple(dict.fromkeys(name for name in later if name in made))
