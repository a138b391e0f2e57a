"""Networks that nobody prepared for: drawn from a seed while a fleet runs, with branches that meet again."""

from __future__ import annotations

import random

import numpy as np
from convoy_controller.bench.rig import Described
from convoy_schema.bundle import InputSpec
from convoy_schema.layers import Parameters, evaluate, fixed_point, pack_parameters
from convoy_schema.names import digest_of
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window
from numpy.typing import NDArray

SPEC = InputSpec("t0", "CHW", 1 / 255, 0.0)
#: What a composed network ends in.
CLASSES = 10
_SCALE = 0.05
_SAME = Window((3, 3), padding=(1, 1, 1, 1))


class Composer:
    """Adds one layer after the other to what is there; `finish` closes the network."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self._chance = random.Random(seed)
        self._numbers = np.random.default_rng(seed)
        side = self._chance.randrange(8, 15, 2)
        self._tensors = [Tensor("t0", (self._chance.randint(1, 3), side, side), 1 / 255, -128)]
        self._layers: list[Layer] = []
        self._contents: dict[str, bytes] = {}

    @property
    def _last(self) -> Tensor:
        return self._tensors[-1]

    def _stored(self, weights: NDArray[np.int8] | None, count: int, scale: float) -> str:
        multiplier, shift = fixed_point(scale)
        bias = None if weights is None else self._numbers.integers(-500, 500, count).astype(np.int32)
        scales = np.full(count, multiplier, np.int32), np.full(count, shift, np.int32)
        packed = pack_parameters(Parameters(weights, bias, *scales))
        self._contents[digest_of(packed)] = packed
        return digest_of(packed)

    def _weighted(self, shape: tuple[int, ...]) -> str:
        weights = self._numbers.integers(-127, 128, shape).astype(np.int8)
        return self._stored(weights, shape[0], 1.0 / (90.0 * float(weights[0].size) ** 0.5))

    def _add(
        self, kind: Kind, inputs: tuple[Tensor, ...], shape: tuple[int, ...], window: Window | None, stored: str | None
    ) -> Tensor:
        zero = inputs[0].zero_point if kind is Kind.MAX_POOL else self._chance.randint(-30, 30)
        scale = inputs[0].scale if kind is Kind.MAX_POOL else _SCALE
        made = Tensor(f"t{len(self._tensors)}", shape, scale, zero)
        names = tuple(tensor.name for tensor in inputs)
        low = zero if kind is Kind.CONV2D and self._chance.random() < 0.5 else -128  # a Relu
        layer = Layer(f"{kind.value}{len(self._layers)}", kind, names, made.name, window, low=low, parameters=stored)
        self._tensors.append(made)
        self._layers.append(layer)
        return made

    def convolve(self, channels: int | None = None) -> Tensor:
        """3x3, as large as before."""
        source = self._last
        count = channels or self._chance.randint(2, 8)
        weights = self._weighted((count, source.shape[0], 3, 3))
        return self._add(Kind.CONV2D, (source,), (count, *source.shape[1:]), _SAME, weights)

    def pool(self) -> Tensor:
        """Half as large, by the greatest or the mean."""
        source = self._last
        kind = self._chance.choice((Kind.MAX_POOL, Kind.AVERAGE_POOL))
        stored = None if kind is Kind.MAX_POOL else self._stored(None, 1, 0.25)
        channels, height, width = source.shape
        return self._add(kind, (source,), (channels, height // 2, width // 2), Window((2, 2), (2, 2)), stored)

    def branch(self) -> Tensor:
        """A convolution beside which its input travels on, until the two are added or put side by side."""
        source = self._last
        if self._chance.random() < 0.5:
            other = self.convolve(source.shape[0])
            return self._add(Kind.ADD, (source, other), source.shape, None, self._stored(None, 2, 0.6))
        other = self.convolve()
        shape = (source.shape[0] + other.shape[0], *source.shape[1:])
        return self._add(Kind.CONCAT, (source, other), shape, None, self._stored(None, 2, 0.9))

    def finish(self) -> Described:
        """Two dense layers; with golden values of every tensor."""
        for outputs in (self._chance.randint(12, 40), CLASSES):
            source = self._last
            self._add(Kind.DENSE, (source,), (outputs,), None, self._weighted((outputs, source.size)))
        topology = Topology(self.name, tuple(self._tensors), tuple(self._layers), "t0", self._last.name)
        rows = self._numbers.integers(-128, 128, (3, *self._tensors[0].shape)).astype(np.int8)
        golden = {name: value.tobytes() for name, value in evaluate(topology, self._contents, rows).items()}
        return Described(topology, self._contents, golden, len(rows))


def compose(name: str, seed: int) -> Described:
    """A network of 6 to 11 layers of four to six kinds."""
    composer, chance = Composer(name, seed), random.Random(-seed)
    steps = [composer.convolve, composer.branch, composer.pool]
    chance.shuffle(steps)
    for step in [composer.convolve, *steps, *([composer.branch] if chance.random() < 0.5 else [])]:
        step()
    return composer.finish()
