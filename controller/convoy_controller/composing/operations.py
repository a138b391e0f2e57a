"""What a network can be composed of: each operation's keys, what it makes of its inputs' shapes, and its parameters.

`OPERATIONS` is the list that the builder, TOML and their documentation share. How an operation is written in ONNX is
for `convoy_controller.composing.export`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from convoy_schema.topology import Window

from convoy_controller.composing.values import MAX_EXTENT, Form, Key, Unfit, Value, extents, number, padding, whole

Shape = tuple[int, ...]
#: Every key of a layer, those that were left out as their defaults.
Values = Mapping[str, Value | None]


@dataclass(frozen=True)
class Operation:
    """`shape` makes the output's of the inputs', or raises `Unfit`; `weights` are (outputs first), if it has any."""

    keys: Mapping[str, Key]
    shape: Callable[[Values, Sequence[Shape]], Shape]
    weights: Callable[[Values, Shape], Shape] | None = None
    #: Layers it takes; no `most` for any number.
    least: int = 1
    most: int | None = 1


def moves(values: Values, shape: Shape) -> Window:
    """The window of a convolution or pool over a picture of `shape`."""
    kernel = extents(values["kernel"] if "kernel" in values else values["size"])
    stride = kernel if values["stride"] is None else extents(values["stride"])
    dilation = extents(values.get("dilation", 1))
    without = Window(kernel, stride, (0, 0, 0, 0), dilation)
    pads = padding(values["padding"], (shape[1], shape[2]), without.reach, stride)
    return Window(kernel, stride, pads, dilation)


def groups_of(values: Values, channels: int) -> int:
    """Groups of a convolution over `channels`: a depthwise one has one for each."""
    return whole(values["groups"]) if "groups" in values else channels


# Shapes --------------------------------------------------------------------------------------------------------------


def _picture(shape: Shape) -> Shape:
    if len(shape) != 3:
        raise Unfit(f"takes a picture of (channels, height, width), {shape} came")
    return shape


def _swept(found: Window, shape: Shape) -> tuple[int, int]:
    sizes = []
    for axis in (0, 1):
        room = shape[1 + axis] + found.padding[axis] + found.padding[2 + axis] - found.reach[axis]
        if room < 0:
            raise Unfit(f"its window reaches over {found.reach}, which must fit into {shape[1:]} with its padding")
        sizes.append(room // found.stride[axis] + 1)
    return sizes[0], sizes[1]


def _bounded(shape: Shape) -> Shape:
    if max(shape) > MAX_EXTENT:
        raise Unfit(f"makes {shape}; no axis may be longer than {MAX_EXTENT}")
    return shape


def _outputs(values: Values, channels: int) -> int:
    return whole(values["channels"]) if "channels" in values else channels * whole(values["multiplier"])


def _conv(values: Values, shapes: Sequence[Shape]) -> Shape:
    shape = _picture(shapes[0])
    outputs, groups = _outputs(values, shape[0]), groups_of(values, shape[0])
    if shape[0] % groups or outputs % groups:
        raise Unfit(f"groups must divide the channels that go in ({shape[0]}) and out ({outputs}), {groups} came")
    return _bounded((outputs, *_swept(moves(values, shape), shape)))


def _conv_weights(values: Values, shape: Shape) -> Shape:
    return (_outputs(values, shape[0]), shape[0] // groups_of(values, shape[0]), *extents(values["kernel"]))


def _pool(values: Values, shapes: Sequence[Shape]) -> Shape:
    shape = _picture(shapes[0])
    found = moves(values, shape)
    if any(pad >= found.kernel[at % 2] for at, pad in enumerate(found.padding)):
        raise Unfit(f"padding must be less than the size {found.kernel}, {found.padding} came")
    return _bounded((shape[0], *_swept(found, shape)))


def _same(values: Values, shapes: Sequence[Shape]) -> Shape:
    return shapes[0]


def _clip(values: Values, shapes: Sequence[Shape]) -> Shape:
    low, high = number(values["low"]), number(values["high"])
    if low >= high:
        raise Unfit(f"low must be below high, {low} and {high} came")
    return shapes[0]


def _add(values: Values, shapes: Sequence[Shape]) -> Shape:
    if len(set(shapes)) != 1:
        raise Unfit(f"adds layers of one shape, {' and '.join(map(str, shapes))} came")
    return shapes[0]


def _concat(values: Values, shapes: Sequence[Shape]) -> Shape:
    if len({shape[1:] for shape in shapes}) != 1:
        raise Unfit(f"joins layers that differ in their channels alone, {' and '.join(map(str, shapes))} came")
    return _bounded((sum(shape[0] for shape in shapes), *shapes[0][1:]))


def _global(values: Values, shapes: Sequence[Shape]) -> Shape:
    return (_picture(shapes[0])[0], 1, 1)


def _flat(values: Values, shapes: Sequence[Shape]) -> Shape:
    return _bounded((math.prod(shapes[0]),))


# The list ------------------------------------------------------------------------------------------------------------

_COUNT = Key(Form.COUNT, is_needed=True)
_SIZE = Key(Form.EXTENTS, is_needed=True)
_BIAS = Key(Form.FLAG, True)
_SWEEP = {"kernel": _SIZE, "stride": Key(Form.EXTENTS, 1), "padding": Key(Form.PADDING, 0)}
#: A pool's stride is its size unless it is given.
_POOL = {"size": _SIZE, "stride": Key(Form.EXTENTS), "padding": Key(Form.PADDING, 0)}
_DILATION = {"dilation": Key(Form.EXTENTS, 1)}
_LIMIT = Key(Form.NUMBER, is_needed=True)

OPERATIONS: dict[str, Operation] = {
    "conv2d": Operation(
        {"channels": _COUNT, **_SWEEP, "groups": Key(Form.COUNT, 1), **_DILATION, "bias": _BIAS}, _conv, _conv_weights
    ),
    "depthwise": Operation(
        {**_SWEEP, "multiplier": Key(Form.COUNT, 1), **_DILATION, "bias": _BIAS}, _conv, _conv_weights
    ),
    "dense": Operation(
        {"outputs": _COUNT, "bias": _BIAS},
        lambda values, shapes: (whole(values["outputs"]),),
        lambda values, shape: (whole(values["outputs"]), math.prod(shape)),
    ),
    "relu": Operation({}, _same),
    "relu6": Operation({}, _same),
    "clip": Operation({"low": _LIMIT, "high": _LIMIT}, _clip),
    "max-pool": Operation(_POOL, _pool),
    "average-pool": Operation({**_POOL, "count-padding": Key(Form.FLAG, False)}, _pool),
    "global-average-pool": Operation({}, _global),
    "flatten": Operation({}, _flat),
    "add": Operation({}, _add, least=2, most=2),
    "concat": Operation({}, _concat, least=2, most=None),
}
