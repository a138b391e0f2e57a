"""Networks beside the system fleet's small one: with other layers over the same input, and with other parameters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from convoy_controller.bench.rig import Described
from convoy_controller.catalogue import ModelContents
from convoy_schema.layers import Parameters, evaluate, fixed_point, pack_parameters, unpack_parameters
from convoy_schema.names import digest_of
from convoy_schema.topology import Kind, Layer, Tensor, Topology
from system_fleet import SHAPE


def dense_network() -> Described:
    """Two dense layers over what the small network takes: none of the modules of its first stage."""
    random = np.random.default_rng(17)
    tensors = [Tensor("t0", SHAPE, 1 / 255, -128), Tensor("t1", (24,), 0.05, 0), Tensor("t2", (10,), 0.125, 3)]
    contents: dict[str, bytes] = {}
    layers = []
    for number in (1, 2):
        shape = tensors[number].shape[0], tensors[number - 1].size
        multiplier, shift = fixed_point(1.0 / (90.0 * shape[1] ** 0.5))
        packed = pack_parameters(
            Parameters(
                random.integers(-127, 128, shape).astype(np.int8),
                random.integers(-500, 500, shape[0]).astype(np.int32),
                np.full(shape[0], multiplier, np.int32),
                np.full(shape[0], shift, np.int32),
            )
        )
        contents[digest_of(packed)] = packed
        layers.append(
            Layer(f"dense{number}", Kind.DENSE, (f"t{number - 1}",), f"t{number}", parameters=digest_of(packed))
        )
    topology = Topology("small", tuple(tensors), tuple(layers), "t0", "t2")
    rows = random.integers(-128, 128, (2, *SHAPE)).astype(np.int8)
    golden = {name: value.tobytes() for name, value in evaluate(topology, contents, rows).items()}
    return Described(topology, contents, golden, len(rows))


def with_other_parameters(network: ModelContents) -> Described:
    """The same layers over the same tensors, with every weight another one."""
    contents: dict[str, bytes] = {}
    changed = []
    for old in network.topology.layers:
        layer = old
        if layer.parameters is not None:
            found = unpack_parameters(network.parameters[layer.parameters])
            if found.weights is not None:
                found = replace(found, weights=np.ascontiguousarray(found.weights[..., ::-1]))
            packed = pack_parameters(found)
            contents[digest_of(packed)] = packed
            layer = replace(layer, parameters=digest_of(packed))
        changed.append(layer)
    topology = replace(network.topology, layers=tuple(changed))
    first = network.topology.tensor(network.topology.input)
    rows = np.frombuffer(network.golden[first.name], np.int8).reshape(network.golden_rows, *first.shape)
    golden = {name: value.tobytes() for name, value in evaluate(topology, contents, rows).items()}
    return Described(topology, contents, golden, network.golden_rows)
