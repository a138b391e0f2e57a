"""A device of the real `pynq` package whose chip is the register model: it stands in for XRT, /dev/mem and sysfs.

Everything above those three is the package's own: devices, buffers, memory-mapped registers, clocks, downloads.
"""

from __future__ import annotations

import builtins
import ctypes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pynq
import pynq.buffer
import pytest
from chip_blocks import Registers
from chip_model import MEMORY_BASE, ChipModel
from convoy_device.fabric.pynq.board import borrowed_event_loop
from pynq.pl_server import embedded_device, global_state
from pynq.pl_server.embedded_device import EmbeddedDevice

SYSTEM = 0xF800_0000
SYSFS = "/sys/class/fpga_manager/fpga0/"
#: Buffers are at least that long in XRT.
_LEAST = 8192


class RegisterArray:
    """What `mmap` of /dev/mem gives: words by index; numpy's own integers go in, Python's come out."""

    def __init__(self, model: ChipModel, base: int, length: int) -> None:
        self._model = model
        self._base = base
        self._words = length // 4

    def __len__(self) -> int:
        return self._words

    def __getitem__(self, index: int) -> int:
        assert 0 <= index < self._words
        return self._model.read(self._base + 4 * int(index))

    def __setitem__(self, index: int, value: Any) -> None:
        assert 0 <= index < self._words
        self._model.write(self._base + 4 * int(index), int(value))


class SystemRegisters(Registers):
    """The processor's own registers as plain memory, because the package takes views of their bits."""

    def __init__(self, model: ChipModel) -> None:
        super().__init__(model)
        self.array = np.zeros(0x1_0000 // 4, np.uint32)
        for offset, value in model.system.words.items():
            self.array[offset // 4] = value

    def read(self, offset: int) -> int:
        return int(self.array[offset // 4])

    def write(self, offset: int, value: int) -> None:
        self.array[offset // 4] = value


class BufferObject:
    """An XRT buffer object: `size` bytes at `address`, of which the processor sees what was synchronised."""

    def __init__(self, address: int, size: int) -> None:
        self.at = address
        self.content = bytearray(size)


class RecordingDevice(EmbeddedDevice):  # type: ignore[misc]
    """An `EmbeddedDevice` on the model; `events` says what was asked of XRT, in order."""

    def __init__(self, model: ChipModel) -> None:
        self.model = model
        self.events: list[str] = []
        self._next = MEMORY_BASE
        self.system = model.system = SystemRegisters(model)
        self.unmapped: list[int] = []
        super().__init__(0, "recording{}")
        self.arch = "armv7l"

    def _get_handle(self) -> None:
        def load_xclbin(file: str) -> str:
            self.events.append(f"xclbin {Path.cwd()} {Path(file).stat().st_size}")
            return "uuid"

        self.handle = SimpleNamespace(load_xclbin=load_xclbin)

    @property
    def device_info(self) -> Any:
        return SimpleNamespace(name="recording", pcie_info=None, max_clock_frequency_mhz=())

    def mmap(self, base_addr: int, length: int) -> Any:
        self.events.append(f"mmap 0x{base_addr:08X}")
        if base_addr == SYSTEM:
            return self.system.array[: length // 4]
        return RegisterArray(self.model, base_addr, length)

    def allocate_bo(self, size: int, idx: int, cacheable: int) -> BufferObject:
        size = max(size, _LEAST)
        found = BufferObject(self._next, size)
        self._next += -(-size // 4096) * 4096
        self.events.append(f"allocate {size}")
        return found

    def map_bo(self, bo: BufferObject) -> memoryview:
        return memoryview(bo.content)

    def get_device_address(self, bo: BufferObject) -> int:
        return bo.at

    def flush(self, bo: BufferObject, offset: int, ptr: int, size: int) -> None:
        self.model.set_memory(bo.at, bytes(bo.content))

    def invalidate(self, bo: BufferObject, offset: int, ptr: int, size: int) -> None:
        bo.content[:] = self.model.memory_at(bo.at, len(bo.content))


def install(model: ChipModel, monkeypatch: pytest.MonkeyPatch, state: Path) -> RecordingDevice:
    """A device on `model`, with the package's fixed paths led to it, and itself as the package's active device."""

    def redirected(path: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        text = str(path)
        if text.startswith(SYSFS):
            return model.open_attribute(text[len(SYSFS) :], mode)
        return builtins.open(path, mode, *rest, **named)  # noqa: PTH123 - it stands for that very function

    for module in (embedded_device, global_state):
        monkeypatch.setattr(module, "open", redirected, raising=False)
    monkeypatch.setattr(global_state, "STATE_DIR", str(state))
    state.mkdir(exist_ok=True)
    with borrowed_event_loop():
        device = RecordingDevice(model)
    # The package has both on a board only.
    libc = SimpleNamespace(munmap=lambda pointer, length: device.unmapped.append(length))
    monkeypatch.setattr(pynq.buffer, "libc", libc, raising=False)
    monkeypatch.setattr(pynq.buffer, "ctypes", ctypes, raising=False)
    monkeypatch.setattr(pynq.Device, "_active_device", device, raising=False)
    monkeypatch.delattr(pynq.Clocks, "_real_instance", raising=False)
    return device
