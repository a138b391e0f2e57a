"""The emulated part's state in one file: DMA and decoupler registers, then the configuration memory.

It outlives the daemon as a powered part does. Bytes written stay written when the process dies; nothing is synced to
disk, because the host losing power is the part losing power. Only the emulated fabric uses it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import numpy as np
from convoy_schema.bitstream import FRAME_BYTES, FRAME_WORDS, Frames, Indices

from convoy_device.errors import FabricError

#: Registers lie in the first page: byte 0 is DMA, then one byte for each partition in the order of the floorplan.
REGISTER_BYTES = 4096
_DMA = 0
_PARTITIONS = 64
#: Bits of a partition's byte. All clear is what power-on leaves: decoupled, and nothing has failed.
COUPLED = 1
DEGRADED = 2


class ConfigurationMemory:
    """Frames by number, and registers. One process at a time: a second one gets `FabricError`."""

    def __init__(self, path: Path, frames: int) -> None:
        self._path = path
        self._frames = frames
        self._size = REGISTER_BYTES + frames * FRAME_BYTES
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise FabricError(f"the emulated part's memory {path} cannot be opened: {error}", path=str(path)) from error
        try:
            self._claim()
        except BaseException:
            os.close(self._file)
            raise

    def _claim(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise FabricError(f"{self._path} cannot be locked: {error}", path=str(self._path)) from error
            raise FabricError(
                f"{self._path} is in use by another daemon: stop that one, or give this one a folder of its own",
                path=str(self._path),
            ) from error
        if os.fstat(self._file).st_size != self._size:
            self.clear()

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def clear(self) -> None:
        """What power-on leaves: no frames, DMA idle, all decoupled. Holds at whichever point the process dies."""
        try:
            os.ftruncate(self._file, 0)
            os.ftruncate(self._file, self._size)
        except OSError as error:
            raise self._failed("cleared", error) from error

    @property
    def dma_running(self) -> bool:
        """Whether a transfer is under way, or was when a daemon died."""
        return self._register(_DMA) != 0

    @dma_running.setter
    def dma_running(self, running: bool) -> None:
        self._set_register(_DMA, int(running))

    def flags(self, partition: int) -> int:
        """COUPLED and DEGRADED of a partition, by its place in the floorplan."""
        return self._register(_PARTITIONS + partition)

    def set_flags(self, partition: int, flags: int) -> None:
        """One byte, so that it is either written or not."""
        self._set_register(_PARTITIONS + partition, flags)

    def _register(self, at: int) -> int:
        return self._pread(1, at)[0]

    def _set_register(self, at: int, value: int) -> None:
        self._pwrite(bytes([value]), at)

    def read(self, numbers: Indices) -> Frames:
        """Frames (n, 101) by their ascending numbers."""
        found = np.empty((len(numbers), FRAME_WORDS), dtype=np.uint32)
        for first, last in _stretches(numbers):
            raw = self._pread((last - first) * FRAME_BYTES, self._offset(int(numbers[first])))
            found[first:last] = np.frombuffer(raw, dtype="<u4").reshape(-1, FRAME_WORDS)
        return found

    def write(self, numbers: Indices, frames: Frames) -> None:
        """Set frames by their ascending numbers. Only those that change are written: the file stays sparse."""
        changed = np.flatnonzero((self.read(numbers) != frames).any(axis=1))
        for first, last in _stretches(numbers[changed]):
            raw = frames[changed[first:last]].astype("<u4").tobytes()
            self._pwrite(raw, self._offset(int(numbers[changed[first]])))

    def _offset(self, number: int) -> int:
        if not 0 <= number < self._frames:
            raise FabricError(f"the part has {self._frames} frames, number {number} is not one of them")
        return REGISTER_BYTES + number * FRAME_BYTES

    def _pread(self, size: int, at: int) -> bytes:
        try:
            raw = os.pread(self._file, size, at)
        except OSError as error:
            raise self._failed("read", error) from error
        if len(raw) != size:
            raise FabricError(f"{self._path} is {len(raw)} of {size} bytes at {at}: it was cut; power-cycle the part")
        return raw

    def _pwrite(self, raw: bytes, at: int) -> None:
        try:
            written = os.pwrite(self._file, raw, at)
        except OSError as error:
            raise self._failed("written", error) from error
        if written != len(raw):
            raise FabricError(f"{self._path} took {written} of {len(raw)} bytes: is the disk full?")

    def _failed(self, what: str, error: OSError) -> FabricError:
        return FabricError(f"the emulated part's memory {self._path} cannot be {what}: {error}", path=str(self._path))


def _stretches(numbers: Indices) -> list[tuple[int, int]]:
    """[first, last) positions of each stretch of consecutive numbers."""
    if not len(numbers):
        return []
    breaks = (np.flatnonzero(np.diff(numbers) != 1) + 1).tolist()
    return list(zip([0, *breaks], [*breaks, len(numbers)], strict=True))
