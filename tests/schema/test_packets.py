"""Messages go through a socket whole, wherever TCP cuts them, and what is not ours is handed on byte for byte."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest
from convoy_schema.errors import LinkError
from convoy_schema.packets import MAX_INCOMING, READ_BYTES, SMALL, Incoming, PacketSocket
from hypothesis import given, settings
from hypothesis import strategies as st
from link_bench import packet, publish_packet

topics = st.text(st.characters(codec="utf-8", exclude_characters="\x00+#"), min_size=1, max_size=60)
sizes = st.sampled_from([0, 1, 120, 127, 128, SMALL - 1, SMALL, SMALL + 1, 16_380, 20_000, READ_BYTES]) | st.integers(
    0, 300
)
messages = st.builds(
    Incoming, topics, st.builds(lambda size, byte: bytes([byte]) * size, sizes, st.integers(0, 255)), st.booleans()
)
#: Packets of other kinds, and messages with QoS 1: paho's.
others = st.builds(
    packet,
    st.sampled_from([0x20, 0x32, 0x3B, 0x40, 0x90, 0xB0, 0xD0, 0x00, 0xFF, 0x38]),
    st.binary(max_size=200),
)


def encoded(item: Incoming | bytes) -> bytes:
    return item if isinstance(item, bytes) else publish_packet(item.topic, item.payload, 0x30 | item.retained)


@contextlib.contextmanager
def pair() -> Iterator[tuple[PacketSocket, socket.socket]]:
    """Our end, and the bare other end; neither blocks."""
    ours, theirs = socket.socketpair()
    try:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield PacketSocket(ours), theirs
    finally:
        ours.close()
        theirs.close()


def everything(sock: PacketSocket, piece: int = 10**6) -> list[Incoming | bytes]:
    """What `next` finds now; of a packet that is paho's, all that `recv` gives, `piece` bytes at a time."""
    found: list[Incoming | bytes] = []
    while (item := sock.next()) is not False:
        if isinstance(item, Incoming):
            found.append(item)
            continue
        content = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                content += sock.recv(piece)
        found.append(content)
    return found


def read_all(theirs: socket.socket) -> bytes:
    content = b""
    with contextlib.suppress(BlockingIOError):
        while more := theirs.recv(2**20):
            content += more
    return content


# Reading -------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    st.lists(messages | others, max_size=8), st.lists(st.integers(1, 9000), min_size=1, max_size=10), st.integers(1, 9)
)
def test_what_comes_is_found_whole_wherever_it_was_cut(
    items: list[Incoming | bytes], cuts: list[int], piece: int
) -> None:
    content = b"".join(map(encoded, items))
    found: list[Incoming | bytes] = []
    with pair() as (ours, theirs):
        step = 0
        while content:
            sent = theirs.send(content[: cuts[step % len(cuts)]])
            content, step = content[sent:], step + 1
            ours.fill()
            found += everything(ours, piece)
        ours.fill()
        found += everything(ours, piece)
        assert ours.received_bytes == sum(len(encoded(item)) for item in items)
    assert found == items


def test_a_message_larger_than_the_buffer_arrives_and_small_ones_behind_it() -> None:
    large = Incoming("large", bytes(range(256)) * 3900, False)
    items = [Incoming("before", b"1", True), large, Incoming("after", b"2", False), large]
    content = b"".join(map(encoded, items))
    found: list[Incoming | bytes] = []
    with pair() as (ours, theirs):
        while len(found) < len(items):
            if content:
                content = content[theirs.send(content[:100_000]) :]
            ours.fill()
            found += everything(ours)
    assert found == items


@given(st.binary(max_size=300), st.data())
def test_a_packet_is_not_handed_on_before_it_is_whole(body: bytes, data: st.DataObject) -> None:
    content = packet(0x90, body)
    cut = data.draw(st.integers(0, len(content) - 1))
    with pair() as (ours, theirs):
        theirs.send(content[:cut])
        ours.fill()
        assert ours.next() is False
        with pytest.raises(BlockingIOError):
            ours.recv(1)
        theirs.send(content[cut:])
        ours.fill()
        assert everything(ours) == [content]


@pytest.mark.parametrize(
    "content",
    [
        b"\x30\xff\xff\xff\xff\x01",
        b"\x90\xff\xff\xff\xff",
        b"\x30\xff\xff\xff\x7f",
        packet(0x30, bytes(MAX_INCOMING))[:9],
        packet(0x30, b""),
        packet(0x30, b"\x00"),
        packet(0x30, b"\x00\x03ab"),
        packet(0x31, b"\xff\xff" + b"a" * 1000),
        packet(0x30, b"\x00\x01\xff"),
    ],
    ids=lambda content: content[:8].hex(),
)
def test_what_cannot_be_read_is_a_link_error(content: bytes) -> None:
    with pair() as (ours, theirs):
        theirs.send(content)
        ours.fill()
        with pytest.raises(LinkError, match="the broker sent a"):
            everything(ours)


@settings(max_examples=200)
@given(st.binary(max_size=400))
def test_noise_is_nothing_worse_than_a_link_error(noise: bytes) -> None:
    with pair() as (ours, theirs):
        theirs.sendall(noise)
        ours.fill()
        with contextlib.suppress(LinkError):
            everything(ours)


def test_the_end_is_seen_by_paho_after_all_that_came_before_it() -> None:
    with pair() as (ours, theirs):
        theirs.send(encoded(Incoming("last", b"", False)) + b"\x30\x05cut")
        theirs.close()
        ours.fill()
        assert not ours.is_closed_by_peer
        assert everything(ours) == [Incoming("last", b"", False)]
        ours.fill()
        assert ours.is_closed_by_peer
        assert ours.recv(1) == b""


# Writing -------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(st.lists(messages | others, max_size=8), st.booleans())
def test_what_is_sent_is_mqtt(items: list[Incoming | bytes], corked: bool) -> None:
    with pair() as (ours, theirs):
        if corked:
            ours.cork()
        for item in items:
            if isinstance(item, Incoming):
                ours.publish(item.topic.encode(), item.payload, item.retained)
            else:
                assert ours.send(item) == len(item)
        if corked:
            assert read_all(theirs) == b""
            assert ours.unsent_bytes == sum(len(encoded(item)) for item in items)
            ours.uncork()
        came = read_all(theirs)
        while ours.is_blocked:
            ours.push()
            came += read_all(theirs)
        assert came == b"".join(map(encoded, items))
        assert ours.unsent_bytes == 0


def test_what_the_kernel_does_not_take_waits_in_order() -> None:
    with pair() as (ours, theirs):
        expected = b""
        for number in range(400):
            payload = bytes([number % 256]) * (number * 37 % 9000)
            ours.publish(b"t", payload, False)
            expected += publish_packet("t", payload)
        assert ours.is_blocked
        waiting = ours.unsent_bytes
        assert 0 < waiting < len(expected)
        came = read_all(theirs)
        assert len(came) == len(expected) - waiting
        while ours.unsent_bytes:
            ours.push()
            came += read_all(theirs)
        assert came == expected
        assert not ours.is_blocked


def test_more_pieces_than_one_system_call_takes_go_out() -> None:
    with pair() as (ours, theirs):
        ours.cork()
        for number in range(3000):
            ours.publish(b"t", b"%d" % number, False)
        ours.uncork()
        came = read_all(theirs)
        while ours.is_blocked:
            ours.push()
            came += read_all(theirs)
        assert came == b"".join(publish_packet("t", b"%d" % number) for number in range(3000))


def test_a_broken_connection_is_an_os_error() -> None:
    with pair() as (ours, theirs):
        theirs.close()
        with pytest.raises(OSError, match="Broken pipe"):
            ours.send(b"x")
