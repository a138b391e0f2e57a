import errno
import os
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import board_models as models
import pytest
from convoy_device.errors import ArtifactDamagedError, StoreError, StoreFullError
from convoy_device.store import RESERVE_BYTES, Store
from convoy_schema.artifacts import BLOCK_BYTES, Manifest, cut, pack
from convoy_schema.signing import Floor, Statements, set_floor
from hypothesis import given, settings
from hypothesis import strategies as st

MEGABYTE = 1024 * 1024


def incompressible(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "state", 4 * MEGABYTE)
    yield opened
    opened.close()


def reopened(store: Store, directory: Path, quota: int = 4 * MEGABYTE) -> Store:
    store.close()
    return Store(directory, quota)


def put(store: Store, content: bytes) -> Manifest:
    manifest, packed = pack(content)
    for block in range(manifest.blocks):
        store.write_block(manifest, block, cut(packed, block))
    store.finish(manifest)
    return manifest


def test_an_artifact_comes_back_as_it_was_also_after_a_restart(store: Store, tmp_path: Path) -> None:
    content = incompressible(3 * BLOCK_BYTES + 5)
    manifest = put(store, content)
    assert store.read(manifest.digest) == content
    again = reopened(store, tmp_path / "state")
    try:
        assert again.digests() == {manifest.digest}
        assert again.read(manifest.digest) == content
        assert again.partials() == ()
    finally:
        again.close()


@settings(max_examples=30, deadline=None)
@given(
    data=st.data(), order=st.permutations(range(6)), written=st.integers(0, 6), cut_at=st.integers(0, 6 * BLOCK_BYTES)
)
def test_a_crash_at_any_point_leaves_whole_blocks_and_no_others(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, order: list[int], written: int, cut_at: int
) -> None:
    directory = tmp_path_factory.mktemp("store")
    content = incompressible(5 * BLOCK_BYTES + 100)
    manifest, packed = pack(content)
    assert manifest.blocks == 6
    store = Store(directory, 4 * MEGABYTE)
    for block in order[:written]:
        store.write_block(manifest, block, cut(packed, block))
    store.close()
    part = directory / "downloads" / f"{manifest.digest}.part"
    damaged: set[int] = set()
    if part.exists():
        # A power loss: the file's end never reached the disk, and some page holds something else.
        if cut_at < part.stat().st_size:
            os.truncate(part, cut_at)
        if part.stat().st_size and data.draw(st.booleans()):
            at = data.draw(st.integers(0, part.stat().st_size - 1))
            with part.open("r+b") as file:
                file.seek(at)
                byte = file.read(1)
                file.seek(at)
                file.write(bytes([byte[0] ^ 0xFF]))
            damaged = {at // BLOCK_BYTES}
    again = Store(directory, 4 * MEGABYTE)
    try:
        have = {block for partial in again.partials() for block in partial.blocks}
        whole = {
            block
            for block in order[:written]
            if block not in damaged and block * BLOCK_BYTES + manifest.block_size(block) <= cut_at
        }
        assert whole <= have <= set(order[:written])
        assert have.isdisjoint(damaged)
        for block in set(range(6)) - have:
            again.write_block(manifest, block, cut(packed, block))
        again.finish(manifest)
        assert again.read(manifest.digest) == content
    finally:
        again.close()


def test_a_manifest_that_cannot_be_read_starts_the_download_over(store: Store, tmp_path: Path) -> None:
    manifest, packed = pack(incompressible(2 * BLOCK_BYTES))
    store.write_block(manifest, 0, cut(packed, 0))
    (tmp_path / "state" / "downloads" / f"{manifest.digest}.manifest").write_bytes(b"\x81")
    assert store.partials() == ()
    assert list((tmp_path / "state" / "downloads").iterdir()) == []


def test_an_artifact_damaged_on_disk_is_noticed_and_removed(store: Store, tmp_path: Path) -> None:
    manifest = put(store, b"weights" * 1000)
    path = tmp_path / "state" / "artifacts" / manifest.digest
    path.write_bytes(b"weighty" * 1000)
    with pytest.raises(ArtifactDamagedError, match="damaged on disk") as caught:
        store.read(manifest.digest)
    assert caught.value.retryable
    assert caught.value.data["digest"] == manifest.digest
    assert store.digests() == frozenset()
    with pytest.raises(ArtifactDamagedError, match="no longer"):
        store.read(manifest.digest)


def test_blocks_that_make_another_content_start_over(store: Store) -> None:
    manifest, packed = pack(b"right" * 100)
    wrong = Manifest("0" * 64, manifest.size, manifest.packed_size, manifest.hashes)
    store.write_block(wrong, 0, packed)
    with pytest.raises(ArtifactDamagedError, match="should unpack"):
        store.finish(wrong)
    assert store.partials() == ()
    assert store.used_bytes == 0


def test_the_longest_unused_goes_first_and_what_is_referenced_stays(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    store = Store(directory, 5 * BLOCK_BYTES)
    kept, old, recent = (put(store, incompressible(BLOCK_BYTES, seed)) for seed in range(3))
    store.keep({kept.digest}, set())
    store.read(old.digest)  # used last, so the other one is now the oldest
    # The order of use outlives the process, whatever the clock says.
    store = reopened(store, directory, 5 * BLOCK_BYTES)
    try:
        store.keep({kept.digest}, set())
        new = put(store, incompressible(BLOCK_BYTES, 4))
        assert store.digests() == {kept.digest, old.digest, new.digest}
        assert recent.digest not in store.digests()
    finally:
        store.close()


def test_a_quota_full_of_what_is_needed_is_an_error_that_can_pass(tmp_path: Path) -> None:
    store = Store(tmp_path / "state", 4 * BLOCK_BYTES)
    try:
        held = put(store, incompressible(BLOCK_BYTES))
        store.keep({held.digest}, set())
        manifest, packed = pack(incompressible(4 * BLOCK_BYTES, 2))
        with pytest.raises(StoreFullError, match="raise store_quota_mb") as caught:
            store.write_block(manifest, 0, cut(packed, 0))
        assert caught.value.retryable
        assert store.read(held.digest)
        assert store.partials() == ()
    finally:
        store.close()


def test_a_full_disk_is_an_error_that_can_pass_and_costs_nothing_else(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = put(store, b"before")
    manifest, packed = pack(b"new" * 1000)
    real = os.pwrite

    def full(descriptor: int, content: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StoreFullError, match="the disk is full"):
        store.write_block(manifest, 0, packed)
    monkeypatch.setattr(os, "pwrite", real)
    store.write_block(manifest, 0, packed)
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StoreFullError):
        store.finish(manifest)
    with pytest.raises(StoreFullError):
        store.save_last_good(models.desired())
    monkeypatch.setattr(os, "pwrite", real)
    assert not list((tmp_path / "state").rglob("*.tmp"))
    assert store.read(before.digest) == b"before"
    store.finish(manifest)
    assert store.read(manifest.digest) == b"new" * 1000


def disk_of(free: int, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk with `free` bytes left now, and as many more as the store then removes."""
    full = store.used_bytes + free

    def statvfs(path: object) -> SimpleNamespace:
        return SimpleNamespace(f_bavail=full - store.used_bytes, f_frsize=1)

    monkeypatch.setattr(os, "statvfs", statvfs)


def test_what_cannot_fit_the_disk_is_refused_before_anything_is_written(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, packed = pack(incompressible(4 * BLOCK_BYTES))
    need = manifest.size + manifest.packed_size
    disk_of(need + RESERVE_BYTES - 1, store, monkeypatch)
    with pytest.raises(StoreFullError, match="free some space there, remove a deployment, or give the board") as caught:
        store.write_block(manifest, 0, cut(packed, 0))
    assert caught.value.retryable
    assert caught.value.data == {"need": need + RESERVE_BYTES, "have": need + RESERVE_BYTES - 1}
    assert f"{need} bytes are needed" in str(caught.value)
    assert store.used_bytes == 0
    assert list((tmp_path / "state" / "downloads").iterdir()) == []
    disk_of(need + RESERVE_BYTES, store, monkeypatch)
    store.write_block(manifest, 0, cut(packed, 0))


def test_what_nobody_needs_makes_room_on_a_full_disk_and_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, old, recent = (put(store, incompressible(2 * BLOCK_BYTES, seed)) for seed in range(3))
    store.keep({kept.digest}, set())
    assert store.take_evicted() == frozenset()
    manifest, packed = pack(incompressible(2 * BLOCK_BYTES, 4))
    disk_of(manifest.packed_size + RESERVE_BYTES, store, monkeypatch)
    store.write_block(manifest, 0, cut(packed, 0))
    assert store.digests() == {kept.digest, recent.digest}
    assert store.take_evicted() == {old.digest}
    assert store.take_evicted() == frozenset()


def test_a_disk_that_fails_says_what_failed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StoreError, match=r"last good assignments cannot be written: .*Input/output"):
        store.save_last_good(models.desired())


def test_what_was_being_written_in_a_crash_is_cleared(store: Store, tmp_path: Path) -> None:
    put(store, b"whole")
    (tmp_path / "state" / "artifacts" / ("1" * 64 + ".tmp")).write_bytes(b"half")
    again = reopened(store, tmp_path / "state")
    try:
        assert not list((tmp_path / "state").rglob("*.tmp"))
        assert len(again.digests()) == 1
    finally:
        again.close()


def test_models_and_assignments_survive_and_models_no_longer_used_go(store: Store, tmp_path: Path) -> None:
    model = models.copies(images=False)
    assignment = models.alone(model)
    assert store.last_good() is None
    assert store.epoch() == 0
    store.save_model(model.announcement.digest, model.announcement)
    store.save_last_good(models.desired(assignment, revision=7))
    store.save_epoch(3)
    assert store.trust() == Statements()
    kept = Statements((), (set_floor(Floor("copies", 2, 1), models.SIGNER),), 17)
    store.save_trust(kept)
    again = reopened(store, tmp_path / "state")
    try:
        assert again.models() == (model.announcement,)
        assert again.last_good() == models.desired(assignment, revision=7)
        assert again.epoch() == 3
        assert again.trust() == kept
        again.keep(set(), {model.announcement.digest})
        assert again.models() == (model.announcement,)
        again.keep(set(), set())
        assert again.models() == ()
    finally:
        again.close()


def test_last_good_assignments_that_cannot_be_read_are_left_out(store: Store, tmp_path: Path) -> None:
    for name in ("last-good", "epoch", "trust"):
        (tmp_path / "state" / name).write_bytes(b"garbage")
    assert store.last_good() is None
    assert store.epoch() == 0
    assert store.trust() == Statements()


def test_a_download_nobody_waits_for_gives_its_room_back(store: Store) -> None:
    manifest, packed = pack(incompressible(2 * BLOCK_BYTES))
    store.write_block(manifest, 0, cut(packed, 0))
    assert store.used_bytes >= 2 * BLOCK_BYTES
    store.keep({manifest.digest}, set())
    assert len(store.partials()) == 1
    store.keep(set(), set())
    assert store.partials() == ()
    assert store.used_bytes == 0


def test_two_daemons_never_share_a_directory(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="in use by another daemon: give each its own state_dir"):
        Store(tmp_path / "state", MEGABYTE)


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match=r"state directory .*file.* cannot be used"):
        Store(tmp_path / "file" / "state", MEGABYTE)


def test_what_nothing_refers_to_is_removed_and_what_is_kept_never(store: Store, tmp_path: Path) -> None:
    kept, gone, other = (put(store, incompressible(1000, seed)).digest for seed in range(3))
    store.keep({kept}, set())
    store.drop({kept, gone, "0" * 64})
    assert store.digests() == {kept, other}
    assert {path.name for path in (tmp_path / "state" / "artifacts").iterdir()} == {kept, other}
    assert store.used_bytes == 2000


def test_a_crash_in_the_middle_of_clearing_leaves_whole_artifacts_and_it_is_done_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, *gone = (put(store, incompressible(1000, seed)).digest for seed in range(5))
    store.keep({kept}, set())
    real, removed = Path.unlink, []

    def dies(path: Path, missing_ok: bool = False) -> None:
        if len(removed) == 2:
            raise OSError(errno.EIO, "the power went")
        removed.append(path.name)
        real(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", dies)
    with pytest.raises(StoreError, match="cannot be removed"):
        store.drop(set(gone))
    monkeypatch.setattr(Path, "unlink", real)
    again = reopened(store, tmp_path / "state")
    try:
        left = set(gone) - set(removed)
        assert again.digests() == {kept} | left
        assert all(again.read(digest) for digest in again.digests())
        again.keep({kept}, set())
        again.drop(set(gone))
        assert again.digests() == {kept}
    finally:
        again.close()
