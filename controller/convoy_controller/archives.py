"""Arrays in an .npz file, read within bounds: calibration samples and a network's parameters come in such files.

NumPy makes room for whatever shape an array's header claims, and raises whatever its parts raise. Here sizes are
compared before there is room for anything, and every fault is a `DatasetError`.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from convoy_controller.errors import DatasetError

#: Bytes of all arrays that are read of one file, unpacked, at most.
MAX_ARRAYS = 2 * 1024**3
#: Bytes that deflate makes of one, at most; what claims to unpack to more is not in the file.
_MOST_RATIO = 1032
#: What NumPy and zipfile raise over files that are damaged, encrypted, packed in an unknown way, or no archives.
_DAMAGED = (
    *(OSError, ValueError, EOFError, KeyError, RuntimeError, TypeError, OverflowError, MemoryError, SyntaxError),
    *(zlib.error, zipfile.BadZipFile, tokenize.TokenError),
)
_SUFFIX = ".npy"
_PIECE = 64 * 1024
#: How NumPy packs; another way may take a gigabyte for its dictionary alone, and says so in a header.
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_arrays(
    path: Path, choose: Callable[[list[str]], Iterable[str]] = list, most_bytes: int = MAX_ARRAYS
) -> dict[str, NDArray[np.generic]]:
    """The arrays that `choose` picks of the names in the .npz file at `path`, by name.

    Raises `DatasetError` for anything but an archive of plain arrays that unpacks to at most `most_bytes`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # As NumPy has it: an array is called without the suffix of its file.
            held = {name.removesuffix(_SUFFIX): archive.getinfo(name) for name in archive.namelist()}
            chosen = {name: held[name] for name in choose(list(held))}
            if not all(info.compress_type in _PACKED for info in chosen.values()):
                raise DatasetError(f"{path} is packed as NumPy packs nothing: save it by numpy.savez")
            size = sum(info.file_size for info in chosen.values())
            if size > most_bytes:
                raise DatasetError(f"{path} unpacks to {size} bytes, at most {most_bytes} are read")
            if size > _MOST_RATIO * path.stat().st_size:
                raise DatasetError(f"{path} says that it unpacks to {size} bytes, which cannot be in it")
            return {name: _array(archive, info) for name, info in chosen.items()}
    except _DAMAGED as error:
        raise DatasetError(f"{path} is not an .npz file of plain arrays: {str(error)[:300]}") from error


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[np.generic]:
    with archive.open(info) as file:
        _check_size(file, info.file_size)
    with archive.open(info) as file:
        found: NDArray[np.generic] = npy.read_array(file, allow_pickle=False)  # type: ignore[no-untyped-call]
        # To its end, where the checksum is compared; a read without a size makes room for whatever the archive claims.
        while file.read(_PIECE):
            pass
    return found


def _check_size(file: IO[bytes], there: int) -> None:
    """Raise `ValueError` unless the shape that the header claims takes as many bytes as there are."""
    version = npy.read_magic(file)  # type: ignore[no-untyped-call]
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)  # type: ignore[no-untyped-call]
    if not all(type(extent) is int and extent >= 0 for extent in shape):
        raise ValueError(f"an array cannot have the shape {shape}")
    if dtype.hasobject or math.prod(shape) * dtype.itemsize > there:
        raise ValueError(f"an array of {dtype} and shape {shape} is not in its {there} bytes")
