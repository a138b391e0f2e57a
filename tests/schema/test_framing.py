import copy
from typing import Any

import msgpack
import pytest
from convoy_schema import codec, framing
from convoy_schema.errors import DecodeError, TooLargeError, VersionError
from convoy_schema.frames import MAX_FRAME, Frame, TensorData
from convoy_schema.names import Generation
from hypothesis import given
from hypothesis import strategies as st

names = st.from_regex(r"[a-z0-9-]{1,63}", fullmatch=True)
labels = st.text(st.characters(codec="utf-8", exclude_characters="\x7f", min_codepoint=32), min_size=1, max_size=200)
counts = st.integers(0, 2**63 - 1)
tensors = st.builds(
    TensorData,
    labels,
    st.lists(st.integers(1, 65536), max_size=4).map(tuple),
    st.binary(max_size=200),
    st.text(max_size=8),
)
frames = st.builds(
    Frame,
    names,
    st.builds(Generation, counts, counts),
    st.integers(0, 2048),
    names,
    st.tuples(counts, counts),
    st.lists(counts, max_size=40).map(tuple),
    st.floats(0, 3.6e6),
    st.lists(tensors, max_size=4).map(tuple),
    st.lists(counts, max_size=10).map(tuple),
)
GOOD = Frame(
    "demo",
    Generation(1, 2),
    3,
    "gateway-1",
    (7, 8),
    (9, 10),
    250.5,
    (TensorData("x", (2, 3), b"abcdef"),),
    (11,),
)


@given(frames)
def test_bytes_and_frames_are_those_of_the_codec(frame: Frame) -> None:
    payload = framing.encode(frame)
    assert payload == codec.encode(frame)
    assert framing.decode(payload) == codec.decode(Frame, payload) == frame


def outcome(read: Any, payload: bytes) -> object:
    try:
        return read(payload)
    except DecodeError as error:
        return type(error), str(error)


odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=70),
    st.binary(max_size=10),
    st.lists(st.one_of(st.integers(-2, 70000), st.text(max_size=3), st.none()), max_size=70),
    st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=3),
)


@given(st.data())
def test_one_field_changed_is_judged_as_the_codec_judges_it(data: st.DataObject) -> None:
    body = msgpack.unpackb(codec.encode(GOOD))
    places: list[tuple[Any, Any]] = [(body, key) for key in [*body, "unknown"]]
    places += [(body["generation"], key) for key in ("epoch", "counter")]
    places += [(body["tensors"][0], key) for key in ("name", "shape", "data", "dtype")]
    places += [(body[key], 0) for key in ("batch", "requests", "residence_us", "tensors", "v")]
    places += [(body["tensors"][0]["shape"], 1)]
    holder, key = data.draw(st.sampled_from(range(len(places))).map(lambda index: places[index]))
    if isinstance(holder, dict) and key in holder and data.draw(st.booleans()):
        del holder[key]
    else:
        holder[key] = data.draw(odd)
    payload = msgpack.packb(body)
    assert outcome(framing.decode, payload) == outcome(lambda p: codec.decode(Frame, p), payload)


@given(st.binary(max_size=300), st.integers(0, 300), st.integers(0, 255))
def test_damaged_bytes_are_judged_as_the_codec_judges_them(noise: bytes, at: int, byte: int) -> None:
    good = bytearray(codec.encode(GOOD))
    good[at % len(good)] = byte
    for payload in (noise, bytes(good), bytes(good[: at % len(good)])):
        assert outcome(framing.decode, payload) == outcome(lambda p: codec.decode(Frame, p), payload)


def test_bounds_are_those_of_the_codec() -> None:
    large = Frame(**{**vars(GOOD), "tensors": (TensorData("x", (1,), bytes(MAX_FRAME)),)})
    with pytest.raises(TooLargeError, match="Frame takes"):
        framing.encode(large)
    with pytest.raises(DecodeError, match="Frame may take 262144 bytes"):
        framing.decode(bytes(MAX_FRAME + 1))
    body = msgpack.unpackb(codec.encode(GOOD))
    newer = copy.deepcopy(body)
    newer["v"] = [9, 9]
    with pytest.raises(VersionError, match="update this side"):
        framing.decode(msgpack.packb(newer))
    # A peer that also speaks newer versions is understood.
    body["v"] = [2, 1]
    assert framing.decode(msgpack.packb(body)) == GOOD
