"""Parameters survive packing to the last bit, and nothing malformed gets through."""

import contextlib

import msgpack
import numpy as np
import pytest
from convoy_schema.errors import ConvoyError, DecodeError, TopologyError
from convoy_schema.parameters import Parameters, pack_parameters, unpack_parameters
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

INT32 = st.integers(-(2**31), 2**31 - 1)


@st.composite
def parameters(draw: st.DrawFn) -> Parameters:
    channels = draw(st.integers(1, 5))
    scales = draw(hnp.arrays(np.int32, channels, elements=st.integers(2**23, 2**24 - 1)))
    shifts = draw(hnp.arrays(np.int32, channels, elements=st.integers(0, 62)))
    if draw(st.booleans()):
        return Parameters(None, None, scales, shifts)
    rest = draw(st.sampled_from([(3,), (2, 1, 4), (1, 3, 3)]))
    weights = draw(hnp.arrays(np.int8, (channels, *rest)))
    return Parameters(weights, draw(hnp.arrays(np.int32, channels, elements=INT32)), scales, shifts)


@given(parameters())
def test_packing_keeps_every_value(given_parameters: Parameters) -> None:
    content = pack_parameters(given_parameters)
    back = unpack_parameters(content)
    for name in ("weights", "bias", "multiplier", "shift"):
        before, after = getattr(given_parameters, name), getattr(back, name)
        assert (before is None) == (after is None)
        if before is not None:
            assert after.dtype == before.dtype
            np.testing.assert_array_equal(after, before)
    assert pack_parameters(back) == content


@given(st.binary(max_size=200))
def test_garbage_is_refused(content: bytes) -> None:
    with pytest.raises(ConvoyError):
        unpack_parameters(content)


@given(parameters(), st.integers(0, 10**6), st.integers(1, 255))
def test_damaged_bytes_give_an_error_of_ours_or_valid_parameters(
    given_parameters: Parameters, at: int, flip: int
) -> None:
    content = bytearray(pack_parameters(given_parameters))
    content[at % len(content)] ^= flip
    with contextlib.suppress(DecodeError, TopologyError):
        unpack_parameters(bytes(content))


def packed(**changes: object) -> bytes:
    body = {"shape": [1, 2], "weights": b"ab", "bias": bytes(4), "multiplier": b"\0\0\x80\0", "shift": bytes(4)}
    return bytes(msgpack.packb(body | changes))


def test_the_plain_form_is_read() -> None:
    assert unpack_parameters(packed()).multiplier.tolist() == [2**23]


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [1, 3]},
        {"shape": None},
        {"shape": [2**26, 2**26]},
        {"shape": [0, 2]},
        {"weights": "ab"},
        {"weights": None},
        {"bias": None},
        {"bias": bytes(3)},
        {"bias": bytes(8)},
        {"multiplier": bytes(4)},
        {"multiplier": b"\0\0\0\x01"},
        {"multiplier": b""},
        {"multiplier": b"\0\0\x80\0" * 2},
        {"shift": b"\xff\xff\xff\xff"},
        {"shift": b"\x3f\0\0\0"},
    ],
)
def test_parts_that_do_not_belong_together_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises((DecodeError, TopologyError)):
        unpack_parameters(packed(**changes))


def test_wrong_types_are_refused() -> None:
    one = np.array([2**23], np.int32)
    with pytest.raises(TopologyError, match="int8"):
        Parameters(np.zeros((1, 2), np.int16), np.zeros(1, np.int32), one, one * 0)  # type: ignore[arg-type]
    with pytest.raises(TopologyError, match="int32"):
        Parameters(np.zeros((1, 2), np.int8), np.zeros(1, np.int64), one, one * 0)  # type: ignore[arg-type]
    with pytest.raises(TopologyError, match="neither"):
        Parameters(np.zeros((1, 2), np.int8), None, one, one * 0)
