"""A kernel of the layer library as ordinary code, driven as a board's driver would: registers, streams, commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from convoy_schema.chain import pack_chain
from convoy_schema.layers import Parameters
from convoy_schema.registers import Command, layer_arguments
from convoy_schema.streams import (
    Blocks,
    ParameterStream,
    pack_inputs,
    pack_parameters,
    pack_tensor,
    parameter_passes,
    sample_words,
    unpack_tensor,
)
from convoy_schema.tiles import CONV2D, DENSE, WeightedTile
from convoy_schema.topology import Kind, Layer, Tensor, Topology
from numpy.typing import NDArray

from convoy_hls.build import Library, Outcome, Words

Int8 = NDArray[np.int8]
_NONE = np.zeros(0, np.uint64)


def core_of(kind: Kind) -> str:
    """The name of a kind's core and module: its own, as C spells it."""
    return kind.value.replace("-", "_")


class Kernel:
    """One kernel of `kind` in a library. `load` a layer, then `run` it as often as wanted."""

    def __init__(self, library: Library, kind: Kind, core: str | None = None, tile: WeightedTile | None = None) -> None:
        """`core` and `tile` other than the library's for this kind: an instance made for a test or a network."""
        self._library = library
        self.kind = kind
        self._core = core or core_of(kind)
        self._tile = tile or (DENSE if kind is Kind.DENSE else CONV2D)

    def identity(self) -> int:
        """What it answers in its identity register."""
        return self._library.start(self._core, {"command": Command.IDENTIFY}, _NONE, _NONE, 0).identity

    def load(self, layer: Layer, inputs: Sequence[Tensor], output: Tensor, parameters: Parameters | None) -> Loaded:
        """Take a layer's parameters; raises `KernelError` when the layer is beyond the kernel's limits."""
        stream = pack_parameters(layer, inputs, output, parameters, self._tile)
        registers = layer_arguments(layer, inputs, output)
        self._library.start(self._core, registers | {"command": Command.LOAD}, _NONE, stream.load, 0)
        return Loaded(self, layer, tuple(inputs), output, stream)

    def start(self, registers: dict[str, int], words: Words, parameters: Words, room: int) -> Outcome:
        """One start, with `room` words to come back; raises `KernelError`."""
        return self._library.start(self._core, registers, words, parameters, room)

    def passes(self, layer: Layer, inputs: Sequence[Tensor], output: Tensor, rows: int) -> int:
        """How often a run over `rows` samples takes the parameters that are not held."""
        return parameter_passes(layer, output, rows, Blocks(layer, inputs[0], output, self._tile))


class Loaded:
    """A layer whose parameters are in its kernel; valid until the kernel loads another one."""

    def __init__(
        self, kernel: Kernel, layer: Layer, inputs: tuple[Tensor, ...], output: Tensor, stream: ParameterStream
    ) -> None:
        self._kernel, self._layer = kernel, layer
        self._inputs, self._output = inputs, output
        self._stream = stream
        self.registers = layer_arguments(layer, inputs, output) | {"command": Command.RUN}

    def run(self, arrays: Sequence[Int8]) -> Int8:
        """int8 (rows, *shape) of the inputs (rows, *shape) each."""
        rows = len(arrays[0])
        passes = 0
        if not self._stream.held:
            passes = self._kernel.passes(self._layer, self._inputs, self._output, rows)
        outcome = self._kernel.start(
            self.registers | {"rows": rows},
            pack_inputs(self._layer.kind, arrays),
            np.tile(self._stream.each_pass, passes),
            rows * sample_words(self._output.shape),
        )
        return unpack_tensor(outcome.words, rows, self._output.shape)


class Chain:
    """LeNet-5 as one module, the chain of shell `fixed`. `load` a network's parameters, then `run` images."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._output: tuple[int, ...] = ()

    def identity(self) -> int:
        """What it answers in its identity register."""
        return self._library.start("lenet5", {"command": Command.IDENTIFY}, _NONE, _NONE, 0).identity

    def load(self, topology: Topology, parameters: Mapping[str, Parameters | None]) -> None:
        """Take the parameters, by layer; raises `TopologyError` for another network."""
        stream = pack_chain(topology, parameters)
        self._library.start("lenet5", {"command": Command.LOAD, "rows": 1}, _NONE, stream, 0)
        self._output = topology.tensor(topology.output).shape

    def run(self, images: Int8) -> Int8:
        """int8 (rows, 10) of (rows, 1, 28, 28)."""
        rows = len(images)
        room = rows * sample_words(self._output)
        outcome = self._library.start(
            "lenet5", {"command": Command.RUN, "rows": rows}, pack_tensor(images), _NONE, room
        )
        return unpack_tensor(outcome.words, rows, self._output)
