"""Targets of what comes from a broker's socket: packets cut anywhere, and a whole link with paho behind it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from itertools import pairwise

from convoy_schema.errors import LinkError
from convoy_schema.link import Link
from convoy_schema.packets import Incoming, PacketSocket
from link_bench import packet, publish_packet
from target import target

#: Bytes that are written before they are read.
_PIECES = (1, 3, 40, 16 * 1024)
_CONNACK = packet(0x20, b"\0\0")


def _packets() -> Iterator[bytes]:
    yield b"\0" + publish_packet("convoy/1/site/controller/state", b"payload") + packet(0xD0, b"")
    yield b"\1" + publish_packet("t", b"x" * 5000) + packet(0x40, b"\0\1")
    yield b"\2" + packet(0x32, b"\0\1t\0\1payload") + publish_packet("t", b"", 0x31)
    yield b"\3" + b"\x30\xff\xff\xff\xff\x7f"
    yield b"\3" + b"\x30\xff\xff\xff\x7f" + bytes(100)
    yield b"\2" + b"\x30\x04\x00\x09ab"


@target("mqtt-packets", LinkError, seeds=_packets)
def mqtt_packets(data: bytes) -> object:
    """The first byte says in what pieces the rest comes; nothing is lost, doubled or invented."""
    size = _PIECES[data[0] % len(_PIECES)] if data else 1
    ours, theirs = socket.socketpair()
    found = 0
    with ours, theirs:
        ours.setblocking(False)
        sock = PacketSocket(ours)
        # Few pieces: what matters is where the cuts are, not how many there are.
        cuts = [*range(1, min(len(data), 64 * size), size), len(data)]
        for start, end in pairwise(cuts):
            theirs.sendall(data[start:end])
            sock.fill()
            while (item := sock.next()) is not False:
                found += len(item.payload) if isinstance(item, Incoming) else len(_granted(sock))
    assert found <= len(data)
    return found


def _granted(sock: PacketSocket) -> bytes:
    content = b""
    with contextlib.suppress(BlockingIOError):
        while piece := sock.recv(7):
            content += piece
    return content


def _sessions() -> Iterator[bytes]:
    yield _CONNACK + publish_packet("t", b"payload") + packet(0xD0, b"")
    yield _CONNACK + packet(0x90, b"\0\1\0") + packet(0x40, b"\0\1") + packet(0x32, b"\0\1t\0\1payload")
    yield _CONNACK + packet(0x34, b"\0\1t\0\1payload") + packet(0x62, b"\0\1") + packet(0xB0, b"\0\1")
    yield packet(0x20, b"\0\5")
    yield _CONNACK + packet(0x20, b"\0") + packet(0x90, b"") + packet(0x40, b"\0") + packet(0xE0, b"")
    yield _CONNACK + packet(0xF0, b"\1\2\3") + packet(0x50, b"\0\1") + packet(0x10, b"\0\4MQTT\4\2\0\0\0\0")


_loop = asyncio.new_event_loop()


@target("link", seeds=_sessions)
def link(data: bytes) -> object:
    """Whatever a broker sends, the link either goes on or ends the connection with a reason."""
    log = logging.getLogger("convoy_schema.link")
    before, log.disabled = log.disabled, True  # what it says of each input costs more than the input
    try:
        return _loop.run_until_complete(_session(data))
    finally:
        log.disabled = before


async def _session(data: bytes) -> bool:
    heard: list[str] = []
    under_test = Link("mqtt://127.0.0.1:1", "fuzz", on_message=lambda name, payload, retained: heard.append(name))
    client = under_test._new_client()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        client.packets = client._sock = PacketSocket(ours)
        under_test._client, under_test._socket = client, client.packets
        theirs.sendall(data)
        under_test._readable()
        is_lost = under_test._lost.is_set()
        assert not is_lost or under_test._loss, "the connection is given up without a reason"
        assert is_lost or not client.packets.is_corked, "nothing will be sent any more"
        under_test._client = None  # paho's client closes its socket when it goes
    return is_lost
