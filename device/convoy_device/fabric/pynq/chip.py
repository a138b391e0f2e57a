"""What the driver needs of the chip and its Linux: registers, memory that DMA reaches, and full configuration.

`board.PynqBoard` is the real one. One thread at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Memory(Protocol):
    """Contiguous bytes that the processor and DMA both reach."""

    @property
    def address(self) -> int:
        """Where DMA finds the first byte; below 4 GiB."""
        ...

    @property
    def array(self) -> NDArray[np.uint8]:
        """The bytes, as the processor sees them."""
        ...

    def flush(self) -> None:
        """Let DMA see what the processor wrote."""
        ...

    def invalidate(self) -> None:
        """Let the processor see what DMA wrote."""
        ...

    def free(self) -> None:
        """Give it back; neither side may touch it afterwards."""
        ...


class Chip(Protocol):
    """The programmable logic, as Linux on the board reaches it. Every method may raise `FabricError`."""

    @property
    def versions(self) -> Mapping[str, str]:
        """What a report about this board should name: package, kernel, model."""
        ...

    def read(self, address: int) -> int:
        """A 32-bit register. Reading where nothing answers hangs the processor for good."""
        ...

    def write(self, address: int, value: int) -> None:
        """Set a 32-bit register."""
        ...

    def allocate(self, size: int) -> Memory:
        """`size` bytes or more, uncached or to be flushed; needs a configuration to have been loaded."""
        ...

    def download(self, image: Path, firmware: str) -> None:
        """Full configuration from the .bit file `image`, which lies in the firmware folder as `firmware`."""
        ...

    def holds(self, image: Path) -> bool:
        """Whether the last full configuration, by any process since power-on, was the file `image`."""
        ...

    def set_clock(self, clock_hz: int) -> float:
        """Set the logic's first clock; returns the hertz that it really has now."""
        ...
