"""The chain of shell `fixed`: LeNet-5 as one module, a dedicated kernel for every layer, images streaming through.

Shapes, PE, SIMD and tiles are fixed in the module; parameters, zero points and clamps are not. `pack_chain` makes the
one parameter stream that its `LOAD` takes, the kernels' own one after the other. Input is the image, a word a pixel,
output a word or more of logits: as `convoy_schema.streams` packs any other tensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from convoy_schema.errors import TopologyError
from convoy_schema.folding import fold
from convoy_schema.parameters import Parameters
from convoy_schema.streams import Words, pack_parameters
from convoy_schema.tiles import WeightedTile
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window


@dataclass(frozen=True)
class ChainStage:
    """A kernel of the chain: what it computes, on which shapes, and its tile if it multiplies.

    A folded convolution has a fold kernel before it, which lays the window's columns side by side as channels.
    """

    kind: Kind
    source: tuple[int, ...]
    output: tuple[int, ...]
    window: Window | None = None
    tile: WeightedTile | None = None
    folded: bool = False


def _tile(pe: int, simd: int, rate: int, line: int, depth: int, row: int, channels: int, window: int) -> WeightedTile:
    # A convolution's results are held twice, so that one row leaves while the next is made.
    blocks, rows = -(-channels // pe), 2 if window else 1
    return WeightedTile(pe, simd, rate, line, depth, blocks * pe, row, rows * blocks * row, blocks, window)


#: Chosen so that no kernel takes more than 5,000 cycles an image; hls/convoy_hls/kernels/lenet5.cpp has the same.
LENET5: Final = (
    ChainStage(
        Kind.CONV2D,
        (1, 28, 28),
        (6, 28, 28),
        Window((5, 5), padding=(2, 2, 2, 2)),
        _tile(pe=8, simd=5, rate=2, line=168, depth=5, row=28, channels=6, window=5),
        folded=True,
    ),
    ChainStage(Kind.MAX_POOL, (6, 28, 28), (6, 14, 14), Window((2, 2), (2, 2))),
    ChainStage(
        Kind.CONV2D,
        (6, 14, 14),
        (16, 10, 10),
        Window((5, 5)),
        _tile(pe=8, simd=8, rate=2, line=240, depth=40, row=10, channels=16, window=5),
        folded=True,
    ),
    ChainStage(Kind.MAX_POOL, (16, 10, 10), (16, 5, 5), Window((2, 2), (2, 2))),
    ChainStage(Kind.DENSE, (16, 5, 5), (120,), tile=_tile(4, 8, 1, line=50, depth=1500, row=1, channels=120, window=0)),
    ChainStage(Kind.DENSE, (120,), (84,), tile=_tile(1, 8, 1, line=15, depth=1260, row=1, channels=84, window=0)),
    ChainStage(Kind.DENSE, (84,), (10,), tile=_tile(1, 8, 1, line=11, depth=110, row=1, channels=10, window=0)),
)


def refusal(topology: Topology, stages: Sequence[ChainStage] = LENET5) -> str:
    """Why the chain cannot run `topology` from its input to its output; '' when it can."""
    if len(topology.layers) != len(stages):
        return f"the chain has {len(stages)} layers, the model {len(topology.layers)}"
    name = topology.input
    for layer, stage in zip(topology.layers, stages, strict=True):
        wanted = Layer(
            layer.name, stage.kind, (name,), layer.output, stage.window, low=layer.low, high=layer.high,
            parameters=layer.parameters,
        )  # fmt: skip
        shapes = (topology.tensor(name).shape, topology.tensor(layer.output).shape)
        if layer != wanted or shapes != (stage.source, stage.output):
            return (
                f"the chain has a {stage.kind.value} {stage.source} to {stage.output} where the model has {layer.name}"
            )
        name = layer.output
    return ""


def pack_chain(
    topology: Topology, parameters: Mapping[str, Parameters | None], stages: Sequence[ChainStage] = LENET5
) -> Words:
    """The parameter stream of the whole chain, of `parameters` by layer; `TopologyError` for any other network.

    Each kernel's part begins with its settings: input and output zero point and clamp, one byte each.
    """
    reason = refusal(topology, stages)
    if reason:
        raise TopologyError(f"topology {topology.name} is not what the chain computes: {reason}")
    parts: list[NDArray[np.uint64]] = []
    for layer, stage in zip(topology.layers, stages, strict=True):
        source, output = topology.tensor(layer.inputs[0]), topology.tensor(layer.output)
        settings = _settings(layer, source, output)
        described = (layer, source, parameters[layer.name])
        if stage.folded:
            parts.append(settings)
            described = fold(*described)
        parts.append(settings)
        parts.append(pack_parameters(described[0], [described[1]], output, described[2], stage.tile).load)
    return np.concatenate(parts)


def _settings(layer: Layer, source: Tensor, output: Tensor) -> Words:
    values = np.array([source.zero_point, output.zero_point, layer.low, layer.high, 0, 0, 0, 0], np.int8)
    return values.view("<u8").astype(np.uint64)
