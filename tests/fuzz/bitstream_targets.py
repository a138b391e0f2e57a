"""Targets of configuration images: reader, checker and facts, over a part of a few frames, so that images are short."""

from __future__ import annotations

import random
from collections.abc import Iterator
from importlib import resources

import numpy as np
from bitstream_mutations import Draft
from convoy_bitstreams import catalogue
from convoy_controller.image_facts import image_facts
from convoy_schema.bitstream import (
    ColumnSpan,
    Geometry,
    Part,
    Region,
    check_full,
    check_partial,
    extract,
    parse_rules,
    read,
    write_full,
    write_partial,
)
from convoy_schema.bitstream.descriptor import Descriptor, embed, peek
from convoy_schema.bitstream.header import parse_header
from convoy_schema.errors import BitstreamError
from convoy_schema.limits import library_limits
from convoy_schema.topology import Kind
from mutation import mutate_bytes, mutate_toml
from target import target

_GEOMETRY = Geometry(
    rows=((0, 0), (1, 0)),
    clock_rows=((1, 0), (0, 0)),
    logic_minors=(3, 18, 4, 2),
    memory_minors=(2, 2),
    divide=(2, 1),
    reserved=(ColumnSpan(0, 0, 0, 0),),
)
PART = Part("tiny", "tiny", 0x037270FF, _GEOMETRY)
REGION = Region(PART, "west", _GEOMETRY.span(0, ColumnSpan(1, 0, 1, 1)))


def _frames(count: int) -> np.ndarray:
    chance = np.random.default_rng(count)
    return chance.integers(0, 2**32, (count, 101), dtype=np.uint32)


def _module() -> np.ndarray:
    return embed(Descriptor("layers", "west", (library_limits(Kind.CONV2D),)), _frames(len(REGION.frames)))


def _images() -> Iterator[bytes]:
    yield write_partial(PART, "design", REGION.frames, _module())
    yield write_full(PART, "design", _frames(_GEOMETRY.memory_frames))
    yield catalogue().read(catalogue().module("partitions", "emulated-xc7z020", "west", Kind.IDENTITY).digest)[:4000]


def mutate_image(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """Words of packets changed, the header's length and now and then the CRCs right again; or blind changes."""
    if chance.random() < 0.3:
        return mutate_bytes(chance, data, other)
    try:
        draft = Draft.of(data, _GEOMETRY)
    except BitstreamError:
        try:
            _, offset = parse_header(data)
        except BitstreamError:
            return mutate_bytes(chance, data, other)
        changed = mutate_bytes(chance, data[offset:], other)
        changed = changed[: len(changed) // 4 * 4]
        return data[: offset - 4] + len(changed).to_bytes(4, "big") + changed
    for _ in range(chance.choice((1, 1, 2, 5))):
        _change(chance, draft)
    try:
        return draft.sealed() if chance.random() < 0.6 else draft.raw()
    except BitstreamError:
        return draft.raw()


def _change(chance: random.Random, draft: Draft) -> None:
    words = draft.words
    heads = np.flatnonzero((words >> 29 == 1) | (words >> 29 == 2))
    at = int(chance.choice(heads)) + chance.choice((0, 0, 1, 1, 2)) if len(heads) else chance.randrange(len(words))
    at = min(at, len(words) - 1)
    what = chance.randrange(5)
    if what == 0:
        draft.words = np.delete(words, slice(at, at + chance.choice((1, 2, 101))))
    elif what == 1:
        draft.words = np.insert(words, at, words[at : at + chance.choice((1, 2, 4))])
    elif what == 2:
        words[at] ^= np.uint32(1 << chance.randrange(32))
    elif what == 3:
        register, count = chance.randrange(32), chance.choice((0, 1, 2))
        words[at] = 1 << 29 | chance.randrange(4) << 27 | register << 13 | count
    else:
        words[at] = chance.choice((0, 1, 0xFFFFFFFF, 0xAA995566, 0x20000000, 0x30008001, 13, chance.getrandbits(32)))


_LONG = 64 * 1024


@target("bitstream-reader", BitstreamError, seeds=_images, mutate=mutate_image, most_bytes=_LONG)
def bitstream_reader(data: bytes) -> object:
    """Its facts, its CRCs, and what a person is shown of it."""
    found = read(data)
    image_facts(data)
    found.check_crc()
    return [extract(burst.frames) for burst in found.bursts]


@target("bitstream-checker", seeds=_images, mutate=mutate_image, most_bytes=_LONG)
def bitstream_checker(data: bytes) -> object:
    """A verdict on every input; only frames of the region are ever accepted."""
    report = check_partial(data, REGION)
    check_full(data, PART)
    if report.is_accepted:
        assert report.bitstream is not None
        for burst in report.bitstream.bursts[1:]:
            landing = _GEOMETRY.landing(burst.far, len(burst.frames))
            assert np.isin(landing[landing >= 0], REGION.frames).all()
    return "\n".join(map(str, report.findings))


def _descriptors() -> Iterator[bytes]:
    yield _module().astype(">u4").tobytes()


@target("bitstream-descriptor", seeds=_descriptors, most_bytes=_LONG)
def bitstream_descriptor(data: bytes) -> object:
    """Frames that may hold a descriptor."""
    words = np.frombuffer(data[: len(data) // 404 * 404], ">u4").astype(np.uint32).reshape(-1, 101)
    return peek(words), extract(words)


def _rules() -> Iterator[bytes]:
    yield (resources.files("convoy_schema.bitstream") / "rules.toml").read_bytes()


@target("bitstream-rules", BitstreamError, seeds=_rules, mutate=mutate_toml)
def bitstream_rules(data: bytes) -> object:
    """Rules that people write."""
    return parse_rules(data.decode("utf-8", "replace"))
