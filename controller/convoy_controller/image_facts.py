"""What an image is, in words and numbers that a person or a program can use: `convoy bitstream inspect` prints it.

Facts only; whether it may be loaded is the checker's question.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from convoy_schema.bitstream import (
    Bitstream,
    Block,
    Command,
    FrameAddress,
    Geometry,
    Indices,
    Packet,
    Register,
    part_of,
    read,
)
from convoy_schema.errors import BitstreamError


@dataclass(frozen=True)
class Columns:
    """Columns `first` to `last` of a clock region, of logic or of block-RAM contents, and how many frames of them."""

    clock_region: str
    kind: str
    first: int
    last: int
    frames: int


@dataclass(frozen=True)
class Written:
    """One packet: at which word of the payload, to which register, how many words, and the first of them."""

    word: int
    register: str
    opcode: str
    words: int
    value: str
    meaning: str


@dataclass(frozen=True)
class ImageFacts:
    """`part` is the known part that answers `idcode` (hexadecimal), `header_part` what the header says.

    `kind` is partial or full by the frames, `passes` how often each is written, 0 if not equally often; `crc` is right,
    or what is wrong with it.
    """

    design: str
    header_part: str
    date: str
    time: str
    header_says_partial: bool
    size: int
    digest: str
    idcode: str
    part: str
    kind: str
    frames: int
    passes: int
    resets: bool
    columns: tuple[Columns, ...]
    crc_writes: int
    crc: str
    stray_words: int
    packets: tuple[Written, ...]


def image_facts(image: bytes) -> ImageFacts:
    """Take an image apart; raises `BitstreamError` if it is none."""
    bitstream = read(image)
    part = None if bitstream.idcode is None else part_of(bitstream.idcode)
    geometry = None if part is None else part.geometry
    numbers = np.zeros(0, dtype=np.int32) if geometry is None else _frames(bitstream, geometry)
    distinct, counts = np.unique(numbers, return_counts=True)
    is_full = geometry is not None and distinct.size == geometry.memory_frames
    blocks = {FrameAddress.decode(burst.far).block for burst in bitstream.bursts}
    return ImageFacts(
        design=bitstream.header.design,
        header_part=bitstream.part,
        date=bitstream.header.date,
        time=bitstream.header.time,
        header_says_partial=bitstream.header.says_partial,
        size=len(image),
        digest=hashlib.sha256(image).hexdigest(),
        idcode="" if bitstream.idcode is None else f"{bitstream.idcode:08X}",
        part="" if part is None else part.name,
        kind="full" if is_full else "partial" if distinct.size else "unknown",
        frames=int(distinct.size),
        passes=int(counts[0]) if counts.size and (counts == counts[0]).all() else 0,
        resets=Block.RESET in blocks,
        columns=() if geometry is None else _columns(geometry, distinct.astype(np.int32)),
        crc_writes=bitstream.crc_writes,
        crc=_crc(bitstream),
        stray_words=bitstream.stray_words,
        packets=tuple(_written(packet) for packet in bitstream.packets),
    )


def _frames(bitstream: Bitstream, geometry: Geometry) -> Indices:
    """Number of each frame of memory that is written, as often as it is; addresses that are none are left out."""
    pieces: list[Indices] = [np.zeros(0, dtype=np.int32)]
    for burst in bitstream.bursts:
        try:
            landing = geometry.landing(burst.far, len(burst.frames))
        except BitstreamError:
            continue
        pieces.append(landing[(landing >= 0) & (landing < geometry.memory_frames)])
    return np.concatenate(pieces)


def _columns(geometry: Geometry, numbers: Indices) -> tuple[Columns, ...]:
    counts: dict[tuple[str, str, int], int] = {}
    for number in numbers.tolist():
        address = geometry.address(number)
        key = (geometry.clock_region(address), "memory" if address.block == Block.MEMORY else "logic", address.column)
        counts[key] = counts.get(key, 0) + 1
    found = []
    ordered = sorted(counts, key=lambda key: (key[1], key[0], key[2]))
    for _, run in groupby(enumerate(ordered), key=lambda item: (item[1][0], item[1][1], item[1][2] - item[0])):
        keys = [key for _, key in run]
        frames = sum(counts[key] for key in keys)
        found.append(Columns(keys[0][0], keys[0][1], keys[0][2], keys[-1][2], frames))
    return tuple(found)


def _crc(bitstream: Bitstream) -> str:
    try:
        bitstream.check_crc()
    except BitstreamError as error:
        return str(error)
    return "right"


def _written(packet: Packet) -> Written:
    value = packet.value
    meaning = ""
    if value is not None and packet.register == Register.CMD and value in Command._value2member_map_:
        meaning = Command(value).name
    elif value is not None and packet.register == Register.FAR:
        meaning = str(FrameAddress.decode(value))
    shown = "" if value is None or packet.register == Register.FDRI else f"{value:08X}"
    return Written(packet.offset, packet.name, packet.opcode.name.lower(), packet.count, shown, meaning)
