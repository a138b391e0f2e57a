"""The chip of a real board, through the `pynq` package: the only module that imports it. Not yet run on a board.

The package is asked for a device, for memory, for memory-mapped registers, for the clock and for full configuration; it
gets no hardware handoff. `fabric.opening` imports this when a board's configuration says `pynq`, in the main thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convoy_device.errors import FabricError
from convoy_device.fabric.pynq.chip import Memory

# The package looks for it when it first looks for a device; a service has no login shell to set it.
os.environ.setdefault("XILINX_XRT", "/usr")

import pynq
from pynq.pl_server import global_state
from pynq.pl_server.embedded_device import EmbeddedDevice

#: Registers are mapped in pieces as large as a block of a shell's addresses.
_MAPPED = 0x1_0000
#: Our DMAs have 32-bit addresses.
_REACH = 1 << 32
_MODEL = Path("/proc/device-tree/model")


class PynqMemory:
    """A `PynqBuffer`; `Memory` says what each thing does."""

    def __init__(self, buffer: Any, size: int) -> None:
        self._buffer = buffer
        self._array = np.asarray(buffer)[:size]
        self.address = int(buffer.physical_address)

    @property
    def array(self) -> NDArray[np.uint8]:
        """See `Memory`."""
        return self._array

    def flush(self) -> None:
        """See `Memory`."""
        self._buffer.flush()

    def invalidate(self) -> None:
        """See `Memory`."""
        self._buffer.invalidate()

    def free(self) -> None:
        """See `Memory`. The view goes first: reading it afterwards would end the process."""
        self._array = np.zeros(0, np.uint8)
        self._buffer.freebuffer()


class PynqBoard:
    """`Chip` on a device of the `pynq` package; `scratch` is a folder of ours that the package may write into."""

    def __init__(self, device: Any, scratch: Path) -> None:
        self._device = device
        self._scratch = scratch
        self._mapped: dict[int, Any] = {}

    @property
    def versions(self) -> Mapping[str, str]:
        """See `Chip`."""
        model = _MODEL.read_text(encoding="ascii", errors="replace").strip("\0\n") if _MODEL.exists() else "unknown"
        return {
            "pynq": str(pynq.__version__),
            "linux": platform.release(),
            "machine": platform.machine(),
            "model": model,
            "board": os.environ.get("BOARD", "unknown"),
        }

    def read(self, address: int) -> int:
        """See `Chip`."""
        return int(self._registers(address).read(address % _MAPPED))

    def write(self, address: int, value: int) -> None:
        """See `Chip`. The package takes Python's own integers and nothing that only looks like one."""
        self._registers(address).write(address % _MAPPED, int(value))

    def _registers(self, address: int) -> Any:
        base = address - address % _MAPPED
        if base not in self._mapped:
            try:
                self._mapped[base] = pynq.MMIO(base, _MAPPED, device=self._device)
            except OSError as error:
                raise FabricError(f"registers at 0x{base:08X} cannot be mapped: {error}; is this root?") from error
        return self._mapped[base]

    def allocate(self, size: int) -> Memory:
        """See `Chip`."""
        try:
            buffer = pynq.allocate((size,), np.uint8, target=self._device)
        except (RuntimeError, OSError, MemoryError) as error:
            raise FabricError(
                f"{size} bytes of contiguous memory are not to be had: {error}; Linux keeps them apart (cma=128M)",
                size=size,
            ) from error
        if buffer.physical_address + size > _REACH:
            buffer.freebuffer()
            raise FabricError(f"memory came at 0x{buffer.physical_address:X}, above what the DMA can address")
        return PynqMemory(buffer, size)

    def download(self, image: Path, firmware: str) -> None:
        """See `Chip`. The package also loads its own default container, without which it allocates no memory."""
        try:
            bitstream = pynq.Bitstream(str(image), device=self._device)
            # Named already, so that the package does not write a file named after the .bit's stem.
            bitstream.binfile_name = firmware
            with _working_in(self._scratch):
                bitstream.download()
        except (RuntimeError, OSError, ValueError) as error:
            raise FabricError(f"the full configuration failed: {error}; the kernel's log (dmesg) says more") from error

    def holds(self, image: Path) -> bool:
        """See `Chip`: by the file in which every process that uses the package notes what it loaded."""
        try:
            global_state.initial_global_state_file_boot_check()
            if not global_state.global_state_file_exists():
                return False
            return bool(global_state.load_global_state().bitfile_name == str(image))
        except (OSError, ValueError):
            return False

    def set_clock(self, clock_hz: int) -> float:
        """See `Chip`."""
        pynq.Clocks.set_device(self._device)
        pynq.Clocks.fclk0_mhz = clock_hz / 1e6
        return float(pynq.Clocks.fclk0_mhz) * 1e6


def open_board(scratch: Path) -> PynqBoard:
    """The board that this process runs on, for its main thread to open.

    Raises `FabricError` that says what is missing: a PYNQ board, root, or the package's device.
    """
    if threading.current_thread() is not threading.main_thread():
        raise FabricError("a board's device must be opened in the main thread, and this is another")
    if not pynq.ps.ON_TARGET:
        raise FabricError(
            "fabric pynq needs a PYNQ board, and /proc/device-tree/chosen/pynq_board is not there: "
            "run this on the board, or set fabric to emulated or processor"
        )
    if os.geteuid() != 0:
        raise FabricError(f"fabric pynq maps registers and must be root, it is user {os.geteuid()}: use sudo or a unit")
    try:
        with borrowed_event_loop():
            device = pynq.Device.active_device
    except RuntimeError as error:
        raise FabricError(
            f"the pynq package found no device: {error}; it needs /sys/class/fpga_manager/fpga0 and XRT "
            f"(XILINX_XRT is {os.environ['XILINX_XRT']})"
        ) from error
    if not isinstance(device, EmbeddedDevice):
        raise FabricError(f"the pynq package's device should be an EmbeddedDevice, it is a {type(device).__name__}")
    return PynqBoard(device, scratch)


@contextlib.contextmanager
def borrowed_event_loop() -> Iterator[None]:
    """The package asks for the thread's event loop when it makes a device, and uses it for interrupts only."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            yield
        finally:
            asyncio.set_event_loop(None)
            loop.close()
    else:
        yield


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """The package leaves `loaded.xclbin` in whatever folder the process is in."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
