"""What a link holds for a broker that is slow: bounded, in order, and of a retained topic the newest value only."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

from convoy_schema.link import MAX_INFLIGHT, MAX_OUTBOX, MAX_UNWRITTEN
from link_bench import Connection, Lateness, Peer, ScriptedBroker, packet, play, publish_packet, until


class Slow:
    """A broker that takes QoS 1 messages and acknowledges none until it is told to."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes]] = []
        self.numbers: list[int] = []
        self.may_answer = asyncio.Event()

    async def __call__(self, connection: Connection) -> None:
        await connection.accept()
        answering = asyncio.get_running_loop().create_task(self._answer(connection))
        try:
            while True:
                topic, payload, number = await connection.read_publish()
                self.taken.append((topic, payload))
                if number:
                    self.numbers.append(number)
        finally:
            answering.cancel()

    async def _answer(self, connection: Connection) -> None:
        await self.may_answer.wait()
        while True:
            for number in self.numbers:
                connection.writer.write(packet(0x40, struct.pack(">H", number)))
            self.numbers.clear()
            await asyncio.sleep(0.002)


def with_slow(test: Callable[[Slow, Peer], Awaitable[None]]) -> None:
    async def work() -> None:
        slow = Slow()
        async with ScriptedBroker(slow).running() as broker:
            peer = Peer(broker.url)
            async with peer.running(connected=False):
                await until(lambda: peer.link.connected)
                await test(slow, peer)
                slow.may_answer.set()

    play(work)


def test_messages_that_nobody_acknowledges_are_bounded() -> None:
    async def test(slow: Slow, peer: Peer) -> None:
        room = MAX_INFLIGHT + MAX_OUTBOX
        taken = [peer.link.publish("a", b"%d" % number, qos=1) for number in range(room + 100)]
        assert taken == [True] * room + [False] * 100
        assert peer.link.dropped == 100
        await until(lambda: len(slow.taken) == MAX_INFLIGHT)
        await asyncio.sleep(0.05)
        assert len(slow.taken) == MAX_INFLIGHT, "more are in flight than a broker takes"
        assert peer.link.publish("b", b""), "what needs no acknowledgement still passes"
        slow.may_answer.set()
        await until(lambda: len(slow.taken) == room + 1)
        assert [payload for topic, payload in slow.taken if topic == "a"] == [b"%d" % number for number in range(room)]
        assert peer.link.publish("a", b"", qos=1)

    with_slow(test)


def test_of_a_retained_topic_only_the_newest_value_waits() -> None:
    async def test(slow: Slow, peer: Peer) -> None:
        for number in range(MAX_INFLIGHT):
            peer.link.publish("first", b"%d" % number, qos=1)
        for number in range(10_000):
            assert peer.link.publish("state", b"%d" % number, qos=1, retain=True)
            assert peer.link.publish(f"other-{number % 3}", b"%d" % number, qos=1, retain=True)
        peer.link.publish("event", b"1", qos=1)
        peer.link.publish("event", b"2", qos=1)
        slow.may_answer.set()
        await until(lambda: len(slow.taken) == MAX_INFLIGHT + 6)
        assert dict(slow.taken[MAX_INFLIGHT : MAX_INFLIGHT + 4]) == {
            "state": b"9999",
            "other-0": b"9999",
            "other-1": b"9997",
            "other-2": b"9998",
        }
        assert slow.taken[-2:] == [("event", b"1"), ("event", b"2")], "what is not retained is never replaced"
        assert peer.link.dropped == 0

    with_slow(test)


def test_a_full_outbox_still_takes_the_newest_value_of_what_waits_in_it() -> None:
    async def test(slow: Slow, peer: Peer) -> None:
        assert peer.link.publish("state", b"sent", qos=1, retain=True)
        for _ in range(MAX_INFLIGHT - 1):
            peer.link.publish("a", b"", qos=1)
        assert peer.link.publish("state", b"old", qos=1, retain=True)
        while peer.link.publish("a", b"", qos=1):
            pass
        assert peer.link.publish("state", b"new", qos=1, retain=True)
        assert not peer.link.publish("another", b"", qos=1, retain=True)
        slow.may_answer.set()
        await until(lambda: len(slow.taken) == MAX_INFLIGHT + MAX_OUTBOX)
        assert [payload for topic, payload in slow.taken if topic == "state"] == [b"sent", b"new"]

    with_slow(test)


class Deaf:
    """A broker that stops reading after CONNECT, until it is told to read on."""

    def __init__(self) -> None:
        self.may_read = asyncio.Event()
        self.may_speak = asyncio.Event()
        self.sizes: list[int] = []
        self.incoming = b""

    async def __call__(self, connection: Connection) -> None:
        await connection.accept()
        connection.writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await self.may_speak.wait()
        connection.writer.write(self.incoming)
        await self.may_read.wait()
        connection.reader._transport.resume_reading()  # type: ignore[attr-defined]
        while True:
            self.sizes.append(len((await connection.read_publish())[1]))


def with_deaf(incoming: bytes, test: Callable[[Deaf, Peer], Awaitable[None]]) -> None:
    async def work() -> None:
        deaf = Deaf()
        deaf.incoming = incoming
        async with ScriptedBroker(deaf).running() as broker:
            peer = Peer(broker.url)
            async with peer.running(connected=False):
                await until(lambda: peer.link.connected)
                await test(deaf, peer)
                deaf.may_read.set()

    play(work)


def test_frames_that_nobody_reads_are_bounded_and_then_dropped() -> None:
    async def test(deaf: Deaf, peer: Peer) -> None:
        deaf.may_speak.set()
        size, taken = 250_000, 0
        while peer.link.publish("a", bytes(size)):
            taken += 1
            await asyncio.sleep(0)
            assert taken < 200, "there is no bound"
        assert MAX_UNWRITTEN <= taken * size < MAX_UNWRITTEN + 10_000_000
        assert peer.link.is_congested
        assert peer.link.dropped == 1
        deaf.may_read.set()
        await until(lambda: len(deaf.sizes) == taken)
        assert set(deaf.sizes) == {size}
        assert not peer.link.is_congested
        assert peer.link.publish("a", b"x")
        await until(lambda: deaf.sizes[-1] == 1)

    with_deaf(b"", test)


def test_a_relay_whose_far_side_does_not_read_is_bounded_too() -> None:
    """A board publishes from within `on_message`; each of 120 small messages makes it send a large one."""

    async def test(deaf: Deaf, peer: Peer) -> None:
        answers: list[bool] = []
        peer.on_message = lambda topic, payload, retained: answers.append(peer.link.publish("a", bytes(250_000)))
        deaf.may_speak.set()
        await until(lambda: len(peer.received) == 120)
        assert MAX_UNWRITTEN <= answers.count(True) * 250_000 < MAX_UNWRITTEN + 10_000_000
        deaf.may_read.set()
        await until(lambda: len(deaf.sizes) == answers.count(True))

    with_deaf(b"".join(publish_packet("go", b"") for _ in range(120)), test)


def test_stop_does_not_wait_long_for_those_who_do_not_read() -> None:
    async def test(deaf: Deaf, peer: Peer) -> None:
        for _ in range(40):
            assert peer.link.publish("a", bytes(250_000))
        async with Lateness().measured() as lateness:
            begun = asyncio.get_running_loop().time()
            await peer.link.stop()
            took = asyncio.get_running_loop().time() - begun
        assert 0.5 < took < 1.5 + 2 * lateness.most_s

    with_deaf(b"", test)
