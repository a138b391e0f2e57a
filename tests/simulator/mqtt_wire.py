"""MQTT 3.1.1 on the wire, both ways, for a client that does only what it is told: no automatic PUBACK, no pings."""

from __future__ import annotations

import struct

from convoy_simulator.mqtt_packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
)


def _text(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("!H", len(data)) + data


def _whole(header: int, body: bytes) -> bytes:
    length, field = len(body), bytearray()
    while True:
        length, digit = divmod(length, 128)
        field.append(digit | (0x80 if length else 0))
        if not length:
            return bytes([header]) + bytes(field) + body


def _connect(packet: Connect) -> bytes:
    flags = 0x02 if packet.clean else 0
    body = _text(packet.client_id)
    if packet.will is not None:
        flags |= 0x04 | packet.will.qos << 3 | (0x20 if packet.will.retain else 0)
        body += _text(packet.will.topic) + _text(packet.will.payload)
    if packet.user:
        flags |= 0x80
        body += _text(packet.user)
    return _whole(0x10, _text("MQTT") + bytes([4, flags]) + struct.pack("!H", packet.keepalive_s) + body)


def _publish(packet: Publish) -> bytes:
    header = 0x30 | (0x08 if packet.dup else 0) | packet.qos << 1 | (1 if packet.retain else 0)
    mid = struct.pack("!H", packet.mid) if packet.qos else b""
    return _whole(header, _text(packet.topic) + mid + packet.payload)


def encode(packet: Packet) -> bytes:
    """The packet's bytes."""
    match packet:
        case Connect():
            return _connect(packet)
        case Publish():
            return _publish(packet)
        case Connack(code, present):
            return _whole(0x20, bytes([1 if present else 0, code]))
        case Puback(mid):
            return _whole(0x40, struct.pack("!H", mid))
        case Subscribe(mid, filters):
            return _whole(0x82, struct.pack("!H", mid) + b"".join(_text(text) + bytes([qos]) for text, qos in filters))
        case Suback(mid, codes):
            return _whole(0x90, struct.pack("!H", mid) + bytes(codes))
        case Unsubscribe(mid, topics):
            return _whole(0xA2, struct.pack("!H", mid) + b"".join(map(_text, topics)))
        case Unsuback(mid):
            return _whole(0xB0, struct.pack("!H", mid))
        case Pingreq():
            return b"\xc0\x00"
        case Pingresp():
            return b"\xd0\x00"
        case Disconnect():
            return b"\xe0\x00"
    raise AssertionError(packet)


def _read_publish(flags: int, body: bytes) -> Publish:
    end = 2 + int(struct.unpack_from("!H", body)[0])
    qos = flags >> 1 & 3
    start = end + (2 if qos else 0)
    mid = int(struct.unpack_from("!H", body, end)[0]) if qos else 0
    return Publish(body[2:end].decode(), body[start:], qos, bool(flags & 1), mid, bool(flags & 8))


def _read_connect(body: bytes) -> Connect:
    flags, keepalive = body[7], int(struct.unpack_from("!H", body, 8)[0])
    texts, at = [], 10
    while at < len(body):
        end = at + 2 + int(struct.unpack_from("!H", body, at)[0])
        texts.append(body[at + 2 : end])
        at = end
    will = Will(texts[1].decode(), texts[2], flags >> 3 & 3, bool(flags & 0x20)) if flags & 4 else None
    return Connect(texts[0].decode(), bool(flags & 2), keepalive, will, texts[-1].decode() if flags & 0x80 else "")


def _read_filters(body: bytes, with_qos: bool) -> list[tuple[str, int]]:
    filters, at = [], 2
    while at < len(body):
        end = at + 2 + int(struct.unpack_from("!H", body, at)[0])
        filters.append((body[at + 2 : end].decode(), body[end] if with_qos else 0))
        at = end + with_qos
    return filters


def _decode(header: int, body: bytes) -> Packet:
    mid = int(struct.unpack_from("!H", body)[0]) if len(body) >= 2 else 0
    match header >> 4:
        case 1:
            return _read_connect(body)
        case 2:
            return Connack(body[1], bool(body[0] & 1))
        case 3:
            return _read_publish(header & 15, body)
        case 4:
            return Puback(mid)
        case 8:
            return Subscribe(mid, tuple(_read_filters(body, True)))
        case 9:
            return Suback(mid, tuple(body[2:]))
        case 10:
            return Unsubscribe(mid, tuple(text for text, _ in _read_filters(body, False)))
        case 11:
            return Unsuback(mid)
        case 12:
            return Pingreq()
        case 13:
            return Pingresp()
        case 14:
            return Disconnect()
    raise AssertionError(f"packet type {header >> 4}")


def take(buffer: bytearray) -> Packet | None:
    """The first whole packet, removed from `buffer`; None where there is none."""
    length, shift, at = 0, 0, 1
    while True:
        if at >= len(buffer):
            return None
        length |= (buffer[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not buffer[at - 1] & 0x80:
            break
    if len(buffer) < at + length:
        return None
    packet = _decode(buffer[0], bytes(buffer[at : at + length]))
    del buffer[: at + length]
    return packet
