"""A disk so small that it fills: a tmpfs of a few hundred kilobytes, and a ballast that takes what is left of it.

Needs root. Nothing of the product knows of it.
"""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path
from types import TracebackType


def obstacle(directory: Path) -> str:
    """Why no such disk can be made here; '' when it can."""
    if os.geteuid() != 0:
        return "mounting a tmpfs needs root"
    directory.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(_mount(directory, 64), capture_output=True, text=True, check=False)
    if made.returncode:
        return f"no tmpfs can be mounted: {made.stderr.strip()}"
    subprocess.run(["umount", directory], check=True)
    return ""


def _mount(directory: Path, size_kb: int) -> list[str]:
    return ["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", str(directory)]


class SmallDisk:
    """`path` is where it is mounted, for the length of the context."""

    def __init__(self, path: Path, size_kb: int) -> None:
        self.path = path
        self._size_kb = size_kb

    def __enter__(self) -> SmallDisk:
        self.path.mkdir(parents=True, exist_ok=True)
        subprocess.run(_mount(self.path, self._size_kb), check=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Lazily: a database that somebody still reads must not keep it.
        subprocess.run(["umount", "--lazy", self.path], check=False)

    @property
    def free_bytes(self) -> int:
        """What may still be written."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, leave_bytes: int = 0) -> None:
        """Take up everything but `leave_bytes`."""
        with (self.path / "ballast").open("ab") as file:
            while (more := self.free_bytes - leave_bytes) > 0:
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, more)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    # Whoever lives there has just taken some of it.

    def relieve(self) -> None:
        """Give back what `fill` took."""
        (self.path / "ballast").unlink(missing_ok=True)
