"""What a board keeps on disk: artifacts by digest, downloads in progress, announced models, the last good assignments.

Every file but a download's is written under a temporary name, synced and renamed, so that a crash or a power loss
leaves the old content or the new. A download's blocks are found again by hashing them against their manifest, so
nothing has to be synced while it runs. One thread writes, any may `read`; nothing here decides what to fetch.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from convoy_schema import codec
from convoy_schema.artifacts import BLOCK_BYTES, Manifest, unpack
from convoy_schema.bundle import ModelAnnouncement
from convoy_schema.errors import ConvoyError, DecodeError, IntegrityError
from convoy_schema.messages.desired import Desired
from convoy_schema.names import digest_of
from convoy_schema.signing import Statements

from convoy_device.disk import DISK, Disk
from convoy_device.errors import ArtifactDamagedError, StoreError, StoreFullError

log = logging.getLogger(__name__)

#: What is temporary carries this suffix and is removed at the next start.
_TEMPORARY = ".tmp"
#: Bytes of the disk that artifacts leave free for what is small and must be kept: epoch, models, last good assignments.
RESERVE_BYTES = 64 * 1024
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

M = TypeVar("M", bound=codec.Message)


@dataclass(frozen=True)
class Partial:
    """A download that an earlier process began: its manifest, and the blocks that are there and whole."""

    manifest: Manifest
    blocks: frozenset[int]


class Store:
    """A directory that one process owns. Any method may raise `StoreError`, a writing one `StoreFullError`."""

    def __init__(self, directory: Path, quota_bytes: int, disk: Disk = DISK) -> None:
        self.quota_bytes = quota_bytes
        self._disk = disk
        self._directory = directory
        self._artifacts = directory / "artifacts"
        self._downloads = directory / "downloads"
        self._models = directory / "models"
        self._kept: frozenset[str] = frozenset()
        self._evicted: set[str] = set()
        #: Held for bookkeeping only, never while a disk is waited for.
        self._guard = threading.Lock()
        with self._explained(f"state directory {directory} cannot be used"):
            for folder in (self._artifacts, self._downloads, self._models):
                disk.make_folder(folder)
            self._lock: int | None = self._claim()
            for folder in (directory, self._artifacts, self._downloads, self._models):
                for leftover in self._ending(folder, _TEMPORARY):
                    disk.remove(leftover)
            files = sorted(disk.files(self._artifacts), key=disk.used_at)
            #: Size by digest, the longest unused first.
            self._sizes = {path.name: disk.size(path) for path in files}
            self._uses = max(map(disk.used_at, files), default=0)
            self._reserved = {path.name: disk.size(path) for path in self._ending(self._downloads, ".part")}

    def _claim(self) -> int:
        try:
            return self._disk.lock(self._directory / "lock")
        except BlockingIOError as error:
            raise StoreError(
                f"state directory {self._directory} is in use by another daemon: give each its own state_dir",
                directory=str(self._directory),
            ) from error

    def _ending(self, folder: Path, suffix: str) -> list[Path]:
        return [path for path in self._disk.files(folder) if path.name.endswith(suffix)]

    def close(self) -> None:
        """Let another process have the directory; a second call does nothing."""
        claim, self._lock = self._lock, None
        if claim is not None:
            self._disk.unlock(claim)

    @property
    def used_bytes(self) -> int:
        """Bytes of artifacts and of downloads in progress."""
        with self._guard:
            return sum(self._sizes.values()) + sum(self._reserved.values())

    # Artifacts -------------------------------------------------------------------------------------------------------

    def digests(self) -> frozenset[str]:
        """Every artifact that is there, as far as names go; `read` checks the content."""
        with self._guard:
            return frozenset(self._sizes)

    def read(self, digest: str) -> bytes:
        """An artifact's content, hashed again; `ArtifactDamagedError` removes it and asks for another fetch."""
        path = self._artifacts / digest
        try:
            content = self._disk.read(path)
        except FileNotFoundError as error:
            self._unlist(digest)
            raise ArtifactDamagedError(f"artifact {digest[:12]} is no longer in the store", digest=digest) from error
        except OSError as error:
            raise StoreError(f"artifact {digest[:12]} cannot be read: {error}", digest=digest) from error
        if digest_of(content) != digest:
            self._remove(digest)
            raise ArtifactDamagedError(f"artifact {digest[:12]} was damaged on disk and is removed", digest=digest)
        self._used(digest)
        return content

    def keep(self, digests: Set[str], models: Set[str]) -> None:
        """Say what is referenced: other models are removed, other artifacts when their room is needed."""
        self._kept = frozenset(digests)
        with self._explained("models cannot be cleared"):
            for path in self._disk.files(self._models):
                if path.name not in models:
                    self._disk.remove(path)
        # A download that nothing waits for any more would hold its room for ever.
        for name in list(self._reserved):
            digest = name.removesuffix(".part")
            if digest not in self._kept:
                self.forget(digest)
        self._make_room(0)

    def take_evicted(self) -> frozenset[str]:
        """Artifacts that made room for others since the last call."""
        with self._guard:
            evicted, self._evicted = frozenset(self._evicted), set()
        return evicted

    def drop(self, digests: Set[str]) -> None:
        """Remove artifacts that nothing refers to any more; one that is kept, or is not there, is left out."""
        for digest in sorted(digests - self._kept):
            if digest in self.digests():
                self._remove(digest)
                log.info("store: artifact %s removed, nothing refers to it", digest[:12])

    def _used(self, digest: str) -> None:
        # A counter in place of a time: the order must hold on a board whose clock starts in 1970.
        with self._guard:
            self._uses += 1
            if digest in self._sizes:
                self._sizes[digest] = self._sizes.pop(digest)
            at = self._uses
        with contextlib.suppress(OSError):
            self._disk.set_used_at(self._artifacts / digest, at)

    def _remove(self, digest: str) -> None:
        with self._explained(f"artifact {digest[:12]} cannot be removed"):
            self._disk.remove(self._artifacts / digest)
        self._unlist(digest)

    def _unlist(self, digest: str) -> None:
        with self._guard:
            self._sizes.pop(digest, None)

    def _make_room(self, size: int, on_disk: int | None = None) -> None:
        """Evict until `size` more bytes fit the quota and `on_disk` more (as many unless given) the disk."""
        over = self.used_bytes + size - self.quota_bytes
        need = size if on_disk is None else on_disk
        short = need + RESERVE_BYTES - self._free_bytes() if need else 0
        with self._guard:
            sizes = [(digest, size) for digest, size in self._sizes.items() if digest not in self._kept]
        for digest, freed in sizes:
            if over <= 0 and short <= 0:
                return
            over, short = over - freed, short - freed
            log.info("store: artifact %s evicted, unused the longest", digest[:12])
            self._remove(digest)
            with self._guard:
                self._evicted.add(digest)
        if over > 0 and size:
            raise StoreFullError(
                f"the store may hold {self.quota_bytes} bytes and holds {self.used_bytes} that are in use; "
                f"{size} more are needed: raise store_quota_mb or remove a deployment",
                quota=self.quota_bytes,
                need=size,
            )
        if short > 0:
            raise self._full(f"{need} bytes are needed, and {RESERVE_BYTES} in reserve", need + RESERVE_BYTES)

    def _free_bytes(self) -> int:
        return self._disk.free_bytes(self._directory)

    def _full(self, what: str, need: int) -> StoreFullError:
        have = self._free_bytes()
        return StoreFullError(
            f"{what}; the disk under {self._directory} has {have} free: free some space there, remove a deployment, or "
            "give the board another state_dir; it is tried again by itself",
            need=need,
            have=have,
        )

    # Downloads -------------------------------------------------------------------------------------------------------

    def partials(self) -> tuple[Partial, ...]:
        """Downloads to go on with; what cannot be read is removed."""
        found = []
        for path in self._ending(self._downloads, ".manifest"):
            digest = path.name.removesuffix(".manifest")
            try:
                manifest = codec.decode(Manifest, self._disk.read(path))
                if manifest.digest != digest:
                    raise DecodeError(f"the manifest of {digest[:12]} names another digest")
                found.append(Partial(manifest, frozenset(self._whole_blocks(manifest))))
            except (DecodeError, OSError) as error:
                log.warning("store: download %s starts over: %s", digest[:12], error)
                self.forget(digest)
        return tuple(found)

    def _whole_blocks(self, manifest: Manifest) -> Iterator[int]:
        part = self._downloads / f"{manifest.digest}.part"
        if part.name not in self._reserved:
            return
        for block in range(manifest.blocks):
            content = self._disk.read_at(part, block * BLOCK_BYTES, manifest.block_size(block))
            if manifest.accepts(block, content):
                yield block

    def write_block(self, manifest: Manifest, block: int, content: bytes) -> None:
        """Put a block that its manifest accepts in its place; one of an artifact that is there already is left out."""
        if manifest.digest in self.digests():
            return
        part = self._downloads / f"{manifest.digest}.part"
        with self._explained(f"block {block} of {manifest.digest[:12]} cannot be written", len(content)):
            if part.name not in self._reserved:
                # Before anything is written: at the end what came and what it unpacks to lie side by side.
                self._make_room(manifest.packed_size, manifest.packed_size + manifest.size)
                self._write(self._downloads / f"{manifest.digest}.manifest", codec.encode(manifest))
                self._reserve(part.name, manifest.packed_size)
            self._disk.write_at(part, content, block * BLOCK_BYTES)

    def finish(self, manifest: Manifest) -> None:
        """Unpack a complete download into an artifact; one that does not match its digest starts over."""
        part = self._downloads / f"{manifest.digest}.part"
        with self._explained(f"artifact {manifest.digest[:12]} cannot be written", manifest.size):
            if manifest.digest in self.digests():
                self.forget(manifest.digest)
                return
            try:
                content = unpack(manifest, self._disk.read(part))
            except (IntegrityError, FileNotFoundError) as error:
                self.forget(manifest.digest)
                raise ArtifactDamagedError(str(error), digest=manifest.digest) from error
            self._make_room(len(content))
            self._write(self._artifacts / manifest.digest, content)
            with self._guard:
                self._sizes[manifest.digest] = len(content)
            self._used(manifest.digest)
            self.forget(manifest.digest)

    def forget(self, digest: str) -> None:
        """Drop a download."""
        with self._explained(f"download {digest[:12]} cannot be removed"):
            self._disk.remove(self._downloads / f"{digest}.manifest")
            self._disk.remove(self._downloads / f"{digest}.part")
        self._reserve(f"{digest}.part", 0)

    def _reserve(self, part: str, size: int) -> None:
        with self._guard:
            self._reserved.pop(part, None)
            if size:
                self._reserved[part] = size

    # Models and assignments ------------------------------------------------------------------------------------------

    def save_model(self, digest: str, announcement: ModelAnnouncement) -> None:
        """Keep an announcement, so that its assignments come back without the controller."""
        with self._explained(f"model {digest[:12]} cannot be written"):
            self._write(self._models / digest, codec.encode(announcement))

    def models(self) -> tuple[ModelAnnouncement, ...]:
        """Announcements kept; their signatures are for the caller to check."""
        found = (self._read_message(ModelAnnouncement, path) for path in self._disk.files(self._models))
        return tuple(announcement for announcement in found if announcement is not None)

    def save_last_good(self, desired: Desired) -> None:
        """Keep assignments that were all ready."""
        with self._explained("the last good assignments cannot be written"):
            self._write(self._directory / "last-good", codec.encode(desired))

    def last_good(self) -> Desired | None:
        """The assignments to come back with, if there are any that can be read."""
        return self._read_message(Desired, self._directory / "last-good")

    def save_epoch(self, epoch: int) -> None:
        """Keep the newest epoch heard, below which no controller is obeyed."""
        with self._explained("the epoch cannot be written"):
            self._write(self._directory / "epoch", b"%d" % epoch)

    def epoch(self) -> int:
        """The newest epoch heard, 0 at first."""
        try:
            return int(self._disk.read(self._directory / "epoch"))
        except FileNotFoundError:
            return 0
        except (OSError, ValueError) as error:
            log.warning("store: the epoch cannot be read: %s", error)
            return 0

    def save_restart(self, token: str) -> None:
        """Keep the token by which this daemon restarts, before it does."""
        with self._explained("the restart token cannot be written"):
            self._write(self._directory / "restart", token.encode())

    def restarted(self) -> str:
        """The token of the last restart that was asked for, '' at first."""
        try:
            return self._disk.read(self._directory / "restart").decode()
        except FileNotFoundError:
            return ""
        except (OSError, ValueError) as error:
            log.warning("store: the restart token cannot be read: %s", error)
            return ""

    def save_trust(self, statements: Statements) -> None:
        """Keep which keys may sign, the floors, and the newest signed time: none of them may fall by a power loss."""
        with self._explained("delegations and floors cannot be written"):
            self._write(self._directory / "trust", codec.encode(statements))

    def trust(self) -> Statements:
        """Delegations and floors kept; their signatures are for the caller to check."""
        return self._read_message(Statements, self._directory / "trust") or Statements()

    def _read_message(self, cls: type[M], path: Path) -> M | None:
        try:
            return codec.decode(cls, self._disk.read(path))
        except FileNotFoundError:
            return None
        except (OSError, ConvoyError) as error:
            log.warning("store: %s cannot be read and is left out: %s", path.name, error)
            return None

    @contextlib.contextmanager
    def _explained(self, what: str, need: int = 0) -> Iterator[None]:
        """Turns the operating system's errors into ours; `need` is how many bytes were to be written."""
        try:
            yield
        except OSError as error:
            if error.errno in _NO_ROOM:
                bytes_needed = f", {need} bytes are needed" if need else ""
                raise self._full(f"{what}: the disk is full{bytes_needed}", need) from error
            raise StoreError(f"{what}: {error}") from error

    def _write(self, path: Path, content: bytes) -> None:
        """Durably: after this returns the content is there, and whenever it stops the old or the new one is."""
        temporary = path.with_name(path.name + _TEMPORARY)
        self._disk.write(temporary, content)
        self._disk.replace(temporary, path)
        self._disk.sync_folder(path.parent)
