"""The emulated part's configuration port: takes an image apart and says which frames it sets, or refuses it whole.

It checks what silicon checks (identity, CRC) and that every frame lies where it may. The structural rules that a board
applies before it lets an image near any fabric are a step before this one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from convoy_schema.bitstream import Bitstream, Frames, Indices, Part, part_of, read
from convoy_schema.errors import BitstreamError

from convoy_device.errors import ImageRefusedError


@dataclass(frozen=True)
class Write:
    """Frames (n, 101) for `numbers`, ascending."""

    numbers: Indices
    frames: Frames


def accept(image: bytes, part: Part, allowed: Indices) -> list[Write]:
    """What `image` writes, in its order, for a port that may set the frames `allowed` and all of them must be set.

    Raises `ImageRefusedError`: nothing was written then.
    """
    try:
        bitstream = read(image)
        _check_identity(bitstream, part)
        bitstream.check_crc()
        writes = _writes(bitstream, part)
    except BitstreamError as error:
        raise ImageRefusedError(f"the configuration port refused the image: {error}", **error.data) from error
    _check_frames(writes, part, allowed)
    return writes


def _check_identity(bitstream: Bitstream, part: Part) -> None:
    if bitstream.idcode is None:
        raise BitstreamError(f"it names no IDCODE, {part.name} needs {part.idcode:08X}")
    if not part.answers(bitstream.idcode):
        other = part_of(bitstream.idcode)
        named = f" ({other.name})" if other else ""
        raise BitstreamError(
            f"it is for IDCODE {bitstream.idcode:08X}{named}, this part is {part.name} with {part.idcode:08X}",
            idcode=bitstream.idcode,
        )
    if bitstream.stray_words:
        raise BitstreamError(f"{bitstream.stray_words} words follow its end")


def _writes(bitstream: Bitstream, part: Part) -> list[Write]:
    """Every burst as writes to the configuration memory; reset masks and pads set no frame of it."""
    found = []
    for burst in bitstream.bursts:
        landing = part.geometry.landing(burst.far, len(burst.frames))
        real = (landing >= 0) & (landing < part.geometry.memory_frames)
        if real.any():
            found.append(Write(landing[real], burst.frames[real]))
    return found


def _check_frames(writes: list[Write], part: Part, allowed: Indices) -> None:
    set_frames = np.zeros(part.geometry.memory_frames, dtype=bool)
    for write in writes:
        set_frames[write.numbers] = True
    may = np.zeros_like(set_frames)
    may[allowed] = True
    outside = np.flatnonzero(set_frames & ~may)
    if outside.size:
        where = part.geometry.address(int(outside[0]))
        raise ImageRefusedError(
            f"the image sets {outside.size} frames outside, the first at {where}: it is not for this place",
            outside=int(outside.size),
        )
    missing = np.flatnonzero(may & ~set_frames)
    if missing.size:
        where = part.geometry.address(int(missing[0]))
        raise ImageRefusedError(
            f"the image leaves {missing.size} frames as they were, the first at {where}: it is for a smaller place",
            missing=int(missing.size),
        )
