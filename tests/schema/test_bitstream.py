"""Real Vivado files read as what they are; what the writer makes has their structure; nothing else gets through."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
from convoy_schema.bitstream import (
    EMULATED_XC7Z020,
    FRAME_WORDS,
    XC7Z020,
    Bitstream,
    Block,
    Command,
    FrameAddress,
    Indices,
    Register,
    crc,
    part_named,
    part_of,
    read,
    write_full,
    write_partial,
)
from convoy_schema.bitstream.header import Header, build_header, parse_header
from convoy_schema.bitstream.packets import MAX_PACKETS, NOP, SYNC
from convoy_schema.errors import BitstreamError
from hypothesis import given, settings
from hypothesis import strategies as st
from real_bitstreams import real

GEOMETRY = XC7Z020.geometry
#: file, columns of type 0, columns of type 1, rows (half, row), distinct frames, bytes
PARTIALS = [
    ("prio_pr_0_gpio.bit", (26, 27), (), ((1, 0),), 72, 151_605),
    ("prio_pr_3_uart.bit", (38, 39), (), ((1, 0),), 72, 151_605),
    ("prio_linux_pr_1_gpio.bit", (28, 29), (), ((0, 0), (1, 0), (1, 1)), 216, 269_707),
    ("prio_linux_pr_2_iic.bit", (34, 35, 36, 37), (3,), ((0, 0), (1, 0), (1, 1)), 792, 737_731),
]
NAMES = [row[0] for row in PARTIALS]


def written(bitstream: Bitstream) -> Indices:
    """Numbers of the configuration frames that an image sets."""
    landed = np.concatenate([GEOMETRY.landing(burst.far, len(burst.frames)) for burst in bitstream.bursts])
    found: Indices = np.unique(landed[(landed >= 0) & (landed < GEOMETRY.memory_frames)])
    return found


def structure(bitstream: Bitstream) -> list[tuple[int, int, int | None]]:
    """(register, words, value) of every write; values that depend on content or identity are left out."""
    hidden = (Register.CRC, Register.IDCODE, Register.FDRI)
    return [(p.register, p.count, None if p.register in hidden else p.value) for p in bitstream.packets]


# Real files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "logic", "memory", "rows", "frames", "size"), PARTIALS)
def test_real_partials_cover_the_frames_of_their_partition(
    name: str,
    logic: tuple[int, ...],
    memory: tuple[int, ...],
    rows: tuple[tuple[int, int], ...],
    frames: int,
    size: int,
) -> None:
    image = real(name)
    bitstream = read(image)
    assert len(image) == size
    assert bitstream.part == "7z020clg400"
    assert bitstream.header.says_partial
    assert bitstream.idcode is not None
    assert XC7Z020.answers(bitstream.idcode)
    assert (bitstream.crc_writes, bitstream.stray_words) == (3, 0)
    bitstream.check_crc()
    numbers = written(bitstream)
    assert len(numbers) == frames
    places = {(a.block, a.half, a.row, a.column) for a in map(GEOMETRY.address, numbers.tolist())}
    expected = {(0, *row, column) for row in rows for column in logic}
    expected |= {(1, *row, column) for row in rows for column in memory}
    assert places == expected


@pytest.mark.parametrize("name", NAMES)
def test_real_reset_masks_are_those_of_their_columns(name: str) -> None:
    bitstream = read(real(name))
    mask = bitstream.bursts[0]
    assert FrameAddress.decode(mask.far).block == Block.RESET
    assert np.array_equal(mask.frames, GEOMETRY.reset_mask(written(bitstream)))


def test_the_real_full_image_is_one_burst_over_everything() -> None:
    bitstream = read(real("prio.bit.gz"))
    bitstream.check_crc()
    assert not bitstream.header.says_partial
    assert bitstream.design == "prio_wrapper"
    assert [(burst.far, len(burst.frames)) for burst in bitstream.bursts] == [(0, 10_008)]
    assert len(written(bitstream)) == GEOMETRY.memory_frames
    pads = bitstream.bursts[0].frames[GEOMETRY.landing(0, 10_008) < 0]
    assert len(pads) == 12
    assert not pads.any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", [0.02, 0.3, 0.6, 0.95])
def test_a_flipped_bit_in_a_real_file_is_caught(name: str, place: float) -> None:
    image = bytearray(real(name))
    offset = int(len(image) * place)
    image[offset] ^= 0x10
    with pytest.raises(BitstreamError):
        read(bytes(image)).check_crc()


def test_a_retargeted_address_in_a_real_file_is_caught() -> None:
    image = real(NAMES[0])
    far, other = (0x00400D00).to_bytes(4, "big"), (0x00400E00).to_bytes(4, "big")
    assert image.count(far) == 2
    with pytest.raises(BitstreamError, match="CRC"):
        read(image.replace(far, other)).check_crc()


@pytest.mark.parametrize(("name", "logic", "memory", "rows", "frames", "size"), PARTIALS)
def test_written_partials_have_the_structure_of_the_real_ones(
    name: str,
    logic: tuple[int, ...],
    memory: tuple[int, ...],
    rows: tuple[tuple[int, int], ...],
    frames: int,
    size: int,
) -> None:
    image = real(name)
    theirs = read(image)
    region = written(theirs)
    made = write_partial(XC7Z020, "ours", region, np.ones((len(region), FRAME_WORDS), dtype=np.uint32))
    ours = read(made)
    assert structure(ours) == structure(theirs)
    assert ours.words.size == theirs.words.size
    mixed = [theirs.words[:32].tolist(), ours.words[:32].tolist()]
    assert mixed[0] == mixed[1]


def test_written_full_images_have_the_structure_of_the_real_one() -> None:
    theirs = read(real("prio.bit.gz"))
    frames = theirs.bursts[0].frames[GEOMETRY.landing(0, 10_008) >= 0]
    ours = read(write_full(XC7Z020, "ours", frames[: GEOMETRY.memory_frames]))
    assert structure(ours) == structure(theirs)
    # The same content, so every word is the same, CRCs included.
    assert np.array_equal(ours.words, theirs.words)


def test_reading_costs_no_more_than_a_few_hashes() -> None:
    image = real("prio_linux_pr_2_iic.bit")

    def best(work: Callable[[], object]) -> float:
        times = []
        for _ in range(5):
            begun = time.thread_time()
            work()
            times.append(time.thread_time() - begun)
        return min(times)

    assert best(lambda: read(image)) <= 10 * best(lambda: hashlib.sha256(image).digest())


# Frames and parts -----------------------------------------------------------------------------------------------------


def test_the_geometry_has_the_counts_of_the_part() -> None:
    assert len(GEOMETRY.logic_minors) == 74
    assert sum(GEOMETRY.logic_minors) == 2564
    assert GEOMETRY.memory_frames == 3 * (2564 + 768)
    assert GEOMETRY.full_burst == 10_008


def test_every_frame_number_is_that_of_its_address() -> None:
    numbers = range(GEOMETRY.memory_frames + 3 * 74)
    addresses = [GEOMETRY.address(number) for number in numbers]
    assert [GEOMETRY.number(address) for address in addresses] == list(numbers)
    assert len({address.encode() for address in addresses}) == len(addresses)
    with pytest.raises(BitstreamError, match="no frame number"):
        GEOMETRY.address(len(addresses))


@given(st.integers(0, 2**26 - 1))
def test_a_frame_address_comes_apart_and_together(word: int) -> None:
    assert FrameAddress.decode(word).encode() == word


@given(st.integers(0, 2**32 - 1), st.integers(-5, 20_000))
def test_a_burst_lands_in_frames_or_is_refused(far: int, count: int) -> None:
    try:
        landing = GEOMETRY.landing(far, count)
    except BitstreamError:
        return
    assert len(landing) == count
    assert landing[-1] == -1
    real_ones = landing[landing >= 0]
    assert (np.diff(real_ones) == 1).all()


def test_a_burst_past_the_end_is_refused() -> None:
    last = GEOMETRY.address(GEOMETRY.memory_frames - 1).encode()
    assert GEOMETRY.landing(last, 3).tolist() == [GEOMETRY.memory_frames - 1, -1, -1]
    with pytest.raises(BitstreamError, match="past the end"):
        GEOMETRY.landing(last, 5)


def test_no_real_part_answers_the_emulated_identity() -> None:
    assert not XC7Z020.answers(EMULATED_XC7Z020.idcode)
    assert not EMULATED_XC7Z020.answers(XC7Z020.idcode)
    assert EMULATED_XC7Z020.idcode >> 1 & 0x7FF == 0x07F
    assert XC7Z020.answers(XC7Z020.idcode ^ 0xF0000000)
    assert part_of(0x13727093) is XC7Z020
    assert part_of(0) is None
    with pytest.raises(BitstreamError, match="xc7z020"):
        part_named("xc7z045")


# CRC ------------------------------------------------------------------------------------------------------------------


def bit_by_bit(state: int, register: int, words: list[int]) -> int:
    """The CRC as the silicon does it: 32 data bits and 5 address bits, one at a time."""
    for word in words:
        value = register << 32 | word
        for bit in range(37):
            feed = (value >> bit ^ state) & 1
            state = state >> 1 ^ (0x82F63B78 if feed else 0)
    return state


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(0, 31), st.lists(st.integers(0, 2**32 - 1), max_size=300))
def test_the_crc_is_that_of_every_single_bit(state: int, register: int, words: list[int]) -> None:
    expected = bit_by_bit(state, register, words)
    assert crc.update(state, register, np.array(words, dtype=np.uint32)) == expected


@pytest.mark.parametrize("size", [crc.FEW + 1, 1000, 4097, crc.BLOCK - 1, crc.BLOCK + 5])
def test_a_long_run_has_the_crc_of_its_halves(size: int) -> None:
    words = np.random.default_rng(size).integers(0, 2**32, size, dtype=np.uint32)
    whole = crc.update(7, 2, words)
    state = 7
    for piece in np.array_split(words, 3):
        state = crc.update(state, 2, piece)
    assert whole == state
    words[size // 2] ^= 1
    assert crc.update(7, 2, words) != whole


# Writing and reading --------------------------------------------------------------------------------------------------


@st.composite
def regions(draw: st.DrawFn) -> Indices:
    """Frames of a few columns anywhere, of either block."""
    numbers: set[int] = set()
    for _ in range(draw(st.integers(1, 3))):
        first = draw(st.integers(0, GEOMETRY.memory_frames - 1))
        numbers.update(range(first, min(first + draw(st.integers(1, 60)), GEOMETRY.memory_frames)))
    return np.array(sorted(numbers), dtype=np.int32)


@settings(deadline=None, max_examples=30)
@given(regions(), st.integers(0, 2**32 - 1))
def test_what_is_written_is_read(region: Indices, seed: int) -> None:
    frames = np.random.default_rng(seed).integers(0, 2**32, (len(region), FRAME_WORDS), dtype=np.uint32)
    image = write_partial(EMULATED_XC7Z020, "a_module", region, frames)
    bitstream = read(image)
    bitstream.check_crc()
    assert (bitstream.design, bitstream.part, bitstream.stray_words) == ("a_module", "emulated-xc7z020", 0)
    assert bitstream.idcode == EMULATED_XC7Z020.idcode
    memory = np.zeros((GEOMETRY.memory_frames, FRAME_WORDS), dtype=np.uint32)
    for burst in bitstream.bursts[1:]:
        landing = GEOMETRY.landing(burst.far, len(burst.frames))
        memory[landing[landing >= 0]] = burst.frames[landing >= 0]
    assert np.array_equal(memory[region], frames)
    memory[region] = 0
    assert not memory.any()


def test_a_full_image_has_a_full_size_and_reads_back() -> None:
    frames = np.random.default_rng(1).integers(0, 2**32, (GEOMETRY.memory_frames, FRAME_WORDS), dtype=np.uint32)
    image = write_full(EMULATED_XC7Z020, "a_shell", frames)
    bitstream = read(image)
    bitstream.check_crc()
    assert bitstream.words.nbytes == 4_045_564
    burst = bitstream.bursts[0]
    assert np.array_equal(burst.frames[GEOMETRY.landing(0, 10_008) >= 0], frames)


def test_the_writer_refuses_frames_that_do_not_fit() -> None:
    with pytest.raises(BitstreamError, match="shape"):
        write_full(EMULATED_XC7Z020, "x", np.zeros((3, FRAME_WORDS), dtype=np.uint32))
    with pytest.raises(BitstreamError, match="field 'a'"):
        write_partial(
            EMULATED_XC7Z020,
            "x" * 2000,
            np.arange(3, dtype=np.int32),
            np.zeros((3, FRAME_WORDS), dtype=np.uint32),
        )


# Garbage --------------------------------------------------------------------------------------------------------------

SMALL = write_partial(
    EMULATED_XC7Z020, "small", np.arange(5, dtype=np.int32), np.full((5, FRAME_WORDS), 0x12345678, dtype=np.uint32)
)


def image_of(*words: int) -> bytes:
    """A file with these payload words behind the sync word."""
    payload = np.array([0xFFFFFFFF, SYNC, *words], dtype=">u4").tobytes()
    return build_header(Header("x", "y", "d", "t"), len(payload)) + payload


def write(register: int, *values: int) -> tuple[int, ...]:
    return (0x30000000 | register << 13 | len(values), *values)


DESYNC = write(Register.CMD, Command.DESYNC)


def read_whole(image: bytes) -> None:
    """Everything that a reader does with foreign bytes; only `BitstreamError` may come out."""
    bitstream = read(image)
    for burst in bitstream.bursts:
        GEOMETRY.landing(burst.far, len(burst.frames))
    bitstream.check_crc()


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=400), st.booleans())
def test_garbage_is_refused_with_a_reason(content: bytes, framed: bool) -> None:
    image = build_header(Header("x", "y", "d", "t"), len(content)) + content if framed else content
    with pytest.raises(BitstreamError):
        read_whole(image)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.integers(0, 2**32 - 1) | st.sampled_from([*DESYNC, NOP, 0x30004065, 0x30002001, 0x50000065])))
def test_garbage_behind_the_sync_word_never_crashes(words: list[int]) -> None:
    with suppress(BitstreamError):
        read_whole(image_of(*words))


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_no_mutation_passes_and_none_crashes(data: st.DataObject) -> None:
    image = bytearray(SMALL)
    start = parse_header(SMALL)[1] + 13 * 4
    end = len(image) - 18 * 4  # what follows the last CRC is not guarded by it
    kind = data.draw(st.sampled_from(["flip", "cut", "extend", "swap"]))
    if kind == "flip":
        image[data.draw(st.integers(start, end - 1))] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "cut":
        del image[data.draw(st.integers(0, len(image) - 1)) :]
    elif kind == "extend":
        image += data.draw(st.binary(min_size=1, max_size=64))
    else:
        first, second = data.draw(st.integers(start, end - 5)), data.draw(st.integers(start, end - 5))
        image[first : first + 4], image[second : second + 4] = image[second : second + 4], image[first : first + 4]
    if bytes(image) != SMALL and len(image):
        try:
            read_whole(bytes(image))
        except BitstreamError:
            return
        # A swapped or flipped NOP may become another word without meaning; frames never differ unseen.
        theirs, ours = read(SMALL).bursts, read(bytes(image)).bursts
        assert [(b.far, b.frames.tobytes()) for b in ours] == [(b.far, b.frames.tobytes()) for b in theirs]


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (b"", "preamble"),
        (b"PK\x03\x04", "preamble"),
        (SMALL[:40], "field|NUL"),
        (SMALL[:-4], "not whole"),
        (SMALL + b"\0", "not whole"),
        (build_header(Header("x", "y", "d", "t"), 3) + b"abc", "whole 32-bit words"),
        (SMALL.replace(SYNC.to_bytes(4, "big"), b"\xff" * 4), "sync"),
        (SMALL.replace(b"\x00\x00\x00\xbb", b"\x00\x00\x00\xbc"), "pads"),
        (image_of(*write(Register.CMD, Command.NULL)), "DESYNC"),
        (image_of(0x20000001, 0x00000000, *DESYNC), "type 1"),
        (image_of(0x38000001, 0), "reserved opcode"),
        (image_of(0x30004000, 0x500FFFFF, *DESYNC), "cut"),
        (image_of(0x30004000, 0x48000001, 0, *DESYNC), "another opcode"),
        (image_of(*write(Register.CMD, 7, 13)), "one word"),
        (image_of(*write(Register.FDRI, *[0] * 101), *DESYNC), "no address"),
        (image_of(*write(Register.FAR, 0), *write(Register.FDRI, *[0] * 100), *DESYNC), "multiple of 101"),
        (image_of(*write(Register.IDCODE, 1), *write(Register.IDCODE, 1), *DESYNC), "IDCODE once"),
        (image_of(*DESYNC), "no CRC follows"),
        (image_of(*write(Register.CRC, 1), *DESYNC), "damaged"),
        (image_of(*write(Register.CMD, 0) * (MAX_PACKETS + 1), *DESYNC), "packets"),
    ],
)
def test_each_defect_has_its_reason(image: bytes, reason: str) -> None:
    with pytest.raises(BitstreamError, match=reason):
        read(image).check_crc()


def test_an_oversize_file_is_refused_before_it_is_read() -> None:
    with pytest.raises(BitstreamError, match="67108864 bytes"):
        read(bytes(64 * 1024 * 1024 + 4))


def test_words_behind_the_end_are_counted() -> None:
    assert read(image_of(*DESYNC, NOP, 0xFFFFFFFF, SYNC, 5)).stray_words == 2


def test_a_read_request_is_a_fact_not_an_error() -> None:
    packets = read(image_of(0x28000000 | Register.STAT << 13 | 1, *DESYNC)).packets
    assert [(packet.name, packet.opcode.name) for packet in packets] == [("STAT", "READ"), ("CMD", "WRITE")]
