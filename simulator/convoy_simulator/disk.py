"""A board's disk in memory, which forgets at a power loss what was not synced.

What a power loss leaves is drawn: names are changed in the order in which they were (a journal cut short somewhere),
and of bytes that were not synced some pages are there. A process that dies alone loses nothing.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from convoy_device.disk import Disk

PAGE = 4096


@dataclass
class _File:
    #: Bytes as long as nobody writes into them: boards that hold the same file then share it.
    data: bytes | bytearray = b""
    lasting: bytes = b""
    used_at: int = 0
    #: Whether bytes were written since the last sync.
    is_dirty: bool = True

    def content(self) -> bytes:
        """As it is now."""
        return self.data if isinstance(self.data, bytes) else bytes(self.data)

    def put(self, content: bytes, offset: int) -> None:
        """Write into it, and behind its end."""
        data = self.data if isinstance(self.data, bytearray) else bytearray(self.data)
        data.extend(bytes(max(0, offset - len(data))))
        data[offset : offset + len(content)] = content
        self.data, self.is_dirty = data, True


@dataclass
class _Change:
    """A name that was given, or taken away (None)."""

    path: Path
    file: _File | None


@dataclass
class ForgetfulDisk(Disk):
    """`step` is called before each operation, and may raise: the process ends there. `room` bytes may be written."""

    step: Callable[[str], None]
    room: int = 1 << 30
    _files: dict[Path, _File] = field(default_factory=dict)
    _lasting: dict[Path, _File] = field(default_factory=dict)
    _changes: list[_Change] = field(default_factory=list)
    _claims: dict[int, Path] = field(default_factory=dict)
    _next_claim: int = 3

    # Faults ----------------------------------------------------------------------------------------------------------

    def process_ends(self) -> None:
        """Claims go with it."""
        self._claims.clear()

    def lose_power(self, chance: random.Random) -> None:
        """Keep what was synced, and some of the rest."""
        self._claims.clear()
        for change in self._changes[: chance.randint(0, len(self._changes))]:
            self._take_effect(change)
        self._changes.clear()
        for file in self._lasting.values():
            if file.is_dirty:
                file.data = file.lasting = _torn(file, chance)
                file.is_dirty = False
        self._files = dict(self._lasting)

    def fill(self) -> None:
        """Somebody else writes until nothing is left."""
        self.room = sum(len(file.data) for file in self._files.values())

    def contents(self, folder: str) -> list[tuple[Path, bytes]]:
        """Names and bytes in every folder of that name, as they are now; no step of the process."""
        return [(path, file.content()) for path, file in self._files.items() if path.parent.name == folder]

    def _take_effect(self, change: _Change) -> None:
        if change.file is None:
            self._lasting.pop(change.path, None)
        else:
            self._lasting[change.path] = change.file

    # What `Disk` does ------------------------------------------------------------------------------------------------

    def make_folder(self, folder: Path) -> None:
        """Folders are there."""

    def lock(self, path: Path) -> int:
        """See `Disk`."""
        self.step("lock")
        if path in self._claims.values():
            raise BlockingIOError(errno.EAGAIN, "another process has it")
        claim, self._next_claim = self._next_claim, self._next_claim + 1
        self._claims[claim] = path
        return claim

    def unlock(self, claim: int) -> None:
        """See `Disk`."""
        self._claims.pop(claim, None)

    def files(self, folder: Path) -> list[Path]:
        """See `Disk`."""
        return sorted(path for path in self._files if path.parent == folder)

    def size(self, path: Path) -> int:
        """See `Disk`."""
        return len(self._found(path).data)

    def used_at(self, path: Path) -> int:
        """See `Disk`."""
        return self._found(path).used_at

    def set_used_at(self, path: Path, at: int) -> None:
        """See `Disk`."""
        self._found(path).used_at = at

    def read(self, path: Path) -> bytes:
        """See `Disk`."""
        self.step("read")
        return self._found(path).content()

    def read_at(self, path: Path, offset: int, size: int) -> bytes:
        """See `Disk`."""
        return bytes(self._found(path).data[offset : offset + size])

    def write(self, path: Path, content: bytes) -> None:
        """See `Disk`."""
        file = _File()
        self._name(path, file)
        self.step("write")
        self._take_room(len(content), path)
        file.data = content
        self.step("sync")
        self.sync(path)

    def sync(self, path: Path) -> None:
        """Make the bytes of a file lasting, whatever its name will be."""
        file = self._found(path)
        file.data = file.lasting = file.content()
        file.is_dirty = False

    def write_at(self, path: Path, content: bytes, offset: int) -> None:
        """See `Disk`."""
        self.step("write")
        file = self._files.get(path)
        if not content:
            offset = 0  # where nothing is written, nothing grows
        grows = max(0, offset + len(content) - (len(file.data) if file else 0))
        self._take_room(grows, None)
        if file is None:
            file = _File()
            self._name(path, file)
        file.put(content, offset)

    def replace(self, path: Path, target: Path) -> None:
        """See `Disk`."""
        self.step("replace")
        file = self._found(path)
        self._name(target, file)
        self._name(path, None)
        self.step("replaced")

    def sync_folder(self, folder: Path) -> None:
        """See `Disk`. As journals do, everything that was named before is made lasting with it."""
        self.step("sync folder")
        for change in self._changes:
            self._take_effect(change)
        self._changes.clear()

    def remove(self, path: Path) -> None:
        """See `Disk`."""
        self.step("remove")
        if path in self._files:
            self._name(path, None)

    def free_bytes(self, folder: Path) -> int:
        """See `Disk`."""
        return self.room - sum(len(file.data) for file in self._files.values())

    def _found(self, path: Path) -> _File:
        file = self._files.get(path)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        return file

    def _name(self, path: Path, file: _File | None) -> None:
        if file is None:
            self._files.pop(path, None)
        else:
            self._files[path] = file
        self._changes.append(_Change(path, file))

    def _take_room(self, size: int, unwritten: Path | None) -> None:
        if size > self.free_bytes(Path()):
            if unwritten is not None:
                self._name(unwritten, None)
            raise OSError(errno.ENOSPC, "no space left on the device")


def _torn(file: _File, chance: random.Random) -> bytes:
    """Page by page what was there, what was written, or nothing."""
    size = chance.choice((len(file.lasting), len(file.data), chance.randint(0, max(len(file.data), 1))))
    found = bytearray(size)
    for start in range(0, size, PAGE):
        end = min(start + PAGE, size)
        source = chance.choice((file.lasting, file.data, file.data, b""))
        page = bytes(source[start:end])
        found[start : start + len(page)] = page
    return bytes(found)
