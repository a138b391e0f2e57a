"""Configuration packets of the 7-series: registers, commands, and the walk over a payload's words.

The walk takes one step a packet, never one a word, and at most `MAX_PACKETS` of them, so that no input makes it slow.
It says what is written where; whether that is allowed is the checker's question.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convoy_schema.bitstream.findings import Rule
from convoy_schema.errors import BitstreamError

Words = NDArray[np.uint32]

PAD = 0xFFFFFFFF
BUS_WIDTH = (0x000000BB, 0x11220044)
SYNC = 0xAA995566
NOP = 0x20000000
#: Words before which the sync word must stand; in every known file it is word 12.
SYNC_WITHIN = 1024
#: Packets in one image, at most: a Vivado image has fewer than 100, one with a checksum a frame is not for us.
MAX_PACKETS = 4096
_STRIDE = 4096
#: Bits of a type 1 packet that must be zero: what the chip makes of them is not known.
_RESERVED = 0x1FF << 18 | 3 << 11


class Register(enum.IntEnum):
    """Configuration registers by address."""

    CRC = 0
    FAR = 1
    FDRI = 2
    FDRO = 3
    CMD = 4
    CTL0 = 5
    MASK = 6
    STAT = 7
    LOUT = 8
    COR0 = 9
    MFWR = 10
    CBC = 11
    IDCODE = 12
    AXSS = 13
    COR1 = 14
    WBSTAR = 16
    TIMER = 17
    #: Written with 0 by every full image, documented nowhere.
    R19 = 19
    BOOTSTS = 22
    CTL1 = 24
    BSPI = 31


class Command(enum.IntEnum):
    """What a write to CMD asks for."""

    NULL = 0
    WCFG = 1
    MFW = 2
    LFRM = 3
    RCFG = 4
    START = 5
    RCAP = 6
    RCRC = 7
    AGHIGH = 8
    SWITCH = 9
    GRESTORE = 10
    SHUTDOWN = 11
    GCAPTURE = 12
    DESYNC = 13
    IPROG = 15


class Opcode(enum.IntEnum):
    """What a packet does with its register."""

    NOP = 0
    READ = 1
    WRITE = 2


@dataclass(frozen=True)
class Packet:
    """A read or write of one register; `offset` is its first data word in the payload, `value` that word."""

    register: int
    opcode: Opcode
    offset: int
    count: int
    value: int | None

    @property
    def name(self) -> str:
        """The register's name, or its number."""
        return Register(self.register).name if self.register in Register._value2member_map_ else str(self.register)


def find_sync(words: Words) -> int:
    """Index of the sync word; only pads and the bus-width pattern may stand before it."""
    found = np.flatnonzero(words[:SYNC_WITHIN] == SYNC)
    if not found.size:
        raise BitstreamError(
            f"no sync word {SYNC:08X} in the first {SYNC_WITHIN} words: this configures nothing", rule=Rule.SYNC
        )
    sync = int(found[0])
    strange = np.flatnonzero(~np.isin(words[:sync], (PAD, *BUS_WIDTH)))
    if strange.size:
        word = int(words[strange[0]])
        at = int(strange[0])
        raise BitstreamError(
            f"only pads may stand before the sync word, {word:08X} does", word=word, offset=at, rule=Rule.SYNC
        )
    return sync


def walk(words: Words) -> tuple[tuple[Packet, ...], int]:
    """Every packet from the sync word to DESYNC, and the index of the first word after it."""
    packets: list[Packet] = []
    at, size = find_sync(words) + 1, len(words)
    while at < size:
        word = int(words[at])
        if word == NOP:
            at = _after_nops(words, at)
            continue
        if len(packets) >= MAX_PACKETS:
            raise BitstreamError(
                f"an image may have {MAX_PACKETS} packets, this one has more: is it one with a CRC a frame?",
                packets=MAX_PACKETS,
                offset=at,
                rule=Rule.PACKETS,
            )
        packet, at = _packet(words, at, word)
        packets.append(packet)
        if packet.register == Register.CMD and packet.value == Command.DESYNC and packet.opcode is Opcode.WRITE:
            return tuple(packets), at
    raise BitstreamError("the image ends without DESYNC: it is cut, or not a configuration", rule=Rule.DESYNC)


def _after_nops(words: Words, at: int) -> int:
    stride = 4  # most runs are short, a few are long
    while at < len(words):
        others = np.flatnonzero(words[at : at + stride] != NOP)
        if others.size:
            return at + int(others[0])
        at += stride
        stride = min(8 * stride, _STRIDE)
    return len(words)


def _packet(words: Words, at: int, word: int) -> tuple[Packet, int]:
    """The packet at `at` and the index after it."""
    if word == SYNC:
        raise BitstreamError(f"word {at} is a second sync word {word:08X}", offset=at, word=word, rule=Rule.SECOND_SYNC)
    if word >> 29 != 1:
        raise BitstreamError(
            f"word {at} is {word:08X}, a type 1 packet was expected", offset=at, word=word, rule=Rule.PACKETS
        )
    opcode, register, count = word >> 27 & 3, word >> 13 & 31, word & 0x7FF
    start = at + 1
    if word & _RESERVED:
        raise BitstreamError(
            f"word {at}, {word:08X}, is a packet with reserved bits", offset=at, word=word, rule=Rule.PACKETS
        )
    if opcode not in (Opcode.READ, Opcode.WRITE):
        # A NOP with stray bits may well swallow words in the chip that it does not swallow here.
        what = "is a type 1 NOP with stray bits" if opcode == Opcode.NOP else f"has the reserved opcode {opcode}"
        raise BitstreamError(f"word {at}, {word:08X}, {what}", offset=at, word=word, rule=Rule.PACKETS)
    following = int(words[start]) if start < len(words) else 0
    if count == 0 and following >> 29 == 2:
        if following >> 27 & 3 != opcode:
            raise BitstreamError(
                f"word {start} continues a packet with another opcode",
                offset=start,
                word=following,
                rule=Rule.PACKETS,
            )
        count, start = following & 0x7FFFFFF, start + 1
    if opcode == Opcode.READ:
        return Packet(register, Opcode.READ, start, count, None), start
    if start + count > len(words):
        raise BitstreamError(
            f"the packet at word {at} has {count} words of data, {len(words) - start} are left: the image is cut",
            offset=at,
            rule=Rule.PACKETS,
        )
    if register == Register.CMD and count != 1:
        raise BitstreamError(
            f"the command at word {at} must have one word, it has {count}", offset=at, rule=Rule.PACKETS
        )
    value = int(words[start]) if count else None
    return Packet(register, Opcode.WRITE, start, count, value), start + count
