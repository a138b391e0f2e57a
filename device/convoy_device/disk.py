"""The files under a board's state directory, as the operations that `store` needs: each does one thing to the disk.

The simulator has another with the same methods, which forgets at a power loss what was not synced. Every method may
raise `OSError`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path


class Disk:
    """The machine's own file system."""

    def make_folder(self, folder: Path) -> None:
        """With those above it; one that is there is left alone."""
        folder.mkdir(parents=True, exist_ok=True)

    def lock(self, path: Path) -> int:
        """Claim `path` for this process; a number for `unlock`. Raises `BlockingIOError` when another has it."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def unlock(self, claim: int) -> None:
        """Let another process have it."""
        os.close(claim)

    def files(self, folder: Path) -> list[Path]:
        """Of that folder, by name."""
        return sorted(folder.iterdir())

    def size(self, path: Path) -> int:
        """Bytes."""
        return path.stat().st_size

    def used_at(self, path: Path) -> int:
        """What `set_used_at` was told, else when the file was written, in nanoseconds."""
        return path.stat().st_mtime_ns

    def set_used_at(self, path: Path, at: int) -> None:
        """Note when a file was used."""
        os.utime(path, ns=(at, at))

    def read(self, path: Path) -> bytes:
        """All of it."""
        return path.read_bytes()

    def read_at(self, path: Path, offset: int, size: int) -> bytes:
        """At most `size` bytes from `offset` on."""
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def write(self, path: Path, content: bytes) -> None:
        """Make a file of that content, and sync it: the bytes are there, its name may not be. Removed when it fails."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            _write_all(descriptor, content, 0)
            os.fsync(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        finally:
            os.close(descriptor)

    def write_at(self, path: Path, content: bytes, offset: int) -> None:
        """Into a file that is made if need be; nothing is synced."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _write_all(descriptor, content, offset)
        finally:
            os.close(descriptor)

    def replace(self, path: Path, target: Path) -> None:
        """Give a file the name `target`, in place of what had it."""
        path.replace(target)

    def sync_folder(self, folder: Path) -> None:
        """Make the names in a folder lasting."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        """A file that is not there is none too many."""
        path.unlink(missing_ok=True)

    def free_bytes(self, folder: Path) -> int:
        """Bytes that may still be written there."""
        found = os.statvfs(folder)
        return found.f_bavail * found.f_frsize


#: That of this machine.
DISK = Disk()


def _write_all(descriptor: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
