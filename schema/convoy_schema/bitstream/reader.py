"""Reads a .bit image: header, packets, bursts of frames, CRC writes. Facts only; what is allowed is decided elsewhere.

Bounded, and quick: one step a packet, views instead of copies. The CRC is a step of its own because it costs more than
everything else together. Whatever the bytes are, the only error is `BitstreamError`, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from convoy_schema.artifacts import MAX_ARTIFACT
from convoy_schema.bitstream import crc
from convoy_schema.bitstream.findings import Rule
from convoy_schema.bitstream.frames import FRAME_WORDS, Frames
from convoy_schema.bitstream.header import Header, parse_header
from convoy_schema.bitstream.packets import NOP, PAD, Command, Opcode, Packet, Register, Words, walk
from convoy_schema.errors import BitstreamError


@dataclass(frozen=True)
class Burst:
    """Frames (n, 101) written one after the other from address `far` on; the last only pushes the others out."""

    far: int
    frames: Frames = field(repr=False, compare=False)


@dataclass(frozen=True)
class Bitstream:
    """What an image says. `stray_words` counts words after DESYNC that are neither NOP nor pad."""

    header: Header
    idcode: int | None
    packets: tuple[Packet, ...] = field(repr=False)
    bursts: tuple[Burst, ...] = field(repr=False)
    stray_words: int
    words: Words = field(repr=False, compare=False)

    @property
    def design(self) -> str:
        """The design's name, without Vivado's options."""
        return self.header.design.split(";")[0]

    @property
    def part(self) -> str:
        """The part text of the header."""
        return self.header.part

    @property
    def crc_writes(self) -> int:
        """How many times the image has its CRC compared."""
        return sum(packet.register == Register.CRC and packet.count > 0 for packet in self.packets)

    def check_crc(self) -> None:
        """Raise `BitstreamError` unless every CRC is right and one follows the last frame."""
        state, guarded = 0, True
        for packet in self.packets:
            if packet.opcode is not Opcode.WRITE or not packet.count:
                continue
            if packet.register == Register.CRC:
                self._compare(packet, state)
                state, guarded = 0, True
                continue
            if packet.register == Register.CMD and packet.value == Command.RCRC:
                state = 0
                continue
            guarded = guarded and packet.register != Register.FDRI
            data = self.words[packet.offset : packet.offset + packet.count]
            state = crc.update(state, packet.register, data)
        if not guarded or not self.crc_writes:
            raise BitstreamError(
                "no CRC follows the last frame: nothing tells whether the image is whole", rule=Rule.CRC_MISSING
            )

    def _compare(self, packet: Packet, state: int) -> None:
        if packet.value != state or packet.count != 1:
            raise BitstreamError(
                f"the CRC at word {packet.offset} is {packet.value or 0:08X}, the words before it give {state:08X}: "
                "the image is damaged",
                offset=packet.offset,
                expected=state,
                came=packet.value,
                rule=Rule.CRC,
            )


def read(image: bytes) -> Bitstream:
    """Take `image` apart; raises `BitstreamError` with the reason for whatever is not a configuration image."""
    if len(image) > MAX_ARTIFACT:
        raise BitstreamError(
            f"an image may have {MAX_ARTIFACT} bytes, this one has {len(image)}", size=len(image), rule=Rule.HEADER
        )
    header, offset = parse_header(image)
    words = np.frombuffer(image, dtype=">u4", offset=offset).astype(np.uint32)
    packets, end = walk(words)
    tail = words[end:]
    stray = int(np.count_nonzero((tail != NOP) & (tail != PAD)))
    return Bitstream(header, _idcode(packets), packets, tuple(_bursts(packets, words)), stray, words)


def _idcode(packets: tuple[Packet, ...]) -> int | None:
    """The one identity that is written, before any frame; None when there is none."""
    found: int | None = None
    framed = False
    for packet in packets:
        if packet.opcode is not Opcode.WRITE:
            continue
        if packet.register == Register.IDCODE:
            if found is not None or framed or packet.count != 1:
                raise BitstreamError(
                    "an image must name its IDCODE once, in one word, before any frame",
                    offset=packet.offset,
                    rule=Rule.IDCODE,
                )
            found = packet.value
        framed = framed or packet.register == Register.FDRI
    return found


def _bursts(packets: tuple[Packet, ...], words: Words) -> list[Burst]:
    bursts: list[Burst] = []
    far: int | None = None
    for packet in packets:
        if packet.opcode is not Opcode.WRITE or not packet.count:
            continue
        if packet.register == Register.FAR:
            far = packet.value
        elif packet.register == Register.FDRI:
            if far is None:
                raise BitstreamError(
                    f"the frames at word {packet.offset} have no address (FAR) of their own",
                    offset=packet.offset,
                    rule=Rule.FAR,
                )
            if packet.count % FRAME_WORDS:
                raise BitstreamError(
                    f"the burst at word {packet.offset} has {packet.count} words, not a multiple of {FRAME_WORDS}",
                    offset=packet.offset,
                    rule=Rule.BURST,
                )
            frames = words[packet.offset : packet.offset + packet.count].reshape(-1, FRAME_WORDS)
            bursts.append(Burst(far, frames))
            far = None
    return bursts
