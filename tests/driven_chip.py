"""The register model of a chip, driven without the `pynq` package, with memory that counts and orders its buffers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from chip_model import MEMORY_BASE, MEMORY_BYTES, ChipModel
from convoy_device.errors import FabricError
from numpy.typing import NDArray


class ModelMemory:
    """DMA's memory; what is written shows on the other side after a flush or an invalidate, as with a cache between."""

    def __init__(self, chip: ModelChip, address: int, size: int) -> None:
        self._chip = chip
        self.address = address
        self._cached = np.zeros(size, np.uint8)

    @property
    def array(self) -> NDArray[np.uint8]:
        return self._cached

    def flush(self) -> None:
        self._chip.model.set_memory(self.address, self._cached.tobytes())

    def invalidate(self) -> None:
        content = self._chip.model.memory_at(self.address, self._cached.size)
        self._cached[:] = np.frombuffer(content, np.uint8)

    def free(self) -> None:
        self._chip.freed(self)


class ModelChip:
    """`Chip` on the model."""

    def __init__(self, model: ChipModel) -> None:
        self.model = model
        self.allocated: list[ModelMemory] = []
        self.allocations = 0
        self._next = MEMORY_BASE

    @property
    def versions(self) -> Mapping[str, str]:
        return {"model": "register model"}

    def read(self, address: int) -> int:
        return self.model.read(address)

    def write(self, address: int, value: int) -> None:
        self.model.write(address, value)

    def allocate(self, size: int) -> ModelMemory:
        if not self.model.shell or "memory" in self.model.faults:
            raise FabricError("Overlay is not downloaded")
        if self._next + size > MEMORY_BASE + MEMORY_BYTES:
            raise FabricError("no contiguous memory is left")
        memory = ModelMemory(self, self._next, size)
        self._next += -(-size // 4096) * 4096
        self.allocated.append(memory)
        self.allocations += 1
        return memory

    def freed(self, memory: ModelMemory) -> None:
        assert self.allocated.pop() is memory, "memory is freed in the reverse of its order"
        self._next = memory.address

    def download(self, image: Path, firmware: str) -> None:
        assert not self.allocated, "a full configuration came while memory was allocated"
        try:
            for name, value in (("flags", "0"), ("firmware", firmware)):
                with self.model.open_attribute(name, "w") as attribute:
                    attribute.write(value)
        except OSError as error:
            raise FabricError(str(error)) from error
        self.model.last_full = str(image)

    def holds(self, image: Path) -> bool:
        return self.model.last_full == str(image)

    def set_clock(self, clock_hz: int) -> float:
        self.model.system.words[0x170] = 2 << 20 | 5 << 8
        return float(self.model.faults.get("clock", clock_hz))
