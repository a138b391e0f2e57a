"""What emulated frames say of themselves: which shell or module they are, and its limits, in the frames' own words.

The first `DESCRIPTOR_FRAMES` frames of a region hold the descriptor, a checksum of it and one of all the region's other
frames. So a region that was only half written, or holds another module's remains, reads as nothing at all.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from convoy_schema import codec
from convoy_schema.bitstream.frames import CLOCK_WORD, FRAME_WORDS, Frames
from convoy_schema.bounds import Range, Size
from convoy_schema.errors import BitstreamError, DecodeError
from convoy_schema.limits import KernelLimits
from convoy_schema.names import Name
from convoy_schema.topology import Kind

#: First frames of a region that belong to its descriptor; a column of any sort has more.
DESCRIPTOR_FRAMES = 16
#: Version of this layout.
LAYOUT = 1
_MAGIC = b"CONVOYFR"
_HEAD = struct.Struct(">8sHHI")
# Only the words below the clock row are used: that row's word means something else in a real frame.
_FRAME_ROOM = 4 * CLOCK_WORD
_ROOM = DESCRIPTOR_FRAMES * _FRAME_ROOM


@dataclass(frozen=True)
class Descriptor:
    """A shell (no partition; its fixed kernels) or a module (one partition, one kernel). `embed` fills `body`."""

    shell: Name
    partition: Annotated[str, Size(63)]
    kernels: Annotated[tuple[KernelLimits, ...], Size(32)]
    version: Annotated[int, Range(1, 65535)] = 1
    body: Annotated[int, Range(0, 0xFFFFFFFF)] = 0

    @property
    def is_module(self) -> bool:
        """Whether this is a module, with the one kernel in `kernels`."""
        return bool(self.partition) and len(self.kernels) == 1

    def kernel(self, kind: Kind) -> KernelLimits | None:
        """The kernel of that kind, if it is here."""
        return next((kernel for kernel in self.kernels if kernel.kind is kind), None)


def embed(descriptor: Descriptor, frames: Frames) -> Frames:
    """A copy of a region's `frames` (n, 101) whose first ones hold `descriptor`."""
    if len(frames) <= DESCRIPTOR_FRAMES:
        raise BitstreamError(f"a region needs more than {DESCRIPTOR_FRAMES} frames, this one has {len(frames)}")
    content = codec.pack(replace(descriptor, body=_checksum(frames)))
    raw = _HEAD.pack(_MAGIC, LAYOUT, len(content), zlib.crc32(content)) + content
    if len(raw) > _ROOM:
        raise BitstreamError(f"a descriptor may take {_ROOM} bytes, this one takes {len(raw)}", size=len(raw))
    words = np.frombuffer(raw.ljust(_ROOM, b"\0"), dtype=">u4").reshape(DESCRIPTOR_FRAMES, CLOCK_WORD)
    result = frames.copy()
    result[:DESCRIPTOR_FRAMES] = 0
    result[:DESCRIPTOR_FRAMES, :CLOCK_WORD] = words
    return result


def peek(frames: Frames) -> Descriptor | None:
    """The descriptor in a region's first frames, without looking at the rest; None for anything else."""
    if frames.ndim != 2 or frames.shape[0] < DESCRIPTOR_FRAMES or frames.shape[1] != FRAME_WORDS:
        return None
    raw = frames[:DESCRIPTOR_FRAMES, :CLOCK_WORD].astype(">u4").tobytes()
    magic, layout, size, check = _HEAD.unpack_from(raw)
    content = raw[_HEAD.size : _HEAD.size + size]
    if magic != _MAGIC or layout != LAYOUT or zlib.crc32(content) != check or raw[_HEAD.size + size :].strip(b"\0"):
        return None
    try:
        return codec.unpack(Descriptor, content)
    except DecodeError:
        return None


def extract(frames: Frames) -> Descriptor | None:
    """The descriptor of a region that is whole; None for a blank, foreign, damaged or half-written one."""
    found = peek(frames)
    return found if found is not None and found.body == _checksum(frames) else None


def _checksum(frames: Frames) -> int:
    return zlib.crc32(np.ascontiguousarray(frames[DESCRIPTOR_FRAMES:], dtype="<u4").data)
