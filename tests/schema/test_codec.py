"""The codec's own rules, on classes made for the purpose; `test_messages` applies them to the contract."""

from __future__ import annotations

import enum
import itertools
import math
import struct
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import msgpack
import pytest
from convoy_schema import codec, framing
from convoy_schema.bounds import Range, Size
from convoy_schema.bundle import Bundle, ModelAnnouncement
from convoy_schema.errors import DecodeError, TooLargeError, VersionError
from convoy_schema.frames import Frame
from convoy_schema.messages.boards import BoardState, Presence
from convoy_schema.names import Name
from hypothesis import given
from hypothesis import strategies as st
from message_strategies import MESSAGES


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Inner:
    number: int
    colour: Colour = Colour.RED


@dataclass(frozen=True)
class Even:
    value: int

    def __post_init__(self) -> None:
        if self.value % 2:
            raise ValueError(f"{self.value} is odd")


@dataclass(frozen=True)
class Sample:
    MAX_BYTES: ClassVar[int] = 1000

    number: Annotated[int, Range(0, 9)] = 0
    ratio: float = 0.5
    flag: bool = False
    text: str = ""
    blob: Annotated[bytes, Size(2000)] = b""
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    pair: tuple[int, str] = (0, "")
    names: dict[str, Inner] = field(default_factory=dict)
    even: Even = Even(0)
    colours: tuple[Colour, ...] = ()


def payload(**fields: Any) -> bytes:
    packed: bytes = msgpack.packb({"v": [1, 1], **fields})
    return packed


def refusal(cls: type[Any], content: bytes) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        codec.decode(cls, content)
    return caught.value


# What a message is ---------------------------------------------------------------------------------------------------


def test_everything_at_once_survives() -> None:
    sample = Sample(
        number=9,
        ratio=-0.25,
        flag=True,
        text="ä\U0001f600",
        blob=b"\x00\xff",
        inner=Inner(-(2**63), Colour.BLUE),
        many=(Inner(1), Inner(2)),
        pair=(2**63 - 1, "x"),
        names={"a": Inner(3), "": Inner(4)},
        even=Even(8),
        colours=(Colour.BLUE, Colour.RED),
    )
    assert codec.decode(Sample, codec.encode(sample)) == sample
    assert codec.unpack(Sample, codec.pack(sample)) == sample


def test_all_defaults_come_from_the_class_and_are_not_shared() -> None:
    first, second = codec.decode(Sample, payload()), codec.decode(Sample, payload())
    assert first == second == Sample()
    assert first.names is not second.names


def test_a_message_names_its_fields_and_its_version_pair() -> None:
    assert msgpack.unpackb(codec.encode(BoardState(Presence.OFFLINE, 7, "x"))) == {
        "presence": "offline",
        "session": 7,
        "reason": "x",
        "v": [1, 1],
    }


def test_packed_bytes_carry_no_version_and_are_always_the_same() -> None:
    assert msgpack.unpackb(codec.pack(Inner(5))) == {"number": 5, "colour": "red"}
    assert codec.pack(Inner(5)) == codec.pack(Inner(5)) != codec.pack(Inner(6))


@dataclass(frozen=True)
class Named:
    MAX_BYTES: ClassVar[int] = 1_000_000

    boards: Annotated[tuple[Name, ...], Size(3)] = ()


def test_names_that_were_read_before_are_read_the_same_and_kept_once() -> None:
    first, second = (codec.decode(Named, payload(boards=["a-1", "b"])).boards for _ in range(2))
    assert first == second == ("a-1", "b")
    assert all(one is other for one, other in zip(first, second, strict=True))
    for wrong in (["a-1", "B"], ["a-1", b"b"], ["a-1", ["b"]], ["a-1", 1], ["a-1"] * 4, "a-1", {"a-1": "b"}):
        for _ in range(2):
            assert str(refusal(Named, payload(boards=wrong)).data["field"]) == "Named.boards"


def test_names_are_read_though_no_more_can_be_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MOST_KNOWN", 0)
    names = tuple(f"unheard-{number}" for number in range(3))
    for _ in range(2):
        assert codec.decode(Named, payload(boards=list(names))).boards == names


def test_an_integer_may_stand_for_a_float_and_becomes_one() -> None:
    found = codec.decode(Sample, payload(ratio=3))
    assert found.ratio == 3.0
    assert type(found.ratio) is float


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, False, "1", None, b"1", 1e301])
def test_what_is_no_finite_number_is_no_float(value: object) -> None:
    assert refusal(Sample, payload(ratio=value)).data == {"field": "Sample.ratio"}


@pytest.mark.parametrize("value", [True, False, 1.0, "1", None, -1, 10, 2**64 - 1, -(2**63)])
def test_bools_and_whole_floats_are_no_integers(value: object) -> None:
    error = refusal(Sample, payload(number=value))
    assert str(error) == f"Sample.number must be an integer in [0, 9], {value!r} came"


@pytest.mark.parametrize("value", [0, 1, 1.0, "true", None, []])
def test_numbers_are_no_bools(value: object) -> None:
    assert refusal(Sample, payload(flag=value)).data == {"field": "Sample.flag"}


def test_a_64_bit_limit_is_shown_exactly() -> None:
    error = refusal(BoardState, payload(presence="online", session=2**63))
    assert "an integer in [0, 9223372036854775807], 9223372036854775808 came" in str(error)


@pytest.mark.parametrize("value", ["green", "RED", 0, True, None, ["red"], {"red": 1}, b"red", 1.5])
def test_an_enumeration_knows_its_values_only(value: object) -> None:
    error = refusal(Sample, payload(inner={"number": 1, "colour": value}))
    assert "Inner.colour must be one of red, blue" in str(error)


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ({"pair": [1]}, "Sample.pair"),
        ({"pair": [1, "x", 2]}, "Sample.pair"),
        ({"pair": ["x", 1]}, "Sample.pair"),
        ({"many": [{"number": 1}, {"number": "1"}]}, "Inner.number"),
        ({"many": [{"number": 1}, {}]}, "Inner.number"),
        ({"many": {"number": 1}}, "Sample.many"),
        ({"inner": []}, "Sample.inner"),
        ({"names": {"key": None}}, "Sample.names['key']"),
        ({"names": {b"key": {"number": 1}}}, "Sample.names"),
        ({"names": [["key", {"number": 1}]]}, "Sample.names"),
        ({"even": {"value": 3}}, "Sample.even"),
        ({"colours": ["red", "green"]}, "Sample.colours"),
    ],
)
def test_nested_faults_are_named(fields: dict[str, Any], label: str) -> None:
    error = refusal(Sample, payload(**fields))
    assert error.data["field"] == label
    assert label in str(error)


def test_a_class_may_check_itself() -> None:
    assert str(refusal(Sample, payload(even={"value": 3}))) == "Sample.even: 3 is odd"


@pytest.mark.parametrize("body", [None, 1, 1.5, "x", b"x", [], [1], True, msgpack.ExtType(1, b"")])
def test_a_message_is_a_map(body: object) -> None:
    packed = msgpack.packb(body)
    assert "must be a map" in str(refusal(Sample, packed))
    with pytest.raises(DecodeError, match="must be a Bundle"):
        codec.unpack(Bundle, packed)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xc1",  # a byte that MessagePack never uses
        b"\x81",  # a map without its entry
        b"\x80\x80",  # one message too many
        b"\x81\x01\x01",  # a key that is no string
        b"\x81\xa1\xff\x01",  # a key that is no UTF-8
        b"\x81\xa3\xed\xa0\x80\x01",  # a lone surrogate
        b"\x81\x90\x01",  # a key that cannot be hashed
        b"\xc7\x01\xff\x00",  # a timestamp of the wrong size
    ],
)
def test_bytes_that_are_not_messagepack(content: bytes) -> None:
    assert "is not MessagePack" in str(refusal(Sample, content))
    with pytest.raises(DecodeError, match="is not MessagePack"):
        codec.unpack(Inner, content)


def test_unknown_keys_may_be_bytes() -> None:
    assert codec.decode(Sample, msgpack.packb({b"x": 1, "v": [1, 1]})) == Sample()


# Versions ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [None, 1, "11", [], [1], [1, 1, 1], [True, True], [1.0, 1], ["1", "1"], [1, None], {}])
def test_a_version_pair_that_is_none(pair: object) -> None:
    error = refusal(Sample, payload(v=pair))
    assert type(error) is DecodeError
    assert str(error) == "Sample.v must be the pair [current, oldest]"


def test_a_message_without_a_version_is_refused() -> None:
    assert refusal(Sample, msgpack.packb({"number": 1})).data == {"field": "v"}


def test_a_peer_out_of_range_is_told_which_side_to_update() -> None:
    assert "update the peer" in str(refusal(Sample, payload(v=[0, 0])))
    assert "update this side" in str(refusal(Sample, payload(v=[2, 2])))
    # The version comes first: of a message that nobody understands, no field can be wrong.
    assert type(refusal(Sample, payload(v=[2, 2], number="x"))) is VersionError
    assert codec.decode(Sample, payload(v=[9, 1])) == Sample()


# Sizes ---------------------------------------------------------------------------------------------------------------


def test_a_message_of_exactly_its_bound_passes_and_one_more_byte_does_not() -> None:
    room = Sample.MAX_BYTES - len(codec.encode(Sample(blob=bytes(300)))) + 300
    largest = Sample(blob=bytes(room))
    assert len(codec.encode(largest)) == Sample.MAX_BYTES
    assert codec.decode(Sample, codec.encode(largest)) == largest
    with pytest.raises(TooLargeError, match="Sample takes 1001 bytes, at most 1000 may be sent") as caught:
        codec.encode(Sample(blob=bytes(room + 1)))
    assert caught.value.data == {"size": 1001, "limit": 1000}
    too_long = payload(blob=bytes(1100))
    assert str(refusal(Sample, too_long)) == f"Sample may take 1000 bytes, {len(too_long)} came"


def test_too_much_is_refused_before_it_is_parsed() -> None:
    """By the message, since junk that were parsed would be called so."""
    for cls in MESSAGES:
        error = refusal(cls, b"\xc1" * (cls.MAX_BYTES + 1))
        assert error.data == {"size": cls.MAX_BYTES + 1, "limit": cls.MAX_BYTES}
    huge = b"\x90" * 50_000_000
    begun = time.thread_time()
    refusal(Frame, huge)
    assert time.thread_time() - begun < 0.1


# Hostile MessagePack -------------------------------------------------------------------------------------------------

#: A header that announces a deeper level, and what closes it.
NESTINGS = (b"\x91", b"\x81\xa1a", b"\xdc\x00\x01", b"\xdf\x00\x00\x00\x01\xa1a", b"\x92\xc0")


def test_nesting_of_any_depth_is_a_decode_error() -> None:
    """Around 1000 levels Python's own `repr` and recursion limit, and msgpack's stack, come into play."""
    for nesting, depth in itertools.product(
        NESTINGS, (1, 50, 300, *range(880, 1100, 7), 1021, 1022, 1023, 1024, 20_000)
    ):
        bomb = nesting * depth + b"\xc0"
        for cls, name in ((Frame, b"deployment"), (Frame, b"tensors"), (ModelAnnouncement, b"bundle")):
            content = b"\x82\xa1v\x92\x01\x01" + bytes([0xA0 + len(name)]) + name + bomb
            refusal(cls, content)
        for content in (bomb, b"\x81\xa5model" + bomb):
            with pytest.raises(DecodeError):
                codec.unpack(Bundle, content)


def test_an_unknown_field_may_nest_as_deep_as_messagepack_reads() -> None:
    for depth in (10, 900):
        content = b"\x82\xa1v\x92\x01\x01\xa1z" + b"\x91" * depth + b"\xc0"
        assert codec.decode(Sample, content) == Sample()


def peak_of(cls: type[Any], content: bytes) -> tuple[int, float]:
    """Bytes of memory and seconds that refusing `content` takes."""
    tracemalloc.start()
    begun = time.thread_time()
    try:
        refusal(cls, content)
        return tracemalloc.get_traced_memory()[1], time.thread_time() - begun
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("head", [0xC6, 0xC9, 0xDB, 0xDD, 0xDF], ids=["bin", "ext", "str", "array", "map"])
def test_a_length_that_is_only_announced_takes_nothing(head: int) -> None:
    for count in (10**6, 2**31 - 1, 2**32 - 1):
        announced = struct.pack(">BI", head, count)
        for content in (announced, b"\x82\xa1v\x92\x01\x01\xa6bundle" + announced + bytes(1000)):
            memory, seconds = peak_of(ModelAnnouncement, content)
            assert memory < 1_000_000
            assert seconds < 0.5


@pytest.mark.parametrize("head", [0xDD, 0xDF], ids=["array", "map"])
def test_announced_lengths_within_each_other_take_little(head: int) -> None:
    """Each of 1000 levels claims all that the payload could hold; a reader that believed it would take gigabytes."""
    for cls in (Frame, ModelAnnouncement):
        level = struct.pack(">BI", head, cls.MAX_BYTES - 6000) + (b"\xa1a" if head == 0xDF else b"")
        content = (b"\x82\xa1v\x92\x01\x01\xa1z" + level * 1000).ljust(cls.MAX_BYTES, b"\x01")
        memory, seconds = peak_of(cls, content)
        assert memory < 100_000_000
        assert seconds < 5


@given(st.recursive(st.binary(max_size=5), lambda inner: st.lists(inner, max_size=4).map(b"".join), max_leaves=20))
def test_headers_thrown_together_are_never_more_than_a_decode_error(noise: bytes) -> None:
    content = b"\x82\xa1v\x92\x01\x01\xa6number" + noise
    try:
        codec.decode(Sample, content)
    except DecodeError:
        return
    assert msgpack.unpackb(content)["number"] in range(10)


# What the codec cannot do is said when a class is first used ---------------------------------------------------------


@dataclass(frozen=True)
class TwoTypes:
    value: int | str


@dataclass(frozen=True)
class ASet:
    value: set[int]


@pytest.mark.parametrize("cls", [TwoTypes, ASet])
def test_an_annotation_without_a_reader_is_a_type_error(cls: type[Any]) -> None:
    with pytest.raises(TypeError, match="the codec"):
        codec.unpack(cls, msgpack.packb({"value": 1}))


@pytest.mark.parametrize("decode", [lambda payload: codec.decode(Frame, payload), framing.decode])
def test_room_is_not_made_for_items_that_never_come(decode: Callable[[bytes], Frame]) -> None:
    """Each level of arrays claims more items than any message has, and MessagePack goes a thousand levels deep."""
    payload = b"\xdd\x00\x00\x3f\xff" * 1000 + bytes(250_000)
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="not MessagePack"):
            decode(payload)
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert held < 2_000_000
