"""Every message of the contract survives the wire, and refuses whatever is not it, by the field's name."""

from __future__ import annotations

import copy
import dataclasses
import enum
import importlib
import itertools
import math
import operator
import pkgutil
import typing
from collections.abc import Iterator
from typing import Any

import convoy_schema
import msgpack
import pytest
from convoy_schema import codec
from convoy_schema.artifacts import Manifest
from convoy_schema.bounds import Pattern, Range, Size
from convoy_schema.errors import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from message_strategies import (
    BYTES_SIZE,
    INT_RANGE,
    ITEMS_SIZE,
    MESSAGES,
    RECORDS,
    STRING_SIZE,
    TIED,
    Place,
    bound,
    full,
    places,
    strategy,
)

NAME = operator.attrgetter("__name__")
both = pytest.mark.parametrize("cls", [*MESSAGES, *RECORDS], ids=NAME)
messages = pytest.mark.parametrize("cls", MESSAGES, ids=NAME)

#: One value of each type that MessagePack knows, all of them wrong nearly everywhere.
SAMPLES: tuple[Any, ...] = (
    *(None, True, 1, -1, 1.5, "?", b"?", [], [[]], {}, {"?": 1}),
    *(msgpack.ExtType(5, b"?"), msgpack.Timestamp(1)),
)


def packed(cls: type[Any], body: Any) -> bytes:
    """As `codec.encode` would, without looking at it."""
    if cls in MESSAGES:
        body = {**body, "v": [1, 1]}
    return typing.cast(bytes, msgpack.packb(body))


def read(cls: type[Any], payload: bytes) -> Any:
    return codec.decode(cls, payload) if cls in MESSAGES else codec.unpack(cls, payload)


def write(value: Any) -> bytes:
    return codec.encode(value) if type(value) in MESSAGES else codec.pack(value)


def test_the_registry_knows_every_message() -> None:
    found = set()
    for module in pkgutil.walk_packages(convoy_schema.__path__, "convoy_schema."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and dataclasses.is_dataclass(value) and hasattr(value, "MAX_BYTES"):
                found.add(value)
    assert found == set(MESSAGES)


@both
def test_bounds_are_of_a_kind_that_belongs_to_their_field(cls: type[Any]) -> None:
    fitting: dict[Any, Any] = {int: Range, float: Range, str: (Size, Pattern), bytes: Size, tuple: Size, dict: Size}
    for place in places(cls):
        kind = typing.get_origin(place.kind) or place.kind
        for item in place.bounds:
            assert isinstance(item, fitting[kind]), place.label
            if isinstance(item, Range):
                assert item.low < item.high, place.label
    assert getattr(cls, "__dataclass_params__").frozen  # noqa: B009 (mypy does not know the attribute)


@both
@settings(max_examples=40)
@given(st.data())
def test_what_is_written_is_read(cls: type[Any], data: st.DataObject) -> None:
    message = data.draw(strategy(cls))
    payload = write(message)
    found = read(cls, payload)
    assert found == message
    assert type(found) is cls
    assert write(found) == payload


@both
def test_the_full_form_is_read(cls: type[Any]) -> None:
    found = read(cls, packed(cls, full(cls)))
    assert read(cls, write(found)) == found


@both
def test_an_unknown_field_is_ignored_at_every_depth(cls: type[Any]) -> None:
    expected = read(cls, packed(cls, full(cls)))
    for value in SAMPLES:
        body = {**full(cls), "from-the-future": value}
        for place in places(cls):
            if dataclasses.is_dataclass(place.kind):
                place.get(body)["from-the-future"] = value
        assert read(cls, packed(cls, body)) == expected


@both
def test_a_missing_field_is_named_and_one_with_a_default_may_be_missing(cls: type[Any]) -> None:
    for place in places(cls):
        if not isinstance(place.path[-1], str) or "[" in place.label:
            continue  # an item of a list, or a key of a map
        body = full(cls)
        place.take(body)
        if place.has_default:
            read(cls, packed(cls, body))
        else:
            with pytest.raises(DecodeError, match="is missing") as caught:
                read(cls, packed(cls, body))
            assert caught.value.data["field"] == place.label
            assert place.label in str(caught.value)


def ill_typed(place: Place) -> Iterator[Any]:
    """What must not stand in `place`, from every type there is."""
    fitting: dict[Any, tuple[type[Any], ...]] = {
        bool: (bool,),
        int: (int,),
        float: (int, float),
        str: (str,),
        bytes: (bytes,),
        tuple: (list,),
        dict: (dict,),
    }
    kind = typing.get_origin(place.kind) or place.kind
    is_record = dataclasses.is_dataclass(kind)
    for value in SAMPLES:
        if value is None and place.is_optional:
            continue
        if is_record and type(value) is dict:
            continue  # shown by the missing fields
        if type(value) not in fitting.get(kind, ()):
            yield value


@both
def test_an_ill_typed_field_is_named(cls: type[Any]) -> None:
    seen = 0
    for place in places(cls):
        for value in ill_typed(place):
            body = full(cls)
            place.put(body, value)
            with pytest.raises(DecodeError) as caught:
                read(cls, packed(cls, body))
            assert caught.value.data["field"] == place.label, (place, value)
            assert str(caught.value).startswith(f"{place.label} must be "), (place, value)
            seen += 1
    assert seen > 20


def inside(place: Place, body: Any) -> Iterator[Any]:
    """The outermost values that `place` may have."""
    if place.kind is int:
        limits = bound(place.bounds, Range, INT_RANGE)
        yield from (limits.low, limits.high)
    elif place.kind is float:
        limits = bound(place.bounds, Range, Range(-1e300, 1e300))
        yield from (limits.low, limits.high)
    elif place.kind is bytes:
        yield from (b"", bytes(bound(place.bounds, Size, Size(BYTES_SIZE)).most))
    elif place.kind is str:
        pattern = bound(place.bounds, Pattern, None)
        if pattern is None:
            yield from ("", "é" * bound(place.bounds, Size, Size(STRING_SIZE)).most)
        else:
            yield {"[a-z0-9-]{1,63}": "z-9" * 21, "[0-9a-f]{64}": "f" * 64}.get(pattern.regex, "é" * 200)
    elif isinstance(place.kind, type) and issubclass(place.kind, enum.Enum):
        yield from (item.value for item in place.kind)
    elif typing.get_origin(place.kind) is dict:
        most = bound(place.bounds, Size, Size(ITEMS_SIZE)).most
        item = next(iter(place.get(body).values()))
        yield from ({}, {str(index): item for index in range(most)})
    elif typing.get_origin(place.kind) is tuple and typing.get_args(place.kind)[-1] is Ellipsis:
        most = bound(place.bounds, Size, Size(ITEMS_SIZE)).most
        yield from ([], place.get(body) * most)


def outside(place: Place, body: Any) -> Iterator[Any]:
    """Values just beyond what `place` may have."""
    if place.kind is int:
        limits = bound(place.bounds, Range, INT_RANGE)
        yield from (value for value in (limits.low - 1, limits.high + 1) if -(2**63) <= value < 2**64)
    elif place.kind is float:
        limits = bound(place.bounds, Range, Range(-1e300, 1e300))
        beyond = (math.nextafter(limits.low, -math.inf), math.nextafter(limits.high, math.inf))
        yield from (*beyond, math.nan, math.inf, -math.inf)
    elif place.kind is bytes:
        yield bytes(bound(place.bounds, Size, Size(BYTES_SIZE)).most + 1)
    elif place.kind is str:
        pattern = bound(place.bounds, Pattern, None)
        if pattern is None:
            yield "x" * (bound(place.bounds, Size, Size(STRING_SIZE)).most + 1)
        else:
            # A newline at the end is what `$` and `match` would let through.
            yield from ("", "x\n", "x" * 2000, "x" * 201, "\x00", "\x7f")
            if "200" not in pattern.regex:
                yield from ("X", "é", "a/b", "a+", "#", "a b", "0" * 65)
    elif isinstance(place.kind, type) and issubclass(place.kind, enum.Enum):
        yield from ("", next(iter(place.kind)).name, "from-the-future")
    elif typing.get_origin(place.kind) is dict:
        most = bound(place.bounds, Size, Size(ITEMS_SIZE)).most
        item = next(iter(place.get(body).values()))
        yield {str(index): item for index in range(most + 1)}
    elif typing.get_origin(place.kind) is tuple:
        if typing.get_args(place.kind)[-1] is Ellipsis:
            most = bound(place.bounds, Size, Size(ITEMS_SIZE)).most
            yield place.get(body) * (most + 1)
        else:
            yield from (place.get(body)[:-1], place.get(body) * 2)


# Not of a manifest, whose fields depend on each other: its own test is with the artifacts.
@pytest.mark.parametrize("cls", [cls for cls in (*MESSAGES, *RECORDS) if cls is not Manifest], ids=NAME)
def test_the_bounds_themselves_are_taken(cls: type[Any]) -> None:
    for place in places(cls):
        if place.label in TIED:
            continue
        plain = full(cls)
        for value in inside(place, plain):
            body = copy.deepcopy(plain)
            place.put(body, value)
            payload = packed(cls, body)
            if len(payload) > getattr(cls, "MAX_BYTES", math.inf):
                continue  # a bound of the whole message comes first
            assert read(cls, write(read(cls, payload))) == read(cls, payload)


@both
def test_what_is_out_of_bounds_is_named(cls: type[Any]) -> None:
    seen = 0
    for place in places(cls):
        plain = full(cls)
        for value in outside(place, plain):
            body = copy.deepcopy(plain)
            place.put(body, value)
            payload = packed(cls, body)
            if len(payload) > getattr(cls, "MAX_BYTES", math.inf):
                with pytest.raises(DecodeError, match="may take"):
                    read(cls, payload)
                continue
            with pytest.raises(DecodeError) as caught:
                read(cls, payload)
            assert caught.value.data["field"] == place.label, (place, value)
            assert len(str(caught.value)) < 400
            seen += 1
    assert seen


def attempt(cls: type[Any], payload: bytes) -> None:
    """Read it, or be told why not; whatever is read can be written."""
    try:
        message = read(cls, payload)
    except DecodeError:
        return
    assert read(cls, write(message)) == message


@both
@settings(max_examples=40)
@given(st.data())
def test_damaged_messages_raise_nothing_but_decode_errors(cls: type[Any], data: st.DataObject) -> None:
    payload = write(data.draw(strategy(cls)))
    place = data.draw(st.integers(0, len(payload) - 1))
    noise = data.draw(st.binary(min_size=1, max_size=9))
    attempt(cls, payload[:place] + noise + payload[place + len(noise) :])
    attempt(cls, payload[:place] + noise + payload[place:])
    attempt(cls, payload[:place] + payload[place + len(noise) :])
    with pytest.raises(DecodeError):
        read(cls, payload[:place])
    with pytest.raises(DecodeError):
        read(cls, payload + noise)


@both
def test_every_bit_of_a_message_may_flip(cls: type[Any]) -> None:
    payload = packed(cls, full(cls))
    for place, bit in itertools.product(range(len(payload)), range(8)):
        damaged = bytearray(payload)
        damaged[place] ^= 1 << bit
        attempt(cls, bytes(damaged))


@messages
@settings(max_examples=20)
@given(st.binary(max_size=300))
def test_noise_is_no_message(cls: type[Any], noise: bytes) -> None:
    with pytest.raises(DecodeError):
        codec.decode(cls, noise)


json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.binary(), inner, max_size=3),
    max_leaves=8,
)


@both
@settings(max_examples=30)
@given(st.data())
def test_any_value_in_any_place_is_taken_or_refused(cls: type[Any], data: st.DataObject) -> None:
    body = full(cls)
    place = data.draw(st.sampled_from(list(places(cls))))
    place.put(body, data.draw(json))
    attempt(cls, packed(cls, body))
