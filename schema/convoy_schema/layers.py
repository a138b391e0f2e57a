"""What each layer computes, defined once and exactly: the emulated fabric, HLS and the board agree with it bit for bit.

int8 activations (rows, C, H, W) or (rows, N), int8 weights, int32 accumulators (one that could overflow is refused),
requantisation by integer multiplier and shift with one rounding half to even, saturation, clamp. `prepare` checks a
layer and chooses kernels in which every sum is exact; it does not decide where a layer runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from convoy_schema import cycles, kernels
from convoy_schema.costs import Cost, cost, cost_of, output_shape
from convoy_schema.errors import TopologyError
from convoy_schema.fixedpoint import dequantise, fixed_point, quantise
from convoy_schema.folding import Given, given
from convoy_schema.kernels import Kernel
from convoy_schema.parameters import Parameters, pack_parameters, unpack_parameters
from convoy_schema.topology import Kind, Layer, Tensor, Topology

__all__ = [
    "Cost",
    "Parameters",
    "Prepared",
    "cost",
    "dequantise",
    "evaluate",
    "fixed_point",
    "output_shape",
    "pack_parameters",
    "prepare",
    "quantise",
    "unpack_parameters",
]


@dataclass(frozen=True)
class Prepared:
    """A layer ready to run. Holds scratch memory, so one thread at a time may run it."""

    layer: Layer
    inputs: tuple[Tensor, ...]
    output: Tensor
    _kernel: Kernel = field(repr=False, compare=False)
    parameters: Parameters | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.layer.name

    @property
    def takes(self) -> tuple[str, ...]:
        """The tensors that go in, by name."""
        return self.layer.inputs

    @property
    def gives(self) -> str:
        """The tensor that comes out, by name."""
        return self.layer.output

    @property
    def kind(self) -> Kind:
        """What it computes, and so which kernel or module must run it."""
        return self.layer.kind

    @cached_property
    def given(self) -> Given:
        """What a kernel outside this process is given in its place."""
        return given(self.layer, self.inputs, self.parameters)

    @cached_property
    def cost(self) -> Cost:
        """Of one sample."""
        return cost_of(self.layer, self.inputs, self.output)

    def run_cycles(self, rows: int) -> int:
        """Modelled cycles of `rows` samples in one run of its kernel."""
        return cycles.run(self.layer, self.inputs, self.output, rows)

    def load_cycles(self) -> int:
        """Modelled cycles of giving the kernel this layer's parameters, when it had another layer's."""
        return cycles.load(self.layer, self.inputs, self.output)

    def run(self, inputs: Sequence[NDArray[np.int8]]) -> NDArray[np.int8]:
        """The output (rows, *shape) of inputs (rows, *shape) each; raises `TopologyError` for other arrays."""
        self.check(inputs)
        return self._kernel(inputs)

    def check(self, inputs: Sequence[NDArray[np.int8]]) -> None:
        """Raise `TopologyError` unless these are arrays that `run` takes."""
        if len(inputs) != len(self.inputs):
            raise TopologyError(f"layer {self.layer.name} takes {len(self.inputs)} inputs, {len(inputs)} came")
        rows = inputs[0].shape[0] if inputs[0].ndim else 0
        for tensor, array in zip(self.inputs, inputs, strict=True):
            if array.dtype != np.int8 or array.shape != (rows, *tensor.shape):
                raise TopologyError(
                    f"layer {self.layer.name} takes {tensor.name!r} as int8 {(rows, *tensor.shape)}, "
                    f"{array.dtype} {array.shape} came"
                )


def prepare(layer: Layer, topology: Topology, parameters: Parameters | None) -> Prepared:
    """Check that `layer` can be computed exactly, and make it ready; raises `TopologyError` that names the layer."""
    inputs = tuple(topology.tensor(name) for name in layer.inputs)
    output = topology.tensor(layer.output)
    channels = output.shape[0] if parameters is None or parameters.weights is None else parameters.weights.shape[0]
    shape = output_shape(layer, [tensor.shape for tensor in inputs], channels)
    if shape != output.shape:
        raise TopologyError(f"layer {layer.name} makes {shape}, its tensor {output.name!r} is declared {output.shape}")
    if layer.low > layer.high:
        raise TopologyError(f"layer {layer.name}: clamp [{layer.low}, {layer.high}] is empty")
    kernel = kernels.choose(layer, inputs, output, parameters)
    return Prepared(layer, inputs, output, kernel, parameters)


def evaluate(
    topology: Topology, parameters: Mapping[str, bytes], inputs: NDArray[np.int8], upto: str | None = None
) -> dict[str, NDArray[np.int8]]:
    """Every tensor by name over `inputs` (rows, *shape), computed in one process; stops once tensor `upto` is there.

    `parameters` are the layers' artifacts by digest. This is the reference that every placement is compared with.
    """
    topology.check()
    found = {topology.input: inputs}
    for layer in topology.layers:
        if upto in found:
            break
        ready = prepare(layer, topology, load(layer, parameters))
        found[layer.output] = ready.run([found[name] for name in layer.inputs])
    return found


def load(layer: Layer, parameters: Mapping[str, bytes]) -> Parameters | None:
    """The layer's parameters out of artifacts by digest; None for a layer without; `TopologyError` if missing."""
    if layer.parameters is None:
        return None
    if layer.parameters not in parameters:
        raise TopologyError(f"layer {layer.name}: its parameters {layer.parameters[:12]} are not there")
    return unpack_parameters(parameters[layer.parameters])
