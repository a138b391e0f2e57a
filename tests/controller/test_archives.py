"""Arrays in an archive: read as NumPy reads them, or refused before there is room for what is not there."""

from __future__ import annotations

import contextlib
import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from convoy_controller.archives import read_arrays
from convoy_controller.errors import DatasetError


def member(shape: str, descr: str = "'<f4'") -> bytes:
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(118).encode() + b"\n"
    return b"\x93NUMPY\1\0" + len(head).to_bytes(2, "little") + head + bytes(32)


def archive(path: Path, content: bytes, name: str = "x.npy") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, content)
    return path


def test_arrays_are_those_that_numpy_wrote(tmp_path: Path) -> None:
    held = {"a": np.arange(6, dtype=np.int16).reshape(2, 3), "b.c": np.asfortranarray(np.eye(3)), "d": np.zeros((0, 4))}
    np.savez_compressed(tmp_path / "held.npz", **held)  # type: ignore[arg-type]
    found = read_arrays(tmp_path / "held.npz")
    assert list(found) == list(held)
    for name, array in held.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)
    assert list(read_arrays(tmp_path / "held.npz", lambda names: names[1:2])) == ["b.c"]


@pytest.mark.parametrize(
    "content",
    [
        member("(99999999999, 4)"),
        member("(2.5, 4)"),
        member("(True, 4)"),
        member("(-2, 4)"),
        member("(" * 300 + ")" * 300),
        member("(2, 4), '''"),
        member("(2,)", "'|O'"),
        member("(2, 4)")[:-1],
        b"\x93NUMPY\2\0" + (2**31).to_bytes(4, "little"),
        b"no array",
        b"",
    ],
)
def test_what_is_no_plain_array_is_refused(tmp_path: Path, content: bytes) -> None:
    path = archive(tmp_path / "x.npz", content)
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match="file of plain arrays"):
            read_arrays(path)
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert held < 5_000_000


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.zeros((2, 4)))
    path = tmp_path / "x.npz"
    for content in (b"", b"PK\3\4 no archive", file.getvalue()):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match="file of plain arrays"):
            read_arrays(path)


def test_what_unpacks_to_too_much_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "large.npz", a=np.zeros(2_000_000, np.int8))
    with pytest.raises(DatasetError, match="at most 1000000 are read"):
        read_arrays(tmp_path / "large.npz", most_bytes=1_000_000)


def test_what_is_not_in_the_file_is_refused_before_there_is_room_for_it(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.npz", member("(100000000,)"))
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\1\2") + 24  # the size in the archive's directory
    content[at : at + 4] = (400_000_200).to_bytes(4, "little")
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match="cannot be in it"):
            read_arrays(path)
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert held < 5_000_000


def test_no_room_is_made_for_what_a_member_claims_to_take_packed(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", member("(8,)"))
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\1\2") + 20
    content[at : at + 4] = (2**31).to_bytes(4, "little")
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with contextlib.suppress(DatasetError):  # zipfile may take it for all that
            read_arrays(path)
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert held < 5_000_000


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_what_numpy_does_not_write_is_refused(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w", method) as file:
        file.writestr("x.npy", member("(8,)"))
    with pytest.raises(DatasetError, match=r"save it by numpy.savez"):
        read_arrays(tmp_path / "x.npz")


def test_a_wrong_checksum_is_found(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=np.arange(100, dtype=np.int8))
    content = bytearray(path.read_bytes())
    content[content.index(bytes(range(50, 60)))] ^= 1
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="CRC"):
        read_arrays(path)
