"""The blob store: what it holds is whole or not there at all, whatever happens to the process or the disk."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from convoy_controller.blobs import BlobStore
from convoy_controller.errors import BlobError, NotFoundError
from convoy_schema.artifacts import BLOCK_BYTES, Assembly, unpack
from convoy_schema.errors import IntegrityError
from convoy_schema.names import digest_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from patience import PATIENCE_S

LARGE = os.urandom(3 * BLOCK_BYTES + 100)  # does not pack


def file_of(store_folder: Path, digest: str) -> Path:
    return store_folder / digest[:2] / digest


def all_blocks(store: BlobStore, digest: str, blocks: int = 4) -> bytes:
    return b"".join(store.read_block(digest, block) for block in range(blocks))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=3000), st.integers(1, 100))
def test_any_content_comes_back(tmp_path: Path, content: bytes, times: int):
    content *= times
    store = BlobStore(tmp_path)
    manifest = store.put(content)
    assert manifest.digest == digest_of(content)
    assert store.read(manifest.digest) == content
    packed = b"".join(store.read_block(manifest.digest, block) for block in range(manifest.blocks))
    assert unpack(manifest, packed) == content


def test_blocks_are_what_a_board_takes(tmp_path: Path):
    manifest = BlobStore(tmp_path).put(LARGE)
    store = BlobStore(tmp_path)  # another process's
    assert store.manifest(manifest.digest) == manifest
    assembly = Assembly(manifest)
    for block in range(manifest.blocks):
        assert assembly.accept(block, store.read_block(manifest.digest, block))
    assert assembly.is_complete


def test_repeating_writes_nothing(tmp_path: Path):
    store = BlobStore(tmp_path)
    manifest = store.put(LARGE)
    before = file_of(tmp_path, manifest.digest).stat().st_ino
    assert store.put(LARGE) == manifest
    assert file_of(tmp_path, manifest.digest).stat().st_ino == before
    assert list(store.digests()) == [manifest.digest]


def test_what_is_not_there_is_not_found(tmp_path: Path):
    store = BlobStore(tmp_path)
    missing = "ab" * 32
    for ask in (store.manifest, store.read, lambda digest: store.read_block(digest, 0)):
        with pytest.raises(NotFoundError):
            ask(missing)
    assert not store.has(missing)
    store.delete(missing)
    manifest = store.put(b"something")
    for block in (-1, 1):
        with pytest.raises(NotFoundError, match="blocks 0 to 0"):
            store.read_block(manifest.digest, block)


def test_deleted_is_gone_from_memory_too(tmp_path: Path):
    store = BlobStore(tmp_path)
    digest = store.put(LARGE).digest
    store.read_block(digest, 0)
    store.delete(digest)
    with pytest.raises(NotFoundError):
        store.read_block(digest, 0)


@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
@pytest.mark.parametrize("where", [0, 10, 30, -1])
def test_damage_is_found_and_mended_by_storing_again(tmp_path: Path, where: int, cache_bytes: int):
    digest = BlobStore(tmp_path).put(LARGE).digest
    path = file_of(tmp_path, digest)
    content = bytearray(path.read_bytes())
    content[where] ^= 0x55
    path.write_bytes(content)
    store = BlobStore(tmp_path, cache_bytes)
    with pytest.raises(IntegrityError):
        store.read(digest)
    with pytest.raises(IntegrityError):
        all_blocks(store, digest)
    store.put(LARGE)
    assert store.read(digest) == LARGE
    assert unpack(store.manifest(digest), all_blocks(store, digest)) == LARGE


@pytest.mark.parametrize("length", [0, 5, 12, 100, 70_000])
def test_a_truncated_file_is_damage(tmp_path: Path, length: int):
    digest = BlobStore(tmp_path).put(LARGE).digest
    path = file_of(tmp_path, digest)
    path.write_bytes(path.read_bytes()[:length])
    store = BlobStore(tmp_path)
    with pytest.raises(IntegrityError):
        store.read_block(digest, 3)
    with pytest.raises(IntegrityError, match="publish the model again"):
        store.read(digest)


def test_one_artifact_cannot_pass_for_another(tmp_path: Path):
    store = BlobStore(tmp_path)
    one, other = store.put(b"one").digest, digest_of(b"other")
    file_of(tmp_path, other).parent.mkdir(exist_ok=True)
    file_of(tmp_path, one).rename(file_of(tmp_path, other))
    with pytest.raises(IntegrityError, match="manifest is that of"):
        BlobStore(tmp_path).read_block(other, 0)


def test_memory_is_bounded(tmp_path: Path):
    store = BlobStore(tmp_path, cache_bytes=5 * BLOCK_BYTES)
    digests = [store.put(bytes([number]) + LARGE).digest for number in range(5)]
    for digest in digests * 2:
        assert store.read_block(digest, 2)
    assert store._held <= 5 * BLOCK_BYTES
    assert len(store._cached) == 1
    tiny = BlobStore(tmp_path, cache_bytes=BLOCK_BYTES)  # too large for its memory: read block by block
    assert tiny.read_block(digests[0], 3) == store.read_block(digests[0], 3)
    assert tiny._held == 0


@pytest.mark.parametrize("moment", ["os.fsync", "pathlib.Path.replace"])
def test_a_process_killed_while_it_stores_leaves_nothing_half_done(tmp_path: Path, moment: str):
    script = (
        "import os, pathlib, signal, sys\n"
        "from convoy_controller.blobs import BlobStore\n"
        "def die(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
        f"{moment} = die\n"
        "BlobStore(pathlib.Path(sys.argv[1])).put(b'content' * 1000)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], timeout=2 * PATIENCE_S, check=False)
    assert done.returncode == -9
    digest = digest_of(b"content" * 1000)
    assert len(list(tmp_path.glob("??/*.part-*"))) == 1
    store = BlobStore(tmp_path)
    assert list(tmp_path.glob("??/*")) == []  # what the dead one left is cleared
    assert not store.has(digest)
    assert list(store.digests()) == []
    store.put(b"content" * 1000)
    assert store.read(digest) == b"content" * 1000


def test_what_another_living_process_writes_is_left_alone(tmp_path: Path):
    (tmp_path / "ab").mkdir()
    unfinished = tmp_path / "ab" / f"{'ab' * 32}.part-{os.getpid()}-1-0"
    unfinished.write_bytes(b"half")
    store = BlobStore(tmp_path)
    assert unfinished.exists()
    assert list(store.digests()) == []


def test_a_disk_that_fails_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = BlobStore(tmp_path)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BlobError, match=r"\d+ bytes are needed and the disk has \d+ free: free some space there"):
        store.put(b"content")
    assert list(tmp_path.glob("??/*")) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BlobError):
        BlobStore(tmp_path / "file")


def test_many_threads_at_once(tmp_path: Path):
    store = BlobStore(tmp_path, cache_bytes=8 * BLOCK_BYTES)
    contents = [bytes([number]) * 10 + LARGE for number in range(4)]
    wrong: list[object] = []

    def work(offset: int) -> None:
        for turn in range(12):
            content = contents[(offset + turn) % 4]
            try:
                manifest = store.put(content)
                blocks = [store.read_block(manifest.digest, block) for block in range(manifest.blocks)]
                if unpack(manifest, b"".join(blocks)) != content:
                    wrong.append("content")
            except Exception as error:  # a thread's error must reach the test
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert store._held == sum(len(packed) for packed in store._cached.values())
