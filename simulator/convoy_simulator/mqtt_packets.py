"""The packets of MQTT 3.1.1 that pass between a client and the broker, and how many bytes each takes on the wire.

Values, not bytes: nothing is encoded in virtual time. QoS 2 is left out, since nobody uses it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

#: Topics whose length in bytes is remembered: two million publishes a minute ask for those of a fleet again and again.
REMEMBERED_TOPICS = 65_536


class Will(NamedTuple):
    """What the broker publishes for a client that goes without a word."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


class Connect(NamedTuple):
    """A client's first packet; `user` is sent as its user name, without a password, unless it is empty."""

    client_id: str
    clean: bool
    keepalive_s: int
    will: Will | None = None
    user: str = ""


class Connack(NamedTuple):
    """The broker's answer to CONNECT; 0 is yes."""

    code: int
    session_present: bool


class Publish(NamedTuple):
    """A message, either way; `mid` is 0 at QoS 0."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    mid: int = 0
    dup: bool = False


class Puback(NamedTuple):
    """The receiver has a message of QoS 1."""

    mid: int


class Subscribe(NamedTuple):
    """Filters, each with the highest QoS at which it wants its messages."""

    mid: int
    filters: tuple[tuple[str, int], ...]


class Suback(NamedTuple):
    """For each filter the QoS granted, or 128."""

    mid: int
    codes: tuple[int, ...]


class Unsubscribe(NamedTuple):
    """Filters that are wanted no longer."""

    mid: int
    filters: tuple[str, ...]


class Unsuback(NamedTuple):
    """The broker's answer to UNSUBSCRIBE."""

    mid: int


class Pingreq(NamedTuple):
    """A client says that it is there."""


class Pingresp(NamedTuple):
    """The broker says so too."""


class Disconnect(NamedTuple):
    """A client goes, and wants no will published."""


Packet = (
    Connect | Connack | Publish | Puback | Subscribe | Suback | Unsubscribe | Unsuback | Pingreq | Pingresp | Disconnect
)

#: Bytes of the packets whose size does not vary.
_FIXED: dict[type, int] = {Connack: 4, Puback: 4, Unsuback: 4, Pingreq: 2, Pingresp: 2, Disconnect: 2}
#: The protocol's name, level, flags and keepalive, then the length of the client's id.
_CONNECT_BYTES = 12


def size_of(packet: Packet) -> int:
    """Bytes on the wire, exactly."""
    kind = type(packet)
    if kind is Publish:
        return publish_size(packet)  # type: ignore[arg-type]  # `kind` says so, and isinstance costs as much again
    fixed = _FIXED.get(kind)
    return fixed if fixed is not None else with_header(_remaining(packet))


def publish_size(packet: Publish) -> int:
    """Bytes on the wire of a PUBLISH."""
    length = 2 + topic_bytes(packet.topic) + len(packet.payload) + (2 if packet.qos else 0)
    return length + 2 if length < 128 else with_header(length)


@lru_cache(maxsize=REMEMBERED_TOPICS)
def topic_bytes(topic: str) -> int:
    """Bytes of a topic in UTF-8."""
    return len(topic.encode())


def _remaining(packet: Packet) -> int:
    """Bytes after the fixed header of a packet whose size varies."""
    if isinstance(packet, Connect):
        return _connect_bytes(packet)
    if isinstance(packet, Subscribe):
        return 2 + sum(3 + topic_bytes(filter_) for filter_, _ in packet.filters)
    if isinstance(packet, Unsubscribe):
        return 2 + sum(2 + topic_bytes(filter_) for filter_ in packet.filters)
    assert isinstance(packet, Suback)
    return 2 + len(packet.codes)


def _connect_bytes(packet: Connect) -> int:
    length = _CONNECT_BYTES + len(packet.client_id.encode())
    if packet.will is not None:
        length += 4 + topic_bytes(packet.will.topic) + len(packet.will.payload)
    if packet.user:
        length += 2 + len(packet.user.encode())
    return length


def with_header(remaining: int) -> int:
    """`remaining` and the fixed header before it, whose length field takes one byte for each seven bits."""
    return remaining + 1 + max(1, (remaining.bit_length() + 6) // 7)
