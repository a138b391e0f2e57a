"""What a layer makes and holds: the shape of its output, multiply-accumulates and bytes for one sample. No weights.

How long a kernel takes for it is `convoy_schema.cycles`' to say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from convoy_schema.errors import TopologyError
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window


@dataclass(frozen=True)
class Cost:
    """Of one sample: multiply-accumulates, bytes of parameters, bytes of inputs and output."""

    macs: int
    parameter_bytes: int
    buffer_bytes: int


def output_shape(layer: Layer, inputs: Sequence[tuple[int, ...]], channels: int | None = None) -> tuple[int, ...]:
    """Shape of what `layer` makes from inputs of these shapes; `channels` are the outputs of a conv2d or dense.

    Raises `TopologyError` that names the layer when the shapes do not fit it.
    """
    if not inputs or (len(inputs) > 1 and layer.kind not in (Kind.ADD, Kind.CONCAT)):
        raise TopologyError(f"layer {layer.name}: a {layer.kind.value} takes one input, {len(inputs)} came")
    first = inputs[0]
    if layer.kind is Kind.CONCAT:
        return _concatenated(layer, inputs)
    if layer.kind is Kind.ADD:
        if len(inputs) != 2 or inputs[1] != first:
            raise TopologyError(f"layer {layer.name}: add takes two inputs of one shape, {list(inputs)} came")
        return first
    if layer.kind is Kind.IDENTITY:
        return first
    if layer.kind is Kind.DENSE:
        return (_channels(layer, channels),)
    if len(first) != 3:
        raise TopologyError(f"layer {layer.name}: a {layer.kind.value} takes (C, H, W), {first} came")
    if layer.kind is Kind.GLOBAL_AVERAGE_POOL:
        return (first[0], 1, 1)
    depth = _channels(layer, channels) if layer.kind is Kind.CONV2D else first[0]
    return (depth, *swept(layer, window_of(layer), first))


def swept(layer: Layer, window: Window, shape: tuple[int, ...]) -> tuple[int, int]:
    """(height, width) of what `window` makes of an input of (C, H, W)."""
    top, left, bottom, right = window.padding
    sizes = []
    for axis, padding in ((0, top + bottom), (1, left + right)):
        reach = window.reach[axis]
        room = shape[1 + axis] + padding - reach
        if room < 0:
            raise TopologyError(f"layer {layer.name}: a window that reaches {reach} does not fit {shape} plus padding")
        sizes.append(room // window.stride[axis] + 1)
    return sizes[0], sizes[1]


def window_of(layer: Layer) -> Window:
    """The layer's window; `TopologyError` if it has none."""
    if layer.window is None:
        raise TopologyError(f"layer {layer.name}: a {layer.kind.value} needs a window")
    return layer.window


def cost(layer: Layer, topology: Topology) -> Cost:
    """Cost of `layer` for one sample, from the shapes alone."""
    return cost_of(layer, [topology.tensor(name) for name in layer.inputs], topology.tensor(layer.output))


def cost_of(layer: Layer, inputs: Sequence[Tensor], output: Tensor) -> Cost:
    """The same, of its tensors."""
    shapes, out = [tensor.shape for tensor in inputs], output.shape
    taken, made = sum(map(math.prod, shapes)), math.prod(out)
    macs, parameters = 0, 0
    if layer.kind in (Kind.CONV2D, Kind.DENSE):
        taps = _taps(layer, shapes[0])
        macs, parameters = taps * made, out[0] * (taps + 12)
    elif layer.kind in (Kind.AVERAGE_POOL, Kind.GLOBAL_AVERAGE_POOL, Kind.ADD, Kind.CONCAT):
        parameters = 8 * len(shapes)
    return Cost(macs, parameters, taken + made)


def _taps(layer: Layer, shape: tuple[int, ...]) -> int:
    if layer.kind is Kind.DENSE:
        return math.prod(shape)
    return shape[0] // layer.groups * math.prod(window_of(layer).kernel)


def _channels(layer: Layer, channels: int | None) -> int:
    if channels is None:
        raise TopologyError(f"layer {layer.name}: the shape of a {layer.kind.value} needs its output channels")
    return channels


def _concatenated(layer: Layer, inputs: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    rest = {shape[1:] for shape in inputs}
    if len(rest) != 1:
        raise TopologyError(
            f"layer {layer.name}: concat takes inputs that differ in channels alone, {list(inputs)} came"
        )
    return (sum(shape[0] for shape in inputs), *inputs[0][1:])
