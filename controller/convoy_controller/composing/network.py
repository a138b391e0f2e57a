"""A network, layer by layer: `Network("tiny").conv2d(8, 3).relu().max_pool(2).dense(10)`.

Each method gives a new network with one layer more, which takes the layer before it or, with `of`, a named one. Nothing
is checked before `check`, `onnx` or `to_toml`, which then tell everything that is wrong at once. What it computes is
ONNX's; quantising and the fleet come later, in `convoy_controller.importer`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from convoy_schema.errors import TopicError
from convoy_schema.names import check_name

from convoy_controller.composing.operations import OPERATIONS, Shape, Values
from convoy_controller.composing.values import LAYER_NAME, MAX_EXTENT, Unfit, Value, fits, plain, shown
from convoy_controller.errors import CompositionError

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

#: What `of` calls the network's input.
INPUT = "input"
#: Layers, and weights of all of them, at most: an ONNX file of those can still be read.
MAX_LAYERS, MAX_WEIGHTS = 1000, 60 * 1024 * 1024


@dataclass(frozen=True)
class Step:
    """One layer: its operation, the layers it takes, and those of its keys that are not at their defaults."""

    op: str
    name: str
    of: tuple[str, ...]
    values: Mapping[str, Value] = field(default_factory=dict)

    @property
    def full(self) -> Values:
        """Every key of the operation, with the defaults of those that were left out."""
        return {name: self.values.get(name, key.default) for name, key in OPERATIONS[self.op].keys.items()}


@dataclass(frozen=True)
class Network:
    """Layers in the order they were added; the last one is the output.

    `input` is (channels, height, width) or (elements,) of one sample, without the batch; handwritten digits unless
    given. Layers are called by their operation and number, `conv2d1`, or as `name` says.
    """

    name: str
    input: tuple[int, ...] = (1, 28, 28)
    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "input", plain(self.input))

    # Building --------------------------------------------------------------------------------------------------------

    def conv2d(
        self,
        channels: int,
        kernel: int | Sequence[int],
        *,
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence[int] = 0,
        groups: int = 1,
        dilation: int | Sequence[int] = 1,
        bias: bool = True,
        name: str | None = None,
        of: str | None = None,
    ) -> Network:
        """A convolution to `channels`. Extents are one number or (height, width); `padding` one, two, four or "same".

        Its parameters are `NAME.weight` (channels, channels in / groups, height, width) and `NAME.bias` (channels,).
        """
        return self.with_step(
            "conv2d", name, of, channels=channels, kernel=kernel, stride=stride, padding=padding, groups=groups,
            dilation=dilation, bias=bias,
        )  # fmt: skip

    def depthwise(
        self,
        kernel: int | Sequence[int],
        *,
        multiplier: int = 1,
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        bias: bool = True,
        name: str | None = None,
        of: str | None = None,
    ) -> Network:
        """A convolution of each channel by itself, to `multiplier` channels; `NAME.weight` is (channels, 1, h, w)."""
        return self.with_step(
            "depthwise", name, of, kernel=kernel, multiplier=multiplier, stride=stride, padding=padding,
            dilation=dilation, bias=bias,
        )  # fmt: skip

    def dense(self, outputs: int, *, bias: bool = True, name: str | None = None, of: str | None = None) -> Network:
        """Every output from every input, pictures in the order channel, row, column; `NAME.weight` is (out, in)."""
        return self.with_step("dense", name, of, outputs=outputs, bias=bias)

    def relu(self, *, name: str | None = None, of: str | None = None) -> Network:
        """Nothing below 0."""
        return self.with_step("relu", name, of)

    def relu6(self, *, name: str | None = None, of: str | None = None) -> Network:
        """Nothing below 0 or above 6."""
        return self.with_step("relu6", name, of)

    def clip(self, low: float, high: float, *, name: str | None = None, of: str | None = None) -> Network:
        """Nothing below `low` or above `high`."""
        return self.with_step("clip", name, of, low=low, high=high)

    def max_pool(
        self,
        size: int | Sequence[int],
        *,
        stride: int | Sequence[int] | None = None,
        padding: int | str | Sequence[int] = 0,
        name: str | None = None,
        of: str | None = None,
    ) -> Network:
        """The greatest of each window; windows lie side by side unless `stride` says otherwise."""
        return self.with_step("max-pool", name, of, size=size, stride=stride, padding=padding)

    def average_pool(
        self,
        size: int | Sequence[int],
        *,
        stride: int | Sequence[int] | None = None,
        padding: int | str | Sequence[int] = 0,
        count_padding: bool = False,
        name: str | None = None,
        of: str | None = None,
    ) -> Network:
        """The mean of each window, of what lies in the picture alone unless `count_padding`."""
        values = {"size": size, "stride": stride, "padding": padding, "count-padding": count_padding}
        return self.with_step("average-pool", name, of, **values)

    def global_average_pool(self, *, name: str | None = None, of: str | None = None) -> Network:
        """The mean of each channel, as (channels, 1, 1)."""
        return self.with_step("global-average-pool", name, of)

    def flatten(self, *, name: str | None = None, of: str | None = None) -> Network:
        """All elements in a row; `dense` does it by itself."""
        return self.with_step("flatten", name, of)

    def add(self, *of: str, name: str | None = None) -> Network:
        """The sum of two layers of one shape: those named, or the one before this and the one named."""
        return self.with_step("add", name, of)

    def concat(self, *of: str, name: str | None = None) -> Network:
        """The channels of several layers, one after the other: of those named, or as `add`."""
        return self.with_step("concat", name, of)

    def with_step(self, op: str, name: str | None, of: str | Sequence[str] | None, /, **values: object) -> Network:
        """One layer more, of any operation, by the keys that TOML has; None is a key that is not given."""
        before = self.steps[-1].name if self.steps else INPUT
        taken = (of,) if isinstance(of, str) else tuple(of or ())
        operation = OPERATIONS.get(op)
        if operation is not None and operation.least > len(taken) < 2:
            taken = (before, *taken)
        number = 1 + sum(step.op == op for step in self.steps)
        keys = operation.keys if operation is not None else {}
        given = {key: plain(value) for key, value in values.items() if value is not None}
        kept = {
            key: given[key]
            for key in (*keys, *given)  # in one order, however they were given
            if key in given and not (key in keys and _is(given[key], keys[key].default))
        }
        step = Step(op, f"{op}{number}" if name is None else name, taken or (before,), kept)
        return replace(self, steps=(*self.steps, step))

    # What it is ------------------------------------------------------------------------------------------------------

    def check(self) -> dict[str, Shape]:
        """Shape of the input and of every layer by name; raises `CompositionError` that lists all that is wrong."""
        shapes, reasons = _Survey(self).all()
        if reasons:
            raise refuse(self.name, reasons)
        return shapes

    def parameter_shapes(self) -> dict[str, Shape]:
        """Shape of every parameter by the name it has in an .npz file, `LAYER.weight` and `LAYER.bias`."""
        return dict(_parameters(self, self.check()))

    def onnx(self, parameters: Mapping[str, NDArray[np.generic]] | None = None, *, seed: int = 0) -> onnx.ModelProto:
        """The float ONNX model, with these parameters by name, or with random ones from `seed`.

        Raises `CompositionError` that lists everything that is wrong with layers, or else with parameters.
        """
        from convoy_controller.composing import export, weights

        shapes = self.check()
        needed = dict(_parameters(self, shapes))
        held = (
            weights.seeded(self.name, needed, seed)
            if parameters is None
            else weights.checked(self.name, needed, parameters)
        )
        return export.model(self, shapes, held)

    def to_toml(self) -> str:
        """The network as a TOML file, from which `from_toml` makes an equal one."""
        from convoy_controller.composing import text

        self.check()
        return text.written(self)

    @staticmethod
    def from_toml(content: str) -> Network:
        """The network of a TOML file, checked; raises `CompositionError` that lists all that is wrong."""
        from convoy_controller.composing import text

        network, reasons = text.read(content)
        reasons += _Survey(network).all()[1]
        if reasons:
            raise refuse(network.name, reasons)
        return network


def refuse(name: str, reasons: list[str]) -> CompositionError:
    """The error that names every reason."""
    return CompositionError(f"network {name} cannot be composed:\n  " + "\n  ".join(reasons), reasons=reasons)


def _is(value: Value, default: Value | None) -> bool:
    return type(value) is type(default) and value == default


def _parameters(network: Network, shapes: Mapping[str, Shape]) -> Iterator[tuple[str, Shape]]:
    for step in network.steps:
        weights = OPERATIONS[step.op].weights
        if weights is None:
            continue
        shape = weights(step.full, shapes[step.of[0]])
        yield f"{step.name}.weight", shape
        if step.full["bias"]:
            yield f"{step.name}.bias", shape[:1]


class _Survey:
    """One look over a network that finds every shape, and every reason why it cannot be."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._reasons: list[str] = []
        #: None where a layer was refused: what takes it is not refused a second time.
        self._shapes: dict[str, Shape | None] = {}

    def all(self) -> tuple[dict[str, Shape], list[str]]:
        """Shapes by name, and reasons."""
        self._look_at_ends()
        for step in self._network.steps[:MAX_LAYERS]:
            self._shapes[step.name] = self._look_at(step)
        shapes = {name: shape for name, shape in self._shapes.items() if shape is not None}
        if not self._reasons:
            self._look_at_all(shapes)
        return shapes, self._reasons

    def _look_at_ends(self) -> None:
        network = self._network
        try:
            check_name(network.name)
        except TopicError as error:
            self._reasons.append(str(error))
        shape = network.input
        is_shape = isinstance(shape, tuple) and len(shape) in (1, 3)
        if is_shape and all(type(size) is int and 1 <= size <= MAX_EXTENT for size in shape):
            self._shapes[INPUT] = shape
        else:
            must = f"[channels, height, width] or [elements], each 1 to {MAX_EXTENT}"
            self._reasons.append(f"input: must be {must}, {shown(plain(shape))} came")
            self._shapes[INPUT] = None
        if not 1 <= len(network.steps) <= MAX_LAYERS:
            self._reasons.append(f"layer: there must be 1 to {MAX_LAYERS} layers, {len(network.steps)} came")

    def _look_at(self, step: Step) -> Shape | None:
        before = len(self._reasons)
        if not LAYER_NAME.fullmatch(step.name):
            self._say(step, f"its name must be 1 to 100 of A-Z, a-z, 0-9, '_', '.' and '-', {shown(step.name)} came")
        if step.name in self._shapes:
            self._say(step, "there is a layer (or the input) of that name before it; each must have its own `name`")
        if step.op not in OPERATIONS:
            self._say(step, f"`op` must be one of {', '.join(OPERATIONS)}; {shown(step.op)} came")
            return None
        self._look_at_keys(step)
        inputs = self._inputs(step)
        if len(self._reasons) > before or inputs is None:
            return None
        try:
            return OPERATIONS[step.op].shape(step.full, inputs)
        except Unfit as error:
            self._say(step, str(error))
            return None

    def _look_at_keys(self, step: Step) -> None:
        keys = OPERATIONS[step.op].keys
        for name, value in step.values.items():
            if name not in keys:
                known = ", ".join((*keys, "name", "of"))
                self._say(step, f"has a key `{name}` = {shown(value)}; {step.op} knows {known}")
            elif not fits(keys[name].form, value):
                self._say(step, f"`{name}` must be {keys[name].form.value}, {shown(value)} came")
        for name, key in keys.items():
            if key.is_needed and name not in step.values:
                self._say(step, f"`{name}` must be there: {key.form.value}; nothing came")

    def _inputs(self, step: Step) -> list[Shape] | None:
        operation = OPERATIONS[step.op]
        most = math.inf if operation.most is None else operation.most
        if not operation.least <= len(step.of) <= most:
            must = f"{operation.least}" if operation.most is not None else f"{operation.least} or more"
            self._say(step, f"`of` must name {must} of the layers before it, {shown(step.of)} came")
        unknown = [name for name in step.of if name not in self._shapes]
        if unknown:
            there = ", ".join(list(self._shapes)[-12:])
            self._say(step, f"`of` must name layers before it (such as {there}), {shown(tuple(unknown))} came")
            return None
        found = [self._shapes[name] for name in step.of]
        return None if None in found else [shape for shape in found if shape is not None]

    def _look_at_all(self, shapes: Mapping[str, Shape]) -> None:
        """What shows only once every layer is right by itself."""
        steps = self._network.steps
        uses = Counter(name for step in steps for name in step.of)
        for step in steps[:-1]:
            if not uses[step.name]:
                self._say(step, "its result must be taken by a layer behind it, or be the last; nothing takes it")
        count = sum(math.prod(shape) for _, shape in _parameters(self._network, shapes))
        if count > MAX_WEIGHTS:
            self._reasons.append(f"parameters: there may be {MAX_WEIGHTS} in all, these layers have {count}")

    def _say(self, step: Step, reason: str) -> None:
        self._reasons.append(f"layer {step.name[:100]} ({step.op[:40]}): {reason}")
