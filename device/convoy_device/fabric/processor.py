"""Layers on the CPU: beside a board's logic, for those that an assignment leaves to it, or as a fabric of its own.

The fabric is for boards without logic and the reference. It has no shells and no partitions, and `facts.shells` is
empty: by that planner and agent know that an assignment of any method runs here without images. It runs every kind;
loading anything into it is a `FabricError`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from convoy_schema.messages.boards import PartitionReport
from convoy_schema.network import PreparedNetwork
from convoy_schema.processors import ProcessorRate
from convoy_schema.topology import Kind
from numpy.typing import NDArray

from convoy_device.errors import FabricError
from convoy_device.fabric import FabricFacts, Runnable
from convoy_device.fabric.pace import Pace

#: A PYNQ-Z2's memory less what Linux and the daemon take, in bytes.
USABLE_BYTES = 256 * 1024 * 1024
#: Clock that a plan's cycle model assumes until rates are measured: a Cortex-A9 does about a 100 MHz kernel's work.
CLOCK_HZ = 100_000_000


class Processor:
    """Runs any layer by `convoy_schema.layers`; with `pace`, in that many times what `rate` says it takes."""

    def __init__(self, rate: ProcessorRate | None = None, pace: float | None = None) -> None:
        self.rate = rate
        self._pace = None if pace is None or rate is None else Pace(pace)

    def run(self, work: Runnable, inputs: Sequence[NDArray[np.int8]]) -> NDArray[np.int8]:
        """`work` over a batch, each array (rows, *shape)."""
        if self._pace is None or self.rate is None or isinstance(work, PreparedNetwork):
            return work.run(inputs)
        began = self._pace.start()
        output = work.run(inputs)
        self._pace.finish(began, self.rate.seconds(work.cost, len(inputs[0])))
        return output


class ProcessorFabric:
    """Runs any layer by `convoy_schema.layers`; `memory_bytes` is what a plan may fill."""

    def __init__(self, *, memory_bytes: int = USABLE_BYTES, clock_hz: int = CLOCK_HZ) -> None:
        self._processor = Processor()
        self._facts = FabricFacts("processor", "processor", (), (), clock_hz, memory_bytes)

    @property
    def facts(self) -> FabricFacts:
        """See `Fabric`; no shells, so nothing needs to be loaded."""
        return self._facts

    def shell(self) -> str:
        """See `Fabric`: always ''."""
        return ""

    def partitions(self) -> tuple[PartitionReport, ...]:
        """See `Fabric`: always none."""
        return ()

    def load_shell(self, image: bytes) -> None:
        """Always a `FabricError`."""
        raise FabricError("a processor has no configuration memory: send this board assignments without images")

    def configure(self, partition: str, kind: Kind, image: bytes) -> None:
        """Always a `FabricError`."""
        raise FabricError(f"a processor has no partition {partition!r}: send this board assignments without images")

    def runs(self, kind: Kind) -> bool:
        """See `Fabric`: it runs every kind."""
        return True

    def run(self, work: Runnable, inputs: Sequence[NDArray[np.int8]]) -> NDArray[np.int8]:
        """See `Fabric`."""
        return self._processor.run(work, inputs)

    def quiesce(self) -> None:
        """See `Fabric`: there is no DMA."""

    def probe(self) -> None:
        """See `Fabric`: there is no register."""

    def close(self) -> None:
        """See `Fabric`: there is nothing to let go of."""
