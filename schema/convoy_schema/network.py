"""The one network of shell `fixed`, ready to run as a whole: what method `stream` loads and a board's fabric takes.

The shell's chain has LeNet-5's shapes for good; parameters, zero points and clamps are streamed in. Which networks it
takes is `convoy_schema.chain.refusal`'s to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from convoy_schema import chain, layers
from convoy_schema.cycles.chain import interval, latency
from convoy_schema.errors import TopologyError
from convoy_schema.layers import Prepared
from convoy_schema.streams import Words
from convoy_schema.topology import Tensor, Topology

#: Cycles between two images, and from an image's first word to its last result, by the counted model.
INTERVAL: Final = interval()
LATENCY: Final = latency()


def chain_cycles(rows: int) -> int:
    """Modelled cycles for `rows` images that follow one another through the chain."""
    return LATENCY + (rows - 1) * INTERVAL if rows else 0


@dataclass(frozen=True)
class PreparedNetwork:
    """Every layer of `topology`, in order. As of a `Prepared`, one thread at a time may run it."""

    topology: Topology
    layers: tuple[Prepared, ...] = field(repr=False)

    @property
    def name(self) -> str:
        """The network's name, for people."""
        return self.topology.name

    @property
    def takes(self) -> tuple[str, ...]:
        """The tensor that goes in, by name."""
        return (self.topology.input,)

    @property
    def gives(self) -> str:
        """The tensor that comes out, by name."""
        return self.topology.output

    @property
    def output(self) -> Tensor:
        """The tensor that comes out."""
        return self.topology.tensor(self.topology.output)

    @cached_property
    def words(self) -> Words:
        """The parameter stream of the whole chain."""
        return chain.pack_chain(self.topology, {layer.layer.name: layer.parameters for layer in self.layers})

    def check(self, inputs: Sequence[NDArray[np.int8]]) -> None:
        """Raise `TopologyError` unless this is one array that `run` takes."""
        self.layers[0].check(inputs)

    def run(self, inputs: Sequence[NDArray[np.int8]]) -> NDArray[np.int8]:
        """The output (rows, *shape) of one array (rows, *shape), by the exact arithmetic."""
        values = inputs[0]
        for layer in self.layers:
            values = layer.run([values])
        return values


def prepare_network(topology: Topology, parameters: Mapping[str, bytes]) -> PreparedNetwork:
    """The network with `parameters` by digest; raises `TopologyError` for one that the chain is not made for."""
    reason = chain.refusal(topology)
    if reason:
        raise TopologyError(f"{topology.name} cannot run on shell fixed: {reason}", topology=topology.name)
    prepared = [layers.prepare(layer, topology, layers.load(layer, parameters)) for layer in topology.layers]
    return PreparedNetwork(topology, tuple(prepared))
