"""Images into the chip through Linux' FPGA manager: a file among the firmware, two writes to sysfs, a state to read.

A full image goes through the `pynq` package (`Chip.download`), a partial one straight to the kernel: the package would
parse a handoff, start a process and reload its own container each time. Whether an image may be loaded, others ask.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from convoy_schema.names import digest_of

from convoy_device.errors import FabricError
from convoy_device.fabric.pynq.images import to_bin

log = logging.getLogger(__name__)

#: Our files in the firmware folder are recognised by it, so that a dead daemon's are found and nobody else's touched.
PREFIX = "convoy-"
OPERATING = "operating"
_PARTIAL = "1"


@dataclass(frozen=True)
class SystemPaths:
    """Where Linux keeps what the loader and the fabric use; tests give folders of their own."""

    firmware: Path = Path("/lib/firmware")
    manager: Path = Path("/sys/class/fpga_manager/fpga0")
    boot_id: Path = Path("/proc/sys/kernel/random/boot_id")
    lock: Path = Path("/run/lock/convoy-fabric")


class ImageLoader:
    """The FPGA manager of one chip. Every method raises `FabricError` when Linux refuses."""

    def __init__(self, paths: SystemPaths) -> None:
        self._paths = paths

    def clean(self) -> None:
        """Remove what an earlier daemon left in the firmware folder."""
        for file in self._paths.firmware.glob(f"{PREFIX}*.bin"):
            _remove(file)

    @contextlib.contextmanager
    def staged(self, image: bytes) -> Iterator[str]:
        """The name in the firmware folder of `image`, in the order of bytes that the kernel wants; removed at the end.

        The name is the image's digest: two models may well have files of one name.
        """
        file = self._paths.firmware / f"{PREFIX}{digest_of(image)}.bin"
        content = to_bin(image)
        try:
            file.write_bytes(content)
        except OSError as error:
            _remove(file)
            raise FabricError(f"{file} cannot be written: {error}; is the disk full or read-only?") from error
        try:
            yield file.name
        finally:
            _remove(file)

    def load_partial(self, firmware: str) -> None:
        """Give the chip a staged partial image. It has been written when this returns, whole or not: see `state`."""
        self._write("flags", _PARTIAL)
        self._write("firmware", firmware)

    def expect_operating(self) -> None:
        """Raise `FabricError` unless the last load has gone well."""
        state = self.state()
        if state != OPERATING:
            raise FabricError(
                f"{self._paths.manager / 'state'} should say {OPERATING!r} after a load, it says {state!r}: "
                "the kernel's log (dmesg) says more",
                state=state,
            )

    def state(self) -> str:
        """What the FPGA manager says of itself."""
        file = self._paths.manager / "state"
        try:
            return file.read_text(encoding="ascii", errors="replace").strip()
        except OSError as error:
            raise FabricError(f"{file} cannot be read: {error}; does the kernel have an FPGA manager?") from error

    def _write(self, name: str, value: str) -> None:
        file = self._paths.manager / name
        try:
            with file.open("w", encoding="ascii") as attribute:
                attribute.write(value)
        except OSError as error:
            raise FabricError(f"{file} refused {value!r}: {error}; the kernel's log (dmesg) says more") from error


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s could not be removed: %s", file, error)
