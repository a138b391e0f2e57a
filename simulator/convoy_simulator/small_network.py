"""The networks that a simulated fleet serves: small, but of several kinds of layers and of more than one block."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from convoy_controller.bench.rig import Described
from convoy_controller.catalogue import ModelContents
from convoy_schema import layers
from convoy_schema.bundle import InputSpec
from convoy_schema.layers import Parameters, evaluate, fixed_point, pack_parameters
from convoy_schema.names import digest_of
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window
from numpy.typing import NDArray

SHAPE = (1, 12, 12)
SPEC = InputSpec("t0", "CHW", 1 / 255, 0.0)
CLASSES = tuple(f"class-{number}" for number in range(10))
_SHAPES = (SHAPE, (4, 10, 10), (4, 5, 5), (900,), (10,))


@lru_cache(maxsize=8)
def small_network(seed: int) -> Described:
    """A convolution, a pooling and two dense layers over 12x12 pixels; two seeds never answer alike."""
    random = np.random.default_rng(seed)
    contents: dict[str, bytes] = {}

    def weighted(shape: tuple[int, ...], scale: float) -> str:
        multiplier, shift = fixed_point(scale)
        count = shape[0]
        weights = random.integers(-127, 128, shape).astype(np.int8)
        bias = random.integers(-500, 500, count).astype(np.int32)
        scales = np.full(count, multiplier, np.int32), np.full(count, shift, np.int32)
        packed = pack_parameters(Parameters(weights, bias, *scales))
        contents[digest_of(packed)] = packed
        return digest_of(packed)

    quantised = [(1 / 255, -128), (0.05, -20), (0.05, -20), (0.05, 0), (0.125, 3)]
    tensors = tuple(
        Tensor(f"t{n}", shape, scale, zero)
        for n, (shape, (scale, zero)) in enumerate(zip(_SHAPES, quantised, strict=True))
    )
    chain = (
        Layer("conv", Kind.CONV2D, ("t0",), "t1", Window((3, 3)), parameters=weighted((4, 1, 3, 3), 0.0008)),
        Layer("pool", Kind.MAX_POOL, ("t1",), "t2", Window((2, 2), (2, 2))),
        Layer("dense-1", Kind.DENSE, ("t2",), "t3", parameters=weighted((900, 100), 0.002)),
        Layer("dense-2", Kind.DENSE, ("t3",), "t4", parameters=weighted((10, 900), 0.0007)),
    )
    topology = Topology("small", tensors, chain, "t0", "t4")
    rows = random.integers(-128, 128, (2, *SHAPE)).astype(np.int8)
    values = evaluate(topology, contents, rows)
    return Described(topology, contents, {name: value.tobytes() for name, value in values.items()}, len(rows))


@lru_cache(maxsize=1)
def pictures() -> NDArray[np.uint8]:
    """(101, *SHAPE) of noise: what callers ask."""
    return np.random.default_rng(3).integers(0, 256, (101, *SHAPE)).astype(np.uint8)


def raw_answers(network: ModelContents, spec: InputSpec, images: NDArray[np.uint8]) -> NDArray[np.int8]:
    """What one process makes of images: int8 (n, *output shape)."""
    topology = network.topology
    source = topology.tensor(topology.input)
    real = images.astype(np.float32) * np.float32(spec.scale) + np.float32(spec.offset)
    return evaluate(topology, network.parameters, layers.quantise(real, source))[topology.output]
