"""A .bit file as the board's loader takes it: its words in the kernel's order, and which shell it is of."""

from __future__ import annotations

import numpy as np
from convoy_schema.bitstream import Header
from convoy_schema.bitstream.header import parse_header
from convoy_schema.errors import BitstreamError

from convoy_device.errors import ImageRefusedError

#: What the designs of our shells are called in the header that Vivado writes.
_DESIGN = "convoy_"
_WRAPPER = "_wrapper"


def to_bin(image: bytes) -> bytes:
    """The words of a .bit file in the order that the kernel's driver takes: each with its bytes reversed."""
    _, offset = _header(image)
    return np.frombuffer(image, "<u4", offset=offset).byteswap().tobytes()


def shell_of(image: bytes) -> str:
    """The shell that a full image is of, by the name of its design; raises `ImageRefusedError`.

    The name is only text, but the image came under a signed digest, as every other bit of it did.
    """
    header, _ = _header(image)
    design = header.design.split(";")[0]
    if not design.startswith(_DESIGN):
        raise ImageRefusedError(
            f"a shell's design should be called {_DESIGN}SHELL, this one is {design[:80]!r}: it is none of ours"
        )
    return design[len(_DESIGN) :].removesuffix(_WRAPPER)


def _header(image: bytes) -> tuple[Header, int]:
    try:
        return parse_header(image)
    except BitstreamError as error:
        raise ImageRefusedError(f"the image is no .bit file: {error}", **error.data) from error
