"""The blob store: artifacts as files named by their digest, packed once and ready to be sent block by block.

A file holds the manifest and then the packed content, so that one rename brings in both or neither. Everything read is
checked: a block against its hash, whole content against its digest. Knows nothing of models or of the database; used by
the catalogue (which writes) and, through it, by the distributor (which reads blocks). Safe to use from several threads
and processes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from convoy_schema import codec
from convoy_schema.artifacts import BLOCK_BYTES, Manifest, cut, pack, unpack
from convoy_schema.errors import ConvoyError, IntegrityError
from convoy_schema.names import digest_of

from convoy_controller.errors import BlobError, NotFoundError

#: Packed bytes kept in memory for sending: every image of the library at once, and far below the process's bound.
CACHE_BYTES = 32 * 1024 * 1024
#: Manifests kept in memory; one takes 2 kB for each 4 MB.
CACHE_MANIFESTS = 1024

#: Magic and length of the manifest that follows.
_HEAD = struct.Struct(">8sI")
_MAGIC = b"convoyb1"
_TEMPORARY = ".part-"


class BlobStore:
    """A folder of artifacts. Methods raise `NotFoundError`, `IntegrityError` for damage, `BlobError` for the disk."""

    def __init__(self, folder: Path, cache_bytes: int = CACHE_BYTES) -> None:
        self._folder = folder
        self._cache_bytes = cache_bytes
        self._lock = threading.Lock()
        self._cached: OrderedDict[str, bytes] = OrderedDict()
        self._held = 0
        self._manifests: OrderedDict[str, tuple[Manifest, int]] = OrderedDict()
        self._serial = itertools.count()
        with _disk("prepare", folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._clear_leftovers()

    def put(self, content: bytes) -> Manifest:
        """Store `content` and return its manifest; when this returns it survives a power cut. Repeating is cheap."""
        digest = digest_of(content)
        with contextlib.suppress(NotFoundError, IntegrityError):
            manifest, packed = self._read(digest)
            unpack(manifest, packed)
            return manifest
        manifest, packed = pack(content)
        self._write(digest, manifest, packed)
        with self._lock:
            self._manifests.pop(digest, None)
        return manifest

    def has(self, digest: str) -> bool:
        """Whether an artifact of that digest was stored."""
        return self._path(digest).is_file()

    def manifest(self, digest: str) -> Manifest:
        """How that artifact is packed."""
        return self._located(digest)[0]

    def read_block(self, digest: str, block: int) -> bytes:
        """Block number `block`, checked against its hash; raises `NotFoundError` for a number beyond the last."""
        manifest, offset = self._located(digest)
        if not 0 <= block < manifest.blocks:
            raise NotFoundError(
                f"artifact {digest[:12]} has blocks 0 to {manifest.blocks - 1}, {block} was asked for", digest=digest
            )
        packed = self._from_cache(digest)
        if packed is None and manifest.packed_size <= self._cache_bytes:
            packed = self._read(digest)[1]
            self._keep(digest, packed)
        content = cut(packed, block) if packed is not None else self._read_part(digest, offset, block, manifest)
        if not manifest.accepts(block, content):
            self._forget(digest)
            raise IntegrityError(
                f"block {block} of artifact {digest[:12]} in {self._path(digest)} does not match its hash: "
                "publish the model again, and look at the disk",
                digest=digest,
                block=block,
            )
        return content

    def read(self, digest: str) -> bytes:
        """The whole content, unpacked and checked against its digest."""
        return unpack(*self._read(digest))

    def digests(self) -> Iterator[str]:
        """Digests of everything stored, in no particular order."""
        with _disk("list", self._folder):
            for path in self._folder.glob("??/*"):
                if _TEMPORARY not in path.name:
                    yield path.name

    def delete(self, digest: str) -> None:
        """Remove an artifact; one that is not there is no error."""
        self._forget(digest)
        with _disk("delete from", self._folder):
            self._path(digest).unlink(missing_ok=True)

    def size(self, digest: str) -> int:
        """Bytes that an artifact takes on disk; 0 when it is not there."""
        with _disk("look into", self._folder):
            try:
                return self._path(digest).stat().st_size
            except FileNotFoundError:
                return 0

    @contextlib.contextmanager
    def publishing(self) -> Iterator[None]:
        """While what is put here is not yet referred to: nothing is deleted meanwhile, by any process."""
        with self._locked(fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def clearing(self) -> Iterator[bool]:
        """Keeps publishers waiting for the length of the block; False while one is under way, who is not disturbed."""
        try:
            with self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
                yield True
        except BlockingIOError:
            yield False

    @contextlib.contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        with _disk("lock", self._folder):
            descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)

    # Files

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest

    def _write(self, digest: str, manifest: Manifest, packed: bytes) -> None:
        path = self._path(digest)
        # The process number says later whether a leftover belongs to someone who still writes.
        temporary = path.with_name(f"{digest}{_TEMPORARY}{os.getpid()}-{threading.get_ident()}-{next(self._serial)}")
        head = codec.encode(manifest)
        with _disk("write to", path.parent, _HEAD.size + len(head) + len(packed)):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("xb") as file:
                    file.write(_HEAD.pack(_MAGIC, len(head)))
                    file.write(head)
                    file.write(packed)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            _sync_folder(path.parent)
            _sync_folder(self._folder)

    def _read(self, digest: str) -> tuple[Manifest, bytes]:
        path = self._path(digest)
        with _disk("read from", path), _open(path, digest) as file:
            content = file.read()
        manifest, offset = self._parse_head(digest, content)
        packed = content[offset:]
        if len(packed) != manifest.packed_size:
            raise _damaged(path, f"{manifest.packed_size} packed bytes should follow, {len(packed)} do")
        return manifest, packed

    def _read_part(self, digest: str, offset: int, block: int, manifest: Manifest) -> bytes:
        path = self._path(digest)
        with _disk("read from", path), _open(path, digest) as file:
            file.seek(offset + block * BLOCK_BYTES)
            return file.read(manifest.block_size(block))

    def _located(self, digest: str) -> tuple[Manifest, int]:
        """Manifest, and where in the file the packed content begins."""
        with self._lock:
            found = self._manifests.get(digest)
            if found is not None:
                self._manifests.move_to_end(digest)
                return found
        path = self._path(digest)
        with _disk("read from", path), _open(path, digest) as file:
            head = file.read(_HEAD.size + Manifest.MAX_BYTES)
        found = self._parse_head(digest, head)
        with self._lock:
            self._manifests[digest] = found
            if len(self._manifests) > CACHE_MANIFESTS:
                self._manifests.popitem(last=False)
        return found

    def _parse_head(self, digest: str, content: bytes) -> tuple[Manifest, int]:
        path = self._path(digest)
        if len(content) < _HEAD.size:
            raise _damaged(path, f"it has {len(content)} bytes")
        magic, length = _HEAD.unpack_from(content)
        if magic != _MAGIC:
            raise _damaged(path, f"it should begin with {_MAGIC!r}, it begins with {magic!r}")
        try:
            manifest = codec.decode(Manifest, content[_HEAD.size : _HEAD.size + length])
        except ConvoyError as error:
            raise _damaged(path, f"its manifest cannot be read: {error}") from error
        if manifest.digest != digest:
            raise _damaged(path, f"its manifest is that of {manifest.digest[:12]}")
        return manifest, _HEAD.size + length

    def _clear_leftovers(self) -> None:
        """Remove what writers that died left half done; what a living process writes stays."""
        for path in self._folder.glob(f"??/*{_TEMPORARY}*"):
            owner = path.name.split(_TEMPORARY)[1].split("-")[0]
            if not owner.isdigit() or not _is_alive(int(owner)):
                path.unlink(missing_ok=True)

    # Memory

    def _from_cache(self, digest: str) -> bytes | None:
        with self._lock:
            packed = self._cached.get(digest)
            if packed is not None:
                self._cached.move_to_end(digest)
            return packed

    def _keep(self, digest: str, packed: bytes) -> None:
        with self._lock:
            if digest not in self._cached:
                self._cached[digest] = packed
                self._held += len(packed)
            while self._held > self._cache_bytes:
                _, dropped = self._cached.popitem(last=False)
                self._held -= len(dropped)

    def _forget(self, digest: str) -> None:
        with self._lock:
            self._held -= len(self._cached.pop(digest, b""))
            self._manifests.pop(digest, None)


def _open(path: Path, digest: str) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no artifact {digest[:12]} in {path.parent.parent}", digest=digest) from error


@contextlib.contextmanager
def _disk(action: str, path: Path, need: int = 0) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BlobError(
                f"cannot {action} the blob store at {path}: {need} bytes are needed and the disk has {_free(path)} "
                "free: free some space there and do the same again",
                path=str(path),
                need=need,
            ) from error
        raise BlobError(f"cannot {action} the blob store at {path}: {error.strerror}", path=str(path)) from error


def _free(path: Path) -> int:
    """Bytes that the disk under `path`, or under the nearest of its parents that is there, has left."""
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    found = os.statvfs(there)
    return found.f_bavail * found.f_frsize


def _damaged(path: Path, what: str) -> IntegrityError:
    return IntegrityError(f"artifact file {path} is damaged: {what}; publish the model again", path=str(path))


def _sync_folder(path: Path) -> None:
    """A rename survives a power cut only once its folder is written."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
