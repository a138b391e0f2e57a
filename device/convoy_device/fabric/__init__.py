"""What the daemon needs of a board's programmable logic, whichever kind of fabric is behind it.

A fabric is used by one thread at a time: the daemon holds its lock round every call. Nothing here decides what to load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from convoy_schema.layers import Prepared
from convoy_schema.messages.boards import Partition, PartitionReport
from convoy_schema.network import PreparedNetwork
from convoy_schema.topology import Kind
from numpy.typing import NDArray

#: What a fabric runs: a layer, or on shell `fixed` a whole network.
Runnable = Prepared | PreparedNetwork


@dataclass(frozen=True)
class FabricFacts:
    """What a fabric is, as far as it does not change while the daemon runs."""

    name: str
    part: str
    shells: tuple[str, ...]
    partitions: tuple[Partition, ...]
    clock_hz: int
    memory_bytes: int


class Fabric(Protocol):
    """Programmable logic behind one board. Every method may raise `FabricError`."""

    @property
    def facts(self) -> FabricFacts:
        """Part, loadable shells, partitions, clock (Hz) and memory (bytes)."""
        ...

    def shell(self) -> str:
        """Name of the shell that is loaded now, read back from the configuration; '' when blank."""
        ...

    def partitions(self) -> tuple[PartitionReport, ...]:
        """What each partition of the loaded shell holds, read back from the configuration."""
        ...

    def load_shell(self, image: bytes) -> None:
        """Full configuration: every partition is blank and decoupled afterwards until a module is loaded."""
        ...

    def configure(self, partition: str, kind: Kind, image: bytes) -> None:
        """Load a partial bitstream as one transaction: quiesce, decouple, load, read back, check `kind`, recouple.

        On any failure the partition stays decoupled, is reported degraded, and `FabricError` is raised.
        """
        ...

    def runs(self, kind: Kind) -> bool:
        """Whether a kernel or a coupled module of `kind` is there now, so that `run` would not need a `configure`."""
        ...

    def run(self, work: Runnable, inputs: Sequence[NDArray[np.int8]]) -> NDArray[np.int8]:
        """`work` over a batch, each array (rows, *shape); raises `FabricError` when nothing there can run it."""
        ...

    def quiesce(self) -> None:
        """Stop DMA and wait for it, whatever an earlier daemon left running."""
        ...

    def probe(self) -> None:
        """Read a register of what is configured, if anything is; raises `FabricError` unless it answers right."""
        ...

    def close(self) -> None:
        """Let go of the fabric; what is configured stays."""
        ...
