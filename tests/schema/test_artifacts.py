"""An artifact survives being cut, lost, repeated, damaged and reordered; what lies about itself is refused."""

from __future__ import annotations

import contextlib
import random
import time
import tracemalloc
import zlib
from dataclasses import replace

import pytest
from convoy_schema import artifacts, codec
from convoy_schema.artifacts import (
    ASK_AGAIN_S,
    BLOCK_BYTES,
    MAX_ARTIFACT,
    WINDOW,
    Assembly,
    Manifest,
    cut,
    pack,
    unpack,
)
from convoy_schema.errors import DecodeError, IntegrityError
from convoy_schema.names import digest_of
from hypothesis import given, settings
from hypothesis import strategies as st

EDGES = (0, 1, 2, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES)


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that do not compress, so that `size` of them make as many blocks as one expects."""
    return random.Random(seed).randbytes(size)


def of_blocks(count: int) -> tuple[Manifest, bytes, bytes]:
    """Manifest, packed bytes and content of an artifact of `count` blocks."""
    content = noise((count - 1) * BLOCK_BYTES + 100)
    manifest, packed = pack(content)
    assert manifest.blocks == count
    return manifest, packed, content


# Packing -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", EDGES)
@pytest.mark.parametrize("content_of", [bytes, noise], ids=["zeros", "noise"])
def test_what_is_packed_unpacks(size: int, content_of: type[bytes]) -> None:
    content = content_of(size)
    manifest, packed = pack(content)
    assert (manifest.digest, manifest.size, manifest.packed_size) == (digest_of(content), size, len(packed))
    assert unpack(manifest, packed) == content
    assert codec.decode(Manifest, codec.encode(manifest)) == manifest


@settings(max_examples=30)
@given(st.integers(0, 3 * BLOCK_BYTES), st.integers(0, 9))
def test_blocks_put_together_are_the_packed_content(size: int, seed: int) -> None:
    manifest, packed = pack(noise(size, seed))
    blocks = [cut(packed, block) for block in range(manifest.blocks)]
    assert b"".join(blocks) == packed
    assert [len(block) for block in blocks] == [manifest.block_size(block) for block in range(manifest.blocks)]
    assert max(map(len, blocks)) <= BLOCK_BYTES
    assert all(manifest.accepts(block, content) for block, content in enumerate(blocks))
    assert cut(packed, manifest.blocks) == b""


def test_an_empty_artifact_has_one_block() -> None:
    manifest, packed = pack(b"")
    assert (manifest.size, manifest.blocks) == (0, 1)
    assert unpack(manifest, packed) == b""


def test_only_the_block_itself_is_accepted() -> None:
    manifest, packed, _ = of_blocks(3)
    first = cut(packed, 0)
    assert manifest.accepts(0, first)
    for block in (-3, -1, 1, 2, 3, 10**9):
        assert not manifest.accepts(block, first)
    for content in (b"", first[:-1], first + b"\0", bytes([first[0] ^ 1]) + first[1:]):
        assert not manifest.accepts(0, content)


def test_the_largest_artifact_has_a_manifest_that_can_be_sent() -> None:
    hashes = tuple(bytes(32) for _ in range(MAX_ARTIFACT // BLOCK_BYTES))
    manifest = Manifest("0" * 64, MAX_ARTIFACT, MAX_ARTIFACT, hashes)
    assert codec.decode(Manifest, codec.encode(manifest)) == manifest


def test_content_that_no_manifest_can_describe_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "MAX_ARTIFACT", 1000)
    pack(bytes(1000))
    with pytest.raises(IntegrityError, match="an artifact may have 1000 bytes, this one has 1001"):
        pack(bytes(1001))
    # What does not compress grows a little, and its packed size has the same bound.
    pack(noise(900))
    with pytest.raises(IntegrityError, match="packs to 1011 bytes"):
        pack(noise(1000))


@pytest.mark.parametrize(
    ("packed_size", "blocks"), [(1, 0), (1, 2), (BLOCK_BYTES, 2), (BLOCK_BYTES + 1, 1), (3 * BLOCK_BYTES, 4)]
)
def test_a_manifest_whose_blocks_do_not_make_its_size_is_refused(packed_size: int, blocks: int) -> None:
    hashes = tuple(bytes(32) for _ in range(blocks))
    with pytest.raises(ValueError, match=f"{packed_size} packed bytes do not make {blocks} blocks"):
        Manifest("0" * 64, 1, packed_size, hashes)
    good = Manifest("0" * 64, 1, 1, (bytes(32),))
    body = codec.encode(good).replace(b"\xabpacked_size\x01", b"\xabpacked_size\xce" + (2**20).to_bytes(4, "big"))
    with pytest.raises(DecodeError, match="1048576 packed bytes do not make 1 blocks"):
        codec.decode(Manifest, body)


# Unpacking what lies -------------------------------------------------------------------------------------------------


def test_another_size_or_digest_is_refused() -> None:
    content = noise(1000)
    manifest, packed = pack(content)
    for wrong in (
        replace(manifest, size=999),
        replace(manifest, size=1001),
        replace(manifest, size=0),
        replace(manifest, digest=digest_of(b"")),
    ):
        with pytest.raises(IntegrityError, match="should unpack to"):
            unpack(wrong, packed)


@given(st.data())
def test_damaged_packed_bytes_are_refused(data: st.DataObject) -> None:
    content = b"convoy " * 40
    manifest, packed = pack(content)
    place = data.draw(st.integers(0, len(packed) - 1))
    changed = bytearray(packed)
    changed[place] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(changed), packed[:place], data.draw(st.binary(max_size=50))):
        # A checksum at the end may be missing or wrong, as long as the content has its digest.
        with contextlib.suppress(IntegrityError):
            assert unpack(manifest, damaged) == content


def test_a_decompression_bomb_stops_at_the_announced_size() -> None:
    bomb = zlib.compress(bytes(200_000_000), 9)
    assert len(bomb) < 200_000
    manifest = replace(pack(noise(1000))[0], size=100_000)
    tracemalloc.start()
    begun = time.thread_time()
    try:
        with pytest.raises(IntegrityError, match="100001 bytes"):
            unpack(manifest, bomb)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert time.thread_time() - begun < 1


# Assembling ----------------------------------------------------------------------------------------------------------


class Fetch:
    """Drives an `Assembly` as a board does, keeping what it accepted."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.assembly = Assembly(manifest)
        self.blocks: dict[int, bytes] = {}
        #: When each block was asked for last.
        self.asked_at: dict[int, float] = {}

    def ask(self, now: float) -> tuple[int, ...]:
        """What is asked for now, held to what must hold of it at any time."""
        asked = self.assembly.ask(now)
        assert len(asked) == len(set(asked))
        assert not set(asked) & set(self.blocks), "what is there must not be asked for"
        for block in asked:
            assert 0 <= block < self.manifest.blocks
            assert now - self.asked_at.get(block, float("-inf")) >= ASK_AGAIN_S, "asked again too soon"
            self.asked_at[block] = now
        outstanding = [
            block for block, at in self.asked_at.items() if block not in self.blocks and now - at < ASK_AGAIN_S
        ]
        assert len(outstanding) <= WINDOW
        assert len(self.assembly.asked) <= WINDOW
        return asked

    def take(self, block: int, content: bytes) -> None:
        if self.assembly.accept(block, content):
            assert block not in self.blocks, "taken twice"
            self.blocks[block] = content
        assert self.assembly.done_bytes == sum(map(len, self.blocks.values()))

    def content(self) -> bytes:
        assert self.assembly.is_complete
        return unpack(self.manifest, b"".join(self.blocks[block] for block in range(self.manifest.blocks)))


MANIFEST, PACKED, CONTENT = of_blocks(21)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 0.6), st.floats(0, 0.6))
def test_an_artifact_arrives_over_any_bad_line(seed: int, loss: float, damage: float) -> None:
    chance = random.Random(seed)
    fetch = Fetch(MANIFEST)
    now, line = 1000.0, list[tuple[int, bytes]]()
    for _ in range(3000):
        line += [(block, cut(PACKED, block)) for block in fetch.ask(now)]
        if chance.random() < 0.3:  # what another board asked for
            overheard = chance.randrange(MANIFEST.blocks)
            line.append((overheard, cut(PACKED, overheard)))
        chance.shuffle(line)
        for block, content in [line.pop() for _ in range(chance.randrange(len(line) + 1))]:
            if chance.random() < loss:
                continue
            came = content
            if chance.random() < damage:
                came = content[: chance.randrange(len(content))] + b"?"
            fetch.take(block, came)
            if chance.random() < 0.3:
                fetch.take(block, came)
        if fetch.assembly.is_complete:
            break
        now += chance.random() * 0.4
    assert fetch.content() == CONTENT
    assert fetch.assembly.done_bytes == MANIFEST.packed_size
    assert fetch.ask(now + 100) == ()
    assert fetch.assembly.asked == {}


def test_no_more_than_the_window_is_asked_for_until_blocks_come() -> None:
    assembly = Assembly(MANIFEST)
    assert assembly.ask(5.0) == tuple(range(WINDOW))
    assert assembly.ask(5.0 + 0.9 * ASK_AGAIN_S) == ()
    assert assembly.accept(3, cut(PACKED, 3))
    assert assembly.accept(12, cut(PACKED, 12))  # overheard: it was not asked for, so it makes no room
    assert assembly.ask(5.1) == (WINDOW,)
    assert assembly.ask(5.1) == ()


def test_what_is_overdue_is_asked_for_again_and_counts_as_outstanding() -> None:
    assembly = Assembly(MANIFEST)
    assembly.ask(5.0)
    assembly.accept(0, cut(PACKED, 0))
    assert assembly.ask(5.0 + 0.6 * ASK_AGAIN_S) == (WINDOW,)
    assert assembly.ask(5.0 + ASK_AGAIN_S) == tuple(range(1, WINDOW))
    assert assembly.ask(5.0 + 1.5 * ASK_AGAIN_S) == ()
    assert assembly.ask(5.0 + 1.6 * ASK_AGAIN_S) == (WINDOW,)


def test_a_caller_may_ask_for_fewer() -> None:
    assembly = Assembly(MANIFEST)
    assert assembly.ask(0.0, most=3) == (0, 1, 2)
    assert assembly.ask(0.0, most=0) == ()
    assert assembly.ask(0.0, most=100) == (3, 4, 5, 6, 7)


def test_what_survived_a_restart_is_not_asked_for() -> None:
    assembly = Assembly(MANIFEST, have=set(range(0, 21, 2)))
    assert assembly.ask(0.0) == (1, 3, 5, 7, 9, 11, 13, 15)
    assert not assembly.is_complete
    assert not assembly.accept(0, cut(PACKED, 0))


def test_unknown_and_damaged_blocks_leave_no_trace() -> None:
    assembly = Assembly(MANIFEST)
    assembly.ask(0.0)
    before = (set(assembly.have), dict(assembly.asked))
    for block, content in ((0, b""), (0, cut(PACKED, 1)), (-1, cut(PACKED, 20)), (21, cut(PACKED, 0)), (10**9, b"x")):
        assert not assembly.accept(block, content)
    assert (assembly.have, assembly.asked) == before
