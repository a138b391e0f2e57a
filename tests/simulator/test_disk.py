"""The disk in memory does what the machine's does, and forgets at a power loss what was not synced."""

from __future__ import annotations

import errno
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from convoy_device.disk import Disk
from convoy_simulator.disk import PAGE, ForgetfulDisk
from convoy_simulator.life import EndedError
from hypothesis import given
from hypothesis import strategies as st

FOLDER = Path("/virtual/artifacts")
OLD, NEW = b"o" * (3 * PAGE), b"n" * (3 * PAGE)

names = st.sampled_from("abc")
contents = st.binary(max_size=12)
places = st.integers(0, 20)
operations = st.one_of(
    st.tuples(st.just("write"), names, contents),
    st.tuples(st.just("write_at"), names, contents, places),
    st.tuples(st.just("read"), names),
    st.tuples(st.just("read_at"), names, places, places),
    st.tuples(st.just("size"), names),
    st.tuples(st.just("replace"), names, names).filter(lambda each: each[1] != each[2]),
    st.tuples(st.just("remove"), names),
    st.tuples(st.just("set_used_at"), names, st.integers(1, 2**50)),
    st.tuples(st.just("used_at_if_set"), names),
    st.tuples(st.just("files")),
    st.tuples(st.just("sync_folder")),
)


def disk() -> ForgetfulDisk:
    return ForgetfulDisk(lambda what: None)


class Driven:
    """A disk of either kind under the same operations."""

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk = disk
        self._folder = folder
        self._set: set[str] = set()

    def do(self, operation: str, *arguments: Any) -> Any:
        try:
            return self._do(operation, arguments)
        except OSError as error:
            return type(error), error.errno

    def _do(self, operation: str, arguments: tuple[Any, ...]) -> Any:
        if not arguments:
            found = getattr(self._disk, operation)(self._folder)
            return [path.name for path in found] if operation == "files" else found
        path, rest = self._folder / arguments[0], arguments[1:]
        if operation == "used_at_if_set":
            return self._disk.used_at(path) if path.name in self._set else None
        if operation == "replace":
            self._set.discard(rest[0])
            rest = (self._folder / rest[0],)
        found = getattr(self._disk, operation)(path, *rest)
        if operation == "set_used_at":
            self._set.add(path.name)
        else:  # a file that is written to, made anew or renamed has another time, or none
            self._set -= {path.name} if operation in ("write", "write_at", "replace", "remove") else set()
        return found


@given(st.lists(operations, max_size=30))
def test_it_does_what_the_machines_disk_does(script: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        real, modelled = Driven(Disk(), Path(folder)), Driven(disk(), FOLDER)
        for step in script:
            assert modelled.do(*step) == real.do(*step), step


def test_a_name_can_be_claimed_once_until_it_is_let_go_or_the_process_ends(tmp_path: Path) -> None:
    for claimed, folder in ((Disk(), tmp_path), (disk(), FOLDER)):
        claim = claimed.lock(folder / "lock")
        with pytest.raises(BlockingIOError):
            claimed.lock(folder / "lock")
        claimed.unlock(claim)
        claimed.unlock(claimed.lock(folder / "lock"))
    ended = disk()
    ended.lock(FOLDER / "lock")
    ended.process_ends()
    ended.lock(FOLDER / "lock")


def after_power_losses(prepare: Callable[[ForgetfulDisk], None]) -> set[tuple[tuple[str, bytes], ...]]:
    """What may be on it then, by name and content."""
    found = set()
    for seed in range(200):
        lost = disk()
        prepare(lost)
        lost.lose_power(random.Random(seed))
        found.add(tuple((path.name, content) for path, content in lost.contents(FOLDER.name)))
    return found


def test_what_was_synced_with_its_name_is_there() -> None:
    def prepare(disk: ForgetfulDisk) -> None:
        disk.write(FOLDER / "a", OLD)
        disk.sync_folder(FOLDER)

    assert after_power_losses(prepare) == {(("a", OLD),)}


def test_a_name_that_was_not_synced_may_be_missing_but_not_the_bytes_under_it() -> None:
    assert after_power_losses(lambda disk: disk.write(FOLDER / "a", OLD)) == {(), (("a", OLD),)}


def test_a_file_that_was_replaced_is_the_one_or_the_other() -> None:
    def prepare(disk: ForgetfulDisk) -> None:
        disk.write(FOLDER / "a", OLD)
        disk.sync_folder(FOLDER)
        disk.write(FOLDER / "a.tmp", NEW)
        disk.replace(FOLDER / "a.tmp", FOLDER / "a")

    found = {dict(each)["a"] for each in after_power_losses(prepare)}
    assert found == {OLD, NEW}


def test_names_change_in_the_order_in_which_they_were_changed() -> None:
    def prepare(disk: ForgetfulDisk) -> None:
        for name in "abc":
            disk.write(FOLDER / name, b"")

    kept = {"".join(name for name, _ in each) for each in after_power_losses(prepare)}
    assert kept == {"", "a", "ab", "abc"}


def test_of_bytes_that_were_not_synced_any_page_may_be_there() -> None:
    def prepare(disk: ForgetfulDisk) -> None:
        disk.write(FOLDER / "a", OLD)
        disk.sync_folder(FOLDER)
        disk.write_at(FOLDER / "a", NEW, 0)

    found = [dict(each)["a"] for each in after_power_losses(prepare)]
    pages = {content[start : start + PAGE] for content in found for start in range(0, len(content) - PAGE + 1, PAGE)}
    assert pages == {OLD[:PAGE], NEW[:PAGE], bytes(PAGE)}
    assert {OLD, NEW} < set(found)
    assert max(map(len, found)) == len(NEW)


def test_a_process_that_ends_loses_nothing_that_it_wrote() -> None:
    ended = disk()
    ended.write_at(FOLDER / "a", OLD, 0)
    ended.process_ends()
    assert ended.read(FOLDER / "a") == OLD


def test_a_process_can_end_between_the_bytes_and_their_sync() -> None:
    def end(what: str) -> None:
        if what == "sync":
            raise EndedError(what)

    ended = ForgetfulDisk(end)
    with pytest.raises(EndedError):
        ended.write(FOLDER / "a", OLD)
    assert ended.contents(FOLDER.name) == [(FOLDER / "a", OLD)]
    ended.step = lambda what: None
    ended.sync_folder(FOLDER)
    ended.lose_power(random.Random(3))
    assert ended.read(FOLDER / "a") != OLD


def test_a_full_disk_takes_nothing_and_leaves_no_name() -> None:
    full = disk()
    full.write(FOLDER / "a", OLD)
    full.fill()
    assert full.free_bytes(FOLDER) == 0
    with pytest.raises(OSError, match="no space") as refused:
        full.write(FOLDER / "b", b"x")
    assert refused.value.errno == errno.ENOSPC
    assert full.files(FOLDER) == [FOLDER / "a"]
    with pytest.raises(OSError, match="no space"):
        full.write_at(FOLDER / "a", b"x", len(OLD))
    full.write_at(FOLDER / "a", b"x", 0)
    full.remove(FOLDER / "a")
    full.write(FOLDER / "b", b"x")
