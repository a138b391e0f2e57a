"""Artifacts on the wire: content compressed once, then cut into hashed blocks; and put together again.

`Assembly` is the pull side's core, used by boards: it decides which blocks to ask for and when. It does no I/O.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from convoy_schema.bounds import Range, Size
from convoy_schema.errors import IntegrityError
from convoy_schema.names import Digest, digest_of

#: Bytes of a block: large enough for one round trip to carry 512 KiB, far below every broker's packet limit.
BLOCK_BYTES = 64 * 1024
#: Blocks asked for at once; 8 x 64 KiB fills a 20 Mb/s link at 100 ms.
WINDOW = 8
#: No artifact unpacks to more than this (a full xc7z020 bitstream takes 4,045,564 bytes).
MAX_ARTIFACT = 64 * 1024 * 1024
#: Seconds after which blocks that have not come are asked for again.
ASK_AGAIN_S = 0.5


@dataclass(frozen=True)
class Manifest:
    """controller -> boards, retained: how an artifact is packed, and the hash of each block of it."""

    MAX_BYTES: ClassVar[int] = 128 * 1024

    digest: Digest
    size: Annotated[int, Range(0, MAX_ARTIFACT)]
    packed_size: Annotated[int, Range(1, MAX_ARTIFACT)]
    hashes: Annotated[tuple[Annotated[bytes, Size(32)], ...], Size(1024)]

    def __post_init__(self) -> None:
        if len(self.hashes) != -(-self.packed_size // BLOCK_BYTES):
            raise ValueError(f"{self.packed_size} packed bytes do not make {len(self.hashes)} blocks")

    @property
    def blocks(self) -> int:
        """How many blocks the packed content is cut into."""
        return len(self.hashes)

    def block_size(self, block: int) -> int:
        """Bytes of block number `block`."""
        return min(BLOCK_BYTES, self.packed_size - block * BLOCK_BYTES)

    def accepts(self, block: int, content: bytes) -> bool:
        """Whether `content` is block number `block`."""
        return 0 <= block < self.blocks and hashlib.sha256(content).digest() == self.hashes[block]


def pack(content: bytes) -> tuple[Manifest, bytes]:
    """Manifest and packed bytes of `content`; raises `IntegrityError` if either has more than `MAX_ARTIFACT` bytes."""
    if len(content) > MAX_ARTIFACT:
        raise IntegrityError(
            f"an artifact may have {MAX_ARTIFACT} bytes, this one has {len(content)}", size=len(content)
        )
    packed = zlib.compress(content, 9)
    if len(packed) > MAX_ARTIFACT:  # what does not compress grows a little
        raise IntegrityError(
            f"an artifact may have {MAX_ARTIFACT} bytes, this one packs to {len(packed)} bytes", size=len(packed)
        )
    hashes = tuple(
        hashlib.sha256(packed[start : start + BLOCK_BYTES]).digest() for start in range(0, len(packed), BLOCK_BYTES)
    )
    return Manifest(digest_of(content), len(content), len(packed), hashes), packed


def cut(packed: bytes, block: int) -> bytes:
    """Block number `block` of packed content."""
    return packed[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]


def unpack(manifest: Manifest, packed: bytes) -> bytes:
    """The content, bounded by its announced size and checked against its digest."""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, manifest.size + 1)
    except zlib.error as error:
        raise IntegrityError(f"artifact {manifest.digest[:12]} does not unpack: {error}") from error
    if len(content) != manifest.size or digest_of(content) != manifest.digest:
        raise IntegrityError(
            f"artifact {manifest.digest[:12]} should unpack to {manifest.size} bytes of that digest, "
            f"{len(content)} bytes of {digest_of(content)[:12]} came",
            digest=manifest.digest,
        )
    return content


@dataclass
class Assembly:
    """The state of fetching one artifact: what is there, what was asked for, and when."""

    manifest: Manifest
    have: set[int] = field(default_factory=set)
    asked: dict[int, float] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether every block is there."""
        return len(self.have) == self.manifest.blocks

    @property
    def done_bytes(self) -> int:
        """Packed bytes that are there."""
        return sum(self.manifest.block_size(block) for block in self.have)

    def accept(self, block: int, content: bytes) -> bool:
        """Take a block, asked for or overheard; False if it is damaged, unknown or already there."""
        if block in self.have or not self.manifest.accepts(block, content):
            return False
        self.have.add(block)
        self.asked.pop(block, None)
        return True

    def ask(self, now: float, most: int = WINDOW, again_s: float = ASK_AGAIN_S) -> tuple[int, ...]:
        """At most `most` blocks to ask for at `now`, `WINDOW` outstanding; those that are `again_s` overdue again.

        Seconds are monotonic.
        """
        overdue = [block for block, at in self.asked.items() if now - at >= again_s]
        for block in overdue:
            del self.asked[block]
        wanted: list[int] = []
        room = min(most, WINDOW - len(self.asked))
        for block in range(self.manifest.blocks):
            if len(wanted) >= room:
                break
            if block not in self.have and block not in self.asked:
                wanted.append(block)
        for block in wanted:
            self.asked[block] = now
        return tuple(wanted)
