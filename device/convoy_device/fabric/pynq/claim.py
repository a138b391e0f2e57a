"""One daemon a board: a lock for as long as its process lives. Nobody below us keeps two of them apart."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from convoy_device.errors import FabricError


class Claim:
    """Holds the lock `file`; raises `FabricError` when another process does."""

    def __init__(self, file: Path) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise FabricError(f"{file} cannot be opened: {error}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.release()
            raise FabricError(
                f"{file} is locked: another daemon has this board's logic; stop that one first"
            ) from error

    def release(self) -> None:
        """Let the next one in; a second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
