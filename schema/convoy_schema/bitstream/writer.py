"""Writes .bit images of the structure that Vivado gives a 7-series part: the packets, their order, masks and CRCs.

It is for emulated parts: what it writes has that structure, but configures no silicon. bitstreams/generate.py calls it.
"""

from __future__ import annotations

import numpy as np

from convoy_schema.bitstream import crc
from convoy_schema.bitstream.frames import FRAME_WORDS, Block, FrameAddress, Frames, Indices
from convoy_schema.bitstream.header import Header, build_header
from convoy_schema.bitstream.packets import BUS_WIDTH, NOP, PAD, SYNC, Command, Register
from convoy_schema.bitstream.parts import Part
from convoy_schema.errors import BitstreamError

#: A date that means nothing: images must come out the same on every day.
DATE, TIME = "2000/01/01", "00:00:00"
#: Address written before START, with no data: no part has such a frame.
PARKED_FAR = 0x03BE0000
_LEAD = (*(PAD,) * 8, *BUS_WIDTH, PAD, PAD, SYNC)
_MASK_GTS, _MASK_PARTIAL = 0x100, 0x400


class _Stream:
    """Packets in the making, and the CRC over them."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._crc = 0
        self._raw(*_LEAD)
        self.nops(1)

    def payload(self) -> bytes:
        return b"".join(self._pieces)

    def _raw(self, *words: int) -> None:
        self._pieces.append(np.array(words, dtype=">u4").tobytes())

    def nops(self, count: int) -> None:
        self._raw(*(NOP,) * count)

    def write(self, register: Register, value: int) -> None:
        self._raw(1 << 29 | 2 << 27 | register << 13 | 1, value)
        self._crc = crc.update(self._crc, register, (value,))

    def command(self, command: Command, nops: int = 0) -> None:
        self.write(Register.CMD, command)
        if command is Command.RCRC:
            self._crc = 0
        self.nops(nops)

    def check(self, nops: int = 0) -> None:
        """Have the CRC compared; it starts anew afterwards."""
        self._raw(1 << 29 | 2 << 27 | Register.CRC << 13 | 1, self._crc)
        self._crc = 0
        self.nops(nops)

    def frames(self, frames: Frames) -> None:
        words = np.ascontiguousarray(frames, dtype=np.uint32).reshape(-1)
        self._raw(1 << 29 | 2 << 27 | Register.FDRI << 13, 2 << 29 | 2 << 27 | words.size)
        self._pieces.append(words.astype(">u4").tobytes())
        self._crc = crc.update(self._crc, Register.FDRI, words)

    def burst(self, far: int, frames: Frames) -> None:
        self.command(Command.WCFG, nops=1)
        self.write(Register.FAR, far)
        self.nops(1)
        self.frames(frames)

    def control(self, mask: int, value: int) -> None:
        self.write(Register.MASK, mask)
        self.write(Register.CTL0, value)


def write_partial(part: Part, design: str, region: Indices, frames: Frames) -> bytes:
    """A partial image that sets `region` (ascending frame numbers) to `frames` (n, 101).

    Each run is written twice, as real ones are: the first pass blanks, the second one is final.
    """
    _expect(frames, len(region))
    geometry = part.geometry
    stream = _Stream()
    stream.command(Command.RCRC, nops=2)
    stream.write(Register.IDCODE, part.idcode)
    stream.burst(FrameAddress(Block.RESET, 0, 0, 0, 0).encode(), geometry.reset_mask(region))
    stream.check()
    stream.command(Command.SHUTDOWN, nops=1)
    stream.check(nops=4)
    stream.command(Command.NULL)
    stream.control(_MASK_GTS, _MASK_GTS)
    stream.control(_MASK_PARTIAL, _MASK_PARTIAL)
    pad = np.zeros((1, FRAME_WORDS), dtype=np.uint32)
    for content in (np.zeros_like(frames), frames):
        for first, length in geometry.runs(region):
            far = geometry.address(int(region[first])).encode()
            stream.burst(far, np.concatenate([content[first : first + length], pad]))
    stream.command(Command.GRESTORE, nops=1)
    stream.control(_MASK_GTS, 0)
    stream.command(Command.START, nops=1)
    stream.write(Register.FAR, PARKED_FAR)
    stream.check()
    stream.command(Command.DESYNC, nops=16)
    return _image(part, f"{design};UserID=0XFFFFFFFF;PARTIAL=TRUE;Version=emulated", stream)


def write_full(part: Part, design: str, frames: Frames) -> bytes:
    """A full image that sets the whole configuration memory to `frames` (`Geometry.memory_frames`, 101)."""
    geometry = part.geometry
    _expect(frames, geometry.memory_frames)
    landing = geometry.landing(0, geometry.full_burst)
    burst = np.zeros((geometry.full_burst, FRAME_WORDS), dtype=np.uint32)
    burst[landing >= 0] = frames
    stream = _Stream()
    for register in (Register.TIMER, Register.WBSTAR):
        stream.write(register, 0)
    stream.command(Command.NULL, nops=1)
    stream.command(Command.RCRC, nops=2)
    for register, value in ((Register.R19, 0), (Register.COR0, 0x02003FE5), (Register.COR1, 0)):
        stream.write(register, value)
    stream.write(Register.IDCODE, part.idcode)
    stream.command(Command.SWITCH, nops=1)
    stream.control(0x401, 0x501)
    stream.write(Register.MASK, 0)
    stream.write(Register.CTL1, 0)
    stream.nops(8)
    stream.write(Register.FAR, 0)
    stream.command(Command.WCFG, nops=1)
    stream.frames(burst)
    stream.check(nops=2)
    stream.command(Command.GRESTORE, nops=1)
    stream.command(Command.LFRM, nops=100)
    stream.command(Command.START, nops=1)
    stream.write(Register.FAR, PARKED_FAR)
    stream.control(0x501, 0x501)
    stream.check(nops=2)
    stream.command(Command.DESYNC, nops=400)
    return _image(part, f"{design};UserID=0XFFFFFFFF;Version=emulated", stream)


def _expect(frames: Frames, count: int) -> None:
    if frames.shape != (count, FRAME_WORDS):
        raise BitstreamError(f"frames of shape {(count, FRAME_WORDS)} were expected, {frames.shape} came")


def _image(part: Part, design: str, stream: _Stream) -> bytes:
    payload = stream.payload()
    return build_header(Header(design, part.text, DATE, TIME), len(payload)) + payload
