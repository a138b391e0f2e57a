"""Small layers, and a register model whose kernels compute them from what really came over their streams."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from chip_model import ChipModel
from convoy_schema import streams
from convoy_schema.fixedpoint import fixed_point
from convoy_schema.layers import Parameters, Prepared, pack_parameters, prepare
from convoy_schema.names import digest_of
from convoy_schema.registers import Command
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window
from numpy.typing import NDArray


def weighted(shape: tuple[int, ...]) -> Parameters:
    """Weights of that shape that tell every place apart, and scales."""
    multiplier, shift = fixed_point(0.01)
    return Parameters(
        np.arange(int(np.prod(shape))).astype(np.int8).reshape(shape),
        np.arange(shape[0], dtype=np.int32),
        np.full(shape[0], multiplier, np.int32),
        np.full(shape[0], shift, np.int32),
    )


def conv2d(channels: int, outputs: int, stride: int = 1) -> Prepared:
    parameters = weighted((outputs, channels, 3, 3))
    window = Window((3, 3), (stride, stride), (1, 1, 1, 1))
    layer = Layer("conv", Kind.CONV2D, ("x",), "y", window, parameters=digest_of(pack_parameters(parameters)))
    extents = (4 // stride + 1, 5 // stride + 1)
    tensors = (Tensor("x", (channels, 5, 6), 0.1, 3), Tensor("y", (outputs, *extents), 0.1, -5))
    return prepare(layer, Topology("t", tensors, (layer,), "x", "y"), parameters)


def dense(features: int = 12, outputs: int = 3) -> Prepared:
    parameters = weighted((outputs, features))
    layer = Layer("fc", Kind.DENSE, ("x",), "y", parameters=digest_of(pack_parameters(parameters)))
    tensors = (Tensor("x", (features,), 0.1, 3), Tensor("y", (outputs,), 0.1, -5))
    return prepare(layer, Topology("t", tensors, (layer,), "x", "y"), parameters)


def max_pool(row: int = 8) -> Prepared:
    layer = Layer("pool", Kind.MAX_POOL, ("x",), "y", Window((2, 2), (2, 2)))
    tensors = (Tensor("x", (2, 8, row), 0.1, 0), Tensor("y", (2, 4, row // 2), 0.1, 0))
    return prepare(layer, Topology("t", tensors, (layer,), "x", "y"), None)


def batch(layer: Prepared, rows: int = 4) -> list[NDArray[np.int8]]:
    random = np.random.default_rng(rows)
    return [random.integers(-128, 128, (rows, *tensor.shape), dtype=np.int8) for tensor in layer.inputs]


def serve(model: ChipModel, *known: Prepared) -> list[int]:
    """Let every kernel compute the layer whose shape it is told, after it has been given its parameters.

    Returns the commands that were carried out, as they come.
    """
    commands: list[int] = []
    held: list[bytes] = []

    def compute(kind: Kind, arguments: Mapping[str, int], activations: bytes, parameters: bytes) -> bytes:
        layer = next(one for one in known if one.output.shape[0] == arguments["out_channels"])
        assert layer.kind is kind
        stream = streams.pack_parameters(layer.layer, layer.inputs, layer.output, layer.parameters)
        commands.append(arguments["command"])
        if arguments["command"] == Command.LOAD:
            assert parameters == stream.load.tobytes()
            held[:] = [parameters]
            return b""
        assert not stream.load.size or held == [stream.load.tobytes()], "the kernel holds other parameters"
        rows, shape = arguments["rows"], layer.inputs[0].shape
        words = np.frombuffer(activations, np.uint64)
        return streams.pack_tensor(layer.run([streams.unpack_tensor(words, rows, shape)])).tobytes()

    model.compute = compute
    return commands
