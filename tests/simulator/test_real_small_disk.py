"""A disk that fills to the last byte while somebody else writes to it, and is given back."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from convoy_simulator.real.small_disk import SmallDisk, obstacle


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if why := obstacle(tmp_path / "disk"):
        pytest.skip(why)
    with SmallDisk(tmp_path / "disk", 2048) as made:
        yield made


def test_it_is_full_to_what_is_left_and_empty_again(disk: SmallDisk) -> None:
    before = disk.free_bytes
    disk.fill(leave_bytes=100_000)
    assert 0 < disk.free_bytes <= 100_000
    disk.fill()
    assert disk.free_bytes == 0
    with pytest.raises(OSError, match=rf"\[Errno {errno.ENOSPC}\]"):
        (disk.path / "more").write_bytes(b"1")
    disk.relieve()
    assert disk.free_bytes >= before - 4096


def test_it_fills_while_somebody_writes(disk: SmallDisk) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for number in range(40):
                with contextlib.suppress(OSError):  # full
                    (disk.path / f"{number}").write_bytes(bytes(8192))
                (disk.path / f"{number}").unlink(missing_ok=True)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(60):
            disk.fill()
            disk.relieve()
    finally:
        stop.set()
        writer.join()
    disk.fill()
    assert disk.free_bytes == 0
