"""Targets of what travels over MQTT: every message, frames, topics, and what a board makes of a topic and a payload."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
from convoy_device import inbox
from convoy_schema import codec, framing, version
from convoy_schema.bundle import ModelAnnouncement
from convoy_schema.errors import DecodeError, TopicError
from convoy_schema.frames import Frame, TensorData
from convoy_schema.names import Generation
from convoy_schema.topics import (
    Topics,
)
from message_strategies import MESSAGES, RECORDS, full, places
from mutation import NASTY, mutate_bytes, mutate_msgpack, with_tokens
from target import target
from topic_texts import build

TOPICS = Topics("site")
_DIGEST = "0123456789abcdef" * 4


def nested(depth: int) -> Iterator[bytes]:
    """MessagePack that is small and claims, or unpacks to, a lot."""
    yield b"\x91" * depth
    yield b"\x81\xa1v" * depth
    yield b"\xdd\x00\x00\x3f\xff" * depth
    yield b"\x81\xa1v\xdc" + depth.to_bytes(2, "big") + b"\x90" * depth
    yield b"\xdf\xff\xff\xff\xff" * depth
    yield b"\xc7\xff\xff" * depth


def encoded(cls: type[Any], *, with_version: bool) -> Iterator[bytes]:
    """`cls` with a value in every field, the same with something nasty in each place, and bombs."""
    body = full(cls)
    if with_version:
        body[codec.VERSION_KEY] = [version.CURRENT, version.OLDEST]
    yield msgpack.packb(body)
    for at, place in enumerate(places(cls)):
        changed = copy.deepcopy(body)
        place.put(changed, NASTY[at % len(NASTY)])
        yield msgpack.packb(changed)
    for depth in (3, 500, 1020, 5000):
        yield from nested(depth)


def _kebab(name: str) -> str:
    return re.sub("(?<=[a-z])(?=[A-Z])", "-", name).lower()


def _decoder(cls: type[Any]) -> Callable[[bytes], object]:
    def decode(data: bytes) -> object:
        message = codec.decode(cls, data)
        assert codec.decode(cls, codec.encode(message)) == message
        return message

    return decode


def _unpacker(cls: type[Any]) -> Callable[[bytes], object]:
    def unpack(data: bytes) -> object:
        record = codec.unpack(cls, data)
        assert codec.unpack(cls, codec.pack(record)) == record
        return record

    return unpack


def _make(cls: type[Any], make: Callable[[type[Any]], Callable[[bytes], object]], *, with_version: bool) -> None:
    name = f"{'message' if with_version else 'record'}-{_kebab(cls.__name__)}"
    target(name, DecodeError, seeds=lambda: encoded(cls, with_version=with_version), mutate=mutate_msgpack, share=0.5)(
        make(cls)
    )


for _cls in MESSAGES:
    _make(_cls, _decoder, with_version=True)
for _cls in RECORDS:
    _make(_cls, _unpacker, with_version=False)


# Frames --------------------------------------------------------------------------------------------------------------


def _frames() -> Iterator[bytes]:
    tensor = TensorData("x", (2, 1, 2, 2), bytes(8))
    frame = Frame("net", Generation(1, 17), 0, "gateway-1", (7, 9), (1, 2), 250.0, (tensor,), (40,))
    yield framing.encode(frame)
    yield from encoded(Frame, with_version=True)


@target("frame", DecodeError, seeds=_frames, mutate=mutate_msgpack)
def frame(data: bytes) -> object:
    """The reader by hand and the codec say the same."""
    slow, quick = _said(lambda payload: codec.decode(Frame, payload), data), _said(framing.decode, data)
    if isinstance(slow, DecodeError):
        assert str(quick) == str(slow)
        raise slow
    assert quick == slow
    return slow


def _said(decode: Callable[[bytes], object], data: bytes) -> object:
    """The frame, or the refusal."""
    try:
        return decode(data)
    except DecodeError as error:
        return error


# Topics --------------------------------------------------------------------------------------------------------------


def _topics() -> Iterator[bytes]:
    for topic in (
        TOPICS.board("board-1", "state"),
        TOPICS.gateway("gateway-1", "reported"),
        TOPICS.controller_state(),
        TOPICS.model("net", "2"),
        TOPICS.trust(),
        TOPICS.manifest(_DIGEST),
        TOPICS.block(_DIGEST, 17),
        TOPICS.frame("board-1", "gateway-1", "net", Generation(1, 17), 3),
    ):
        yield topic.encode()
    yield f"{TOPICS.prefix}boards/{'x' * 9000}/state".encode()
    yield f"{TOPICS.prefix}from/a/to/b/net/{'9' * 5000}-1/0".encode()


_levels = with_tokens(b"/", b"+", b"#", b"0", b"-", b"\xc2\xb2", b"\n", b"from/", b"/to/", b"boards/", b"artifacts/")


@target("topic", TopicError, seeds=_topics, mutate=_levels)
def topic(data: bytes) -> object:
    """One form for each meaning."""
    text = data.decode("utf-8", "replace")
    found = TOPICS.parse(text)
    assert build(TOPICS, found) == text
    return found


# What a board hears --------------------------------------------------------------------------------------------------


def _heard() -> Iterator[bytes]:
    for leaf, cls in (("desired", "Desired"), ("command", "Command"), ("state", "BoardState")):
        message = next(found for found in MESSAGES if found.__name__ == cls)
        yield TOPICS.board("board-1", leaf).encode() + b"\n" + next(encoded(message, with_version=True))
    manifest = next(encoded(next(found for found in MESSAGES if found.__name__ == "Manifest"), with_version=True))
    yield TOPICS.manifest("0" * 64).encode() + b"\n" + manifest
    yield TOPICS.block(_DIGEST, 1).encode() + b"\n" + bytes(100)
    yield TOPICS.model("net", "1").encode() + b"\n" + next(encoded(ModelAnnouncement, with_version=True))


@target("board-inbox", TopicError, seeds=_heard, mutate=mutate_bytes)
def board_inbox(data: bytes) -> object:
    """A topic, a line's end, a payload."""
    name, _, payload = data.partition(b"\n")
    return inbox.read("board-1", TOPICS, name.decode("utf-8", "replace"), payload, False)
