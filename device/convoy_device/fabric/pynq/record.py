"""What was loaded since power-on, on disk: so that a new daemon knows whose registers it may touch.

The chip cannot be asked which design it holds, and a register that nobody answers hangs the processor. A record counts
only if the kernel has not been booted since, and the fabric has checked that nobody else configured the chip.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from convoy_device.errors import FabricError

log = logging.getLogger(__name__)

RECORD_FILE = "loaded.json"


@dataclass(frozen=True)
class Record:
    """Shell and digest of its image, the kernel's boot, and the partitions whose last load failed."""

    shell: str
    image: str
    boot: str
    degraded: tuple[str, ...] = ()


class RecordKeeper:
    """The record of one chip in `folder`, and the image of the shell that it names; `boot_id` is the kernel's file."""

    def __init__(self, folder: Path, boot_id: Path) -> None:
        self._folder = folder
        self._boot_id = boot_id
        #: None while nothing is known to be loaded.
        self.record: Record | None = None

    def recall(self) -> Record | None:
        """Take up the record on disk, if it is whole and of this boot."""
        file = self._folder / RECORD_FILE
        try:
            table = json.loads(file.read_text(encoding="utf-8"))
            shell, image, boot = (str(table[key]) for key in ("shell", "image", "boot"))
            degraded = tuple(str(name) for name in table["degraded"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s is not usable, the shell will be loaded anew: %s", file, error)
            return None
        self.record = Record(shell, image, boot, degraded) if boot == self._boot() else None
        return self.record

    def loaded(self, shell: str, image: str) -> None:
        """A shell was loaded from the image of that digest."""
        self._save(Record(shell, image, self._boot()))

    def degraded(self, partition: str, degraded: bool) -> None:
        """A partition's last load failed, or has gone well."""
        if self.record is not None and (partition in self.record.degraded) is not degraded:
            others = tuple(name for name in self.record.degraded if name != partition)
            # In memory first: what cannot be noted on disk is true all the same.
            self.record = replace(self.record, degraded=(*others, partition) if degraded else others)
            self._save(self.record)

    def forget(self) -> None:
        """From now on nothing is known."""
        self.record = None
        file = self._folder / RECORD_FILE
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise FabricError(f"{file} cannot be removed: {error}") from error

    def _save(self, record: Record) -> None:
        """Whole or not at all. It needs no fsync: a record does not outlive the power."""
        file = self._folder / RECORD_FILE
        try:
            fresh = file.with_suffix(".new")
            fresh.write_text(json.dumps(asdict(record)), encoding="utf-8")
            fresh.replace(file)
        except OSError as error:
            raise FabricError(f"{file} cannot be written: {error}; is the disk full or read-only?") from error
        self.record = record

    def _boot(self) -> str:
        try:
            return self._boot_id.read_text(encoding="ascii").strip()
        except OSError as error:
            raise FabricError(f"{self._boot_id} cannot be read: {error}; is this Linux?") from error

    def shell_file(self, digest: str) -> Path:
        """Where the image of that digest is kept: the package loads full images from a file, and so does a repair."""
        return (self._folder / f"shell-{digest}.bit").absolute()

    def keep_shell(self, image: bytes, digest: str) -> Path:
        """Write the image where it is kept; others go."""
        file = self.shell_file(digest)
        try:
            for other in self._folder.glob("shell-*.bit"):
                if other.absolute() != file:
                    other.unlink()
            if not file.exists() or file.stat().st_size != len(image):
                file.write_bytes(image)
        except OSError as error:
            raise FabricError(f"{file} cannot be written: {error}; is the disk full or read-only?") from error
        return file
