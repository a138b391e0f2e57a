"""One small layer of each kind with inputs, from a seed: what a self-test runs where there is no model yet.

Every kernel of every shell takes them; they are large enough for strides, padding, groups and words that are not full.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from convoy_schema.fixedpoint import fixed_point
from convoy_schema.layers import Parameters, Prepared, pack_parameters, prepare
from convoy_schema.names import digest_of
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window
from numpy.typing import NDArray

_ROWS = 4


@dataclass(frozen=True)
class Sample:
    """A layer and a batch for it."""

    layer: Prepared
    inputs: tuple[NDArray[np.int8], ...]


def sample(kind: Kind, seed: int = 1) -> Sample:
    """The sample of `kind`: the same for the same seed."""
    random = np.random.default_rng(seed)
    layer = _MAKERS[kind](random)
    inputs = tuple(random.integers(-128, 128, (_ROWS, *t.shape), dtype=np.int8) for t in layer.inputs)
    return Sample(layer, inputs)


def _scales(count: int, real: float) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    multiplier, shift = fixed_point(real)
    return np.full(count, multiplier, np.int32), np.full(count, shift, np.int32)


def _weighted(random: np.random.Generator, shape: tuple[int, ...]) -> Parameters:
    weights = random.integers(-127, 128, shape, dtype=np.int8)
    bias = random.integers(-1000, 1000, shape[0]).astype(np.int32)
    return Parameters(weights, bias, *_scales(shape[0], 0.002))


def _made(
    kind: Kind, shapes: list[tuple[int, ...]], output: tuple[int, ...], parameters: Parameters | None, **more: Any
) -> Prepared:
    names = tuple(f"in-{number}" for number in range(len(shapes)))
    # A kernel that rescales nothing must not be asked to: what goes in and out of it has one scale and zero point.
    rescales = kind not in (Kind.MAX_POOL, Kind.IDENTITY)
    tensors = [Tensor(name, shape, 0.1, 3 * rescales) for name, shape in zip(names, shapes, strict=True)]
    made = Tensor("out", output, 0.1, -5 * rescales)
    digest = None if parameters is None else digest_of(pack_parameters(parameters))
    layer = Layer(f"sample-{kind.value}", kind, names, "out", parameters=digest, **more)
    return prepare(layer, Topology("sample", (*tensors, made), (layer,), names[0], "out"), parameters)


def _conv2d(random: np.random.Generator) -> Prepared:
    window = Window((3, 3), (2, 1), (1, 1, 1, 1))
    return _made(Kind.CONV2D, [(12, 14, 10)], (20, 7, 10), _weighted(random, (20, 12, 3, 3)), window=window)


def _max_pool(random: np.random.Generator) -> Prepared:
    return _made(Kind.MAX_POOL, [(10, 12, 8)], (10, 6, 4), None, window=Window((2, 2), (2, 2)))


def _average_pool(random: np.random.Generator) -> Prepared:
    parameters = Parameters(None, None, *_scales(1, 1 / 9))
    window = Window((3, 3), (2, 2), (1, 1, 1, 1))
    return _made(Kind.AVERAGE_POOL, [(10, 12, 8)], (10, 6, 4), parameters, window=window, count_include_pad=True)


def _global_average_pool(random: np.random.Generator) -> Prepared:
    parameters = Parameters(None, None, *_scales(1, 1 / 48))
    return _made(Kind.GLOBAL_AVERAGE_POOL, [(18, 6, 8)], (18, 1, 1), parameters)


def _dense(random: np.random.Generator) -> Prepared:
    return _made(Kind.DENSE, [(100,)], (33,), _weighted(random, (33, 100)))


def _add(random: np.random.Generator) -> Prepared:
    return _made(Kind.ADD, [(10, 6, 5)] * 2, (10, 6, 5), Parameters(None, None, *_scales(2, 0.5)))


def _concat(random: np.random.Generator) -> Prepared:
    shapes: list[tuple[int, ...]] = [(10, 6, 5), (3, 6, 5)]
    return _made(Kind.CONCAT, shapes, (13, 6, 5), Parameters(None, None, *_scales(2, 0.9)))


def _identity(random: np.random.Generator) -> Prepared:
    return _made(Kind.IDENTITY, [(10, 6, 5)], (10, 6, 5), None)


_MAKERS: dict[Kind, Callable[[np.random.Generator], Prepared]] = {
    Kind.CONV2D: _conv2d,
    Kind.MAX_POOL: _max_pool,
    Kind.AVERAGE_POOL: _average_pool,
    Kind.GLOBAL_AVERAGE_POOL: _global_average_pool,
    Kind.DENSE: _dense,
    Kind.ADD: _add,
    Kind.CONCAT: _concat,
    Kind.IDENTITY: _identity,
}
