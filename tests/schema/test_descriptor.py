"""A descriptor comes out of frames as it went in, and out of nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from convoy_schema.bitstream import FRAME_WORDS, Descriptor, Frames, embed, extract
from convoy_schema.bitstream.descriptor import DESCRIPTOR_FRAMES, peek
from convoy_schema.bitstream.frames import CLOCK_WORD
from convoy_schema.errors import BitstreamError
from convoy_schema.limits import KernelLimits
from convoy_schema.topology import Kind
from hypothesis import given, settings
from hypothesis import strategies as st

MODULE = Descriptor("partitions", "west", (KernelLimits(Kind.CONV2D, 64, 128, 0, 5),))
SHELL = Descriptor("layers", "", tuple(KernelLimits(kind, 65536, 65536, 65536, 65536, 64) for kind in Kind))
REGION = 40


def region(seed: int = 1) -> Frames:
    return np.random.default_rng(seed).integers(0, 2**32, (REGION, FRAME_WORDS), dtype=np.uint32)


@pytest.mark.parametrize("descriptor", [MODULE, SHELL])
def test_a_descriptor_comes_back(descriptor: Descriptor) -> None:
    frames = embed(descriptor, region())
    found = extract(frames)
    assert found is not None
    assert (found.shell, found.partition, found.kernels) == (
        descriptor.shell,
        descriptor.partition,
        descriptor.kernels,
    )
    assert found == peek(frames)
    assert not frames[:DESCRIPTOR_FRAMES, CLOCK_WORD].any()
    assert np.array_equal(frames[DESCRIPTOR_FRAMES:], region()[DESCRIPTOR_FRAMES:])


def test_module_and_shell_are_told_apart() -> None:
    assert MODULE.is_module
    assert not SHELL.is_module
    assert SHELL.kernel(Kind.DENSE) == SHELL.kernels[list(Kind).index(Kind.DENSE)]
    assert MODULE.kernel(Kind.DENSE) is None


@settings(max_examples=200)
@given(st.integers(0, REGION - 1), st.integers(0, FRAME_WORDS - 1), st.integers(0, 31))
def test_one_wrong_bit_reads_as_nothing_wherever_the_layout_has_a_say(frame: int, word: int, bit: int) -> None:
    frames = embed(MODULE, region())
    frames[frame, word] ^= np.uint32(1 << bit)
    found = extract(frames)
    if frame >= DESCRIPTOR_FRAMES or word < CLOCK_WORD:
        assert found is None
    else:
        assert found in (None, extract(embed(MODULE, region())))


def test_half_of_one_module_over_another_reads_as_nothing() -> None:
    old, new = embed(MODULE, region(1)), embed(MODULE, region(2))
    for cut in range(1, REGION):
        mixed = np.concatenate([new[:cut], old[cut:]])
        assert extract(mixed) is None, cut


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_garbage_reads_as_nothing(content: bytes) -> None:
    frames = np.zeros((REGION, FRAME_WORDS), dtype=np.uint32)
    raw = np.frombuffer((b"CONVOYFR\0\1" + content).ljust(212, b"\0")[:200], dtype=">u4")
    frames[0, :CLOCK_WORD] = raw
    assert extract(frames) is None


def test_blank_or_small_regions_read_as_nothing() -> None:
    assert extract(np.zeros((REGION, FRAME_WORDS), dtype=np.uint32)) is None
    assert extract(np.zeros((3, FRAME_WORDS), dtype=np.uint32)) is None
    with pytest.raises(BitstreamError, match="more than 16"):
        embed(MODULE, np.zeros((16, FRAME_WORDS), dtype=np.uint32))
