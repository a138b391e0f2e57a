"""Networks made for a bench: random weights, no import, with golden tensors computed by the reference."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from convoy_schema.layers import Parameters, evaluate, fixed_point, pack_parameters
from convoy_schema.names import digest_of
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window
from numpy.typing import NDArray

from convoy_controller.bench.rig import Described

#: Standard deviation of random int8: sums of as many products are brought back to it.
_SPREAD = 73.0


def balanced_chain(name: str, layers: int, channels: int, side: int, kernel: int) -> Described:
    """`layers` equal convolutions over (channels, side, side): a cut anywhere costs the same."""
    shape = (channels, side, side)
    pad = kernel // 2
    window = Window((kernel, kernel), padding=(pad, pad, pad, pad))
    made = [_parameters(_random((channels, channels, kernel, kernel), seed)) for seed in range(layers)]
    digests = [digest_of(content) for content in made]
    tensors = tuple(Tensor(f"t{n}", shape, 1.0, 0) for n in range(layers + 1))
    chain = tuple(
        Layer(f"conv{n + 1}", Kind.CONV2D, (f"t{n}",), f"t{n + 1}", window, parameters=digests[n])
        for n in range(layers)
    )
    topology = Topology(name, tensors, chain, "t0", f"t{layers}")
    return _described(topology, dict(zip(digests, made, strict=True)))


def dense_layer(name: str, weights: NDArray[np.int8]) -> Described:
    """One dense layer of these weights (outputs, inputs): one artifact of about as many bytes."""
    outputs, inputs = weights.shape
    content = _parameters(weights)
    digest = digest_of(content)
    layer = Layer("dense1", Kind.DENSE, ("t0",), "t1", parameters=digest)
    tensors = (Tensor("t0", (inputs,), 1.0, 0), Tensor("t1", (outputs,), 1.0, 0))
    return _described(Topology(name, tensors, (layer,), "t0", "t1"), {digest: content})


def incompressible(outputs: int, inputs: int, seed: int = 1) -> NDArray[np.int8]:
    """Weights that do not pack."""
    return _random((outputs, inputs), seed)


def mostly_zero(outputs: int, inputs: int, filled: int, seed: int = 1) -> NDArray[np.int8]:
    """Weights of which only the first `filled` are random: they pack to little more than that."""
    weights = np.zeros(outputs * inputs, np.int8)
    weights[:filled] = _random((filled,), seed)
    return weights.reshape(outputs, inputs)


def _random(shape: tuple[int, ...], seed: int) -> NDArray[np.int8]:
    return np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int8)


def _parameters(weights: NDArray[np.int8]) -> bytes:
    outputs = weights.shape[0]
    multiplier, shift = fixed_point(1.0 / (_SPREAD * math.sqrt(weights[0].size)))
    scales = np.full(outputs, multiplier, np.int32), np.full(outputs, shift, np.int32)
    return pack_parameters(Parameters(weights, np.zeros(outputs, np.int32), *scales))


def _described(topology: Topology, parameters: Mapping[str, bytes]) -> Described:
    row = _random((1, *topology.tensor(topology.input).shape), 99)
    golden = {name: value.tobytes() for name, value in evaluate(topology, parameters, row).items()}
    return Described(topology, dict(parameters), golden)
