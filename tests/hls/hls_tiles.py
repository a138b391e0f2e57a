"""The instances of conv2d and dense that tests run: the library's, and those of host/instances.cpp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from convoy_hls import Kernel, Library
from convoy_schema.cycles import weighted
from convoy_schema.cycles.loops import Loop, gathered
from convoy_schema.limits import KernelLimits, weighted_limits
from convoy_schema.tiles import CONV2D, DENSE, WeightedTile
from convoy_schema.topology import Kind, Layer, Tensor


@dataclass(frozen=True)
class Instance:
    """A core and its tile."""

    core: str
    kind: Kind
    tile: WeightedTile

    @property
    def limits(self) -> KernelLimits:
        """What it refuses."""
        return weighted_limits(self.kind, self.tile)

    def kernel(self, library: Library) -> Kernel:
        """It, ready to load."""
        return Kernel(library, self.kind, self.core, self.tile)

    def load(self, layer: Layer, inputs: Sequence[Tensor], output: Tensor, _rows: int) -> tuple[Loop, ...]:
        """Loops of `LOAD`."""
        return gathered(weighted.load(layer, inputs[0], output, self.tile))

    def run(self, layer: Layer, inputs: Sequence[Tensor], output: Tensor, rows: int) -> tuple[Loop, ...]:
        """Loops of `RUN`."""
        return gathered(weighted.run(layer, inputs[0], output, rows, self.tile))


_SMALL = WeightedTile(pe=2, simd=8, rate=1, line=256, depth=5, scales=8, row=16, entries=64, blocks=32, window=12)

CONVOLUTIONS = (
    Instance("conv2d", Kind.CONV2D, CONV2D),
    Instance("small_conv2d", Kind.CONV2D, _SMALL),
    Instance("wide_conv2d", Kind.CONV2D, replace(_SMALL, pe=8, rate=2, depth=64, scales=32)),
)
DENSES = (
    Instance("dense", Kind.DENSE, DENSE),
    Instance("small_dense", Kind.DENSE, replace(_SMALL, pe=1)),
    Instance("wide_dense", Kind.DENSE, replace(_SMALL, pe=8, rate=4, depth=64, scales=32)),
)
