"""The link against brokers that are absent, refuse, talk nonsense, fall silent or stop reading."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time

import pytest
from convoy_schema import backoff as backoff_module
from convoy_schema import link as link_module
from convoy_schema.backoff import BACKOFF_FIRST_S
from convoy_schema.link import Link
from link_bench import (
    CONNACK,
    CONNECT,
    DISCONNECT,
    PINGREQ,
    Behaviour,
    Connection,
    Impatient,
    Lateness,
    Peer,
    ScriptedBroker,
    packet,
    play,
    properly,
    publish_packet,
    until,
)
from own_ports import own_port
from patience import PATIENCE_S

#: Seconds for what happens at once, on a busy machine.
AT_ONCE_S = 10.0


def dead_url() -> str:
    """An address at which nobody listens."""
    return f"mqtt://127.0.0.1:{own_port()}"


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


# Absent --------------------------------------------------------------------------------------------------------------


def test_an_absent_broker_is_one_line_however_long_it_is_absent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "convoy_schema.link")
    peer = Peer(dead_url(), "lonely")

    async def work() -> None:
        async with peer.running(connected=False):
            await until(lambda: len(peer.chance.asked) > 15)  # type: ignore[attr-defined]
            assert not peer.link.connected
            assert not peer.link.publish("a", b"x")
            assert (peer.connections, peer.losses) == (0, [])

    play(work)
    (line,) = warnings(caplog)
    assert line.startswith(f"lonely: no broker at {peer.link.url} (")
    assert "refused" in line
    assert line.endswith("; trying again")


def test_a_new_loss_is_said_again(caplog: pytest.LogCaptureFixture) -> None:
    async def goes(connection: Connection) -> None:
        await connection.accept()

    async def work() -> None:
        async with ScriptedBroker(goes, goes, properly).running() as broker, Peer(broker.url).running() as peer:
            await until(lambda: peer.connections == 3)
            assert len(peer.losses) == 2

    play(work)
    assert len(warnings(caplog)) == 2


def test_it_waits_within_the_bounds_that_the_backoff_gives() -> None:
    chance = Impatient(0.1)
    began = time.monotonic()

    async def work() -> None:
        async with Peer(dead_url(), chance=chance).running(connected=False):
            await until(lambda: len(chance.asked) > 12)

    play(work)
    bounds = [bound for low, bound in chance.asked if low == 0]
    assert len(bounds) == len(chance.asked)
    assert bounds[0] == BACKOFF_FIRST_S
    assert bounds == sorted(bounds)
    assert 1.1 < bounds[12] < time.monotonic() - began  # it has been away for twelve waits


def test_a_connection_that_ends_at_once_makes_the_wait_grow_and_one_that_lasts_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first_s = 2.0  # longer than all of this takes
    monkeypatch.setattr(backoff_module, "BACKOFF_FIRST_S", first_s)
    monkeypatch.setattr(backoff_module, "STABLE_S", 100.0)
    chance = Impatient(0.001)

    async def lasts(connection: Connection) -> None:
        await connection.accept()
        monkeypatch.setattr(backoff_module, "STABLE_S", 0.0)  # so that it is longer than that

    async def ends(connection: Connection) -> None:
        await connection.accept()

    async def refuses(connection: Connection) -> None:
        return

    async def work() -> None:
        async with ScriptedBroker(refuses, ends, ends, refuses, lasts, properly).running() as broker:
            peer = Peer(broker.url, chance=chance)
            async with peer.running():
                await until(lambda: peer.connections == 4)

    play(work)
    assert chance.asked == [(0, bound * first_s) for bound in (1, 2, 4, 4, 1)]


# Stopped at any moment -----------------------------------------------------------------------------------------------


async def silent(connection: Connection) -> None:
    """Accept the connection and never say anything."""
    await connection.reader.read()


@pytest.mark.parametrize("delay_s", [0.0, 0.005, 0.1])
@pytest.mark.parametrize("behaviour", [None, silent, properly], ids=["absent", "silent", "there"])
@pytest.mark.parametrize("how", ["stop", "cancel"])
def test_it_ends_at_once_whatever_it_is_doing(
    behaviour: Behaviour | None, how: str, delay_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "CONNECT_TIMEOUT_S", 10 * AT_ONCE_S)

    async def work() -> None:
        async with ScriptedBroker(behaviour or silent).running() as broker:
            # Where nobody listens it soon waits for longer than this test would.
            link = Link(
                broker.url if behaviour else dead_url(),
                "x",
                on_message=lambda *_: None,
                chance=Impatient(10 * AT_ONCE_S),
            )
            task = asyncio.get_running_loop().create_task(link.run())
            await asyncio.sleep(delay_s)
            if how == "stop":
                await link.stop()
                await asyncio.wait_for(task, AT_ONCE_S)
            else:
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert not link.connected
            assert not link.publish("a", b"")

    play(work)


def test_a_link_that_was_stopped_before_it_began_does_not_begin() -> None:
    async def work() -> None:
        async with ScriptedBroker(properly).running() as broker:
            link = Link(broker.url, "x", on_message=lambda *_: None)
            await link.stop()
            await asyncio.wait_for(link.run(), AT_ONCE_S)
            assert broker.count == 0

    play(work)


def test_stop_says_goodbye_to_the_broker() -> None:
    packets: list[int] = []

    async def notes(connection: Connection) -> None:
        await connection.accept()
        while True:
            packets.append((await connection.read())[0] >> 4)

    async def work() -> None:
        async with ScriptedBroker(notes).running() as broker:
            peer = Peer(broker.url)
            task = asyncio.get_running_loop().create_task(peer.link.run())
            await until(lambda: peer.link.connected)
            await peer.link.stop()
            await task
            await until(lambda: packets)
            assert packets == [DISCONNECT]

    play(work)


# Refused -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1, "protocol"),
        (2, "identifier"),
        (3, "unavailable"),
        (4, "user name or password"),
        (5, "authorized"),
        (77, ""),
    ],
)
def test_a_refusal_is_told_and_tried_again(code: int, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    async def refuses(connection: Connection) -> None:
        await connection.read()
        connection.writer.write(bytes([0x20, 2, 0, code]))
        await connection.reader.read()

    async def work() -> None:
        async with ScriptedBroker(*[refuses] * 3, properly).running() as broker, Peer(broker.url).running() as peer:
            assert (peer.connections, broker.count) == (1, 4)
            assert peer.losses == []

    play(work)
    (line,) = warnings(caplog)
    # Of code 1 paho tells only that the protocol was at fault.
    assert "ended before it was accepted" in line if code == 1 else "refused the connection" in line
    assert reason in line.lower()


# Nonsense ------------------------------------------------------------------------------------------------------------


def says(content: bytes, *, first: bool = True, stays: bool = True) -> Behaviour:
    """Say `content` at once or after CONNACK, then go or keep silent."""

    async def behaviour(connection: Connection) -> None:
        if not first:
            await connection.accept()
        connection.writer.write(content)
        await connection.writer.drain()
        if stays:
            await connection.reader.read()

    return behaviour


_chance = random.Random(5)
GARBAGE = {
    "nothing": b"",
    "http": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    "zeros": bytes(1000),
    "ones": b"\xff" * 1000,
    "endless length": b"\x20\xff\xff\xff\xff\xff\xff",
    "huge length": b"\x30\xff\xff\xff\x7f" + bytes(100_000),
    "short connack": b"\x20\x01\x00",
    "long connack": b"\x20\x03\x00\x00\x00",
    "half a connack": CONNACK[:3],
    "noise": _chance.randbytes(5000),
}


@pytest.mark.parametrize("stays", [False, True], ids=["goes", "stays"])
@pytest.mark.parametrize("name", GARBAGE)
def test_a_server_that_is_no_broker_is_left_and_tried_again(
    name: str, stays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "CONNECT_TIMEOUT_S", 0.3)

    class ThenPatient(Impatient):
        """The broker that comes second may take its time."""

        def uniform(self, a: float, b: float) -> float:
            monkeypatch.setattr(link_module, "CONNECT_TIMEOUT_S", PATIENCE_S)
            return super().uniform(a, b)

    async def work() -> None:
        behaviours = (says(GARBAGE[name], stays=stays), properly)
        async with (
            ScriptedBroker(*behaviours).running() as broker,
            Peer(broker.url, chance=ThenPatient()).running() as peer,
        ):
            assert peer.connections == 1
            assert broker.count == 2

    play(work)


#: Packets that no broker may send, or not like this.
MALFORMED = {
    "publish without topic": packet(0x30, b""),
    "publish with half a size": packet(0x30, b"\x00"),
    "publish shorter than its topic": packet(0x30, b"\x00\x09abc"),
    "publish with an empty topic": packet(0x30, b"\x00\x00abc"),
    "publish whose topic is not UTF-8": packet(0x30, b"\x00\x02\xff\xfeabc"),
    "QoS 1 publish without number": packet(0x32, b"\x00\x01a"),
    "QoS 1 publish whose topic is not UTF-8": packet(0x32, b"\x00\x02\xff\xfe\x00\x01abc"),
    "QoS 3 publish": packet(0x36, b"\x00\x01a\x00\x01"),
    "empty puback": packet(0x40, b""),
    "puback of nothing": packet(0x40, b"\x12\x34"),
    "empty suback": packet(0x90, b""),
    "suback with an unknown code": packet(0x90, b"\x00\x01\x55"),
    "empty unsuback": packet(0xB0, b""),
    "pubrec": packet(0x50, b"\x00\x01"),
    "empty pubrec": packet(0x50, b""),
    "empty pubrel": packet(0x62, b""),
    "empty pubcomp": packet(0x70, b""),
    "long pingresp": packet(0xD0, b"\x00"),
    "a second connack": CONNACK,
    "a late refusal": b"\x20\x02\x00\x05",
    "a late downgrade": b"\x20\x02\x00\x01",
    "connect": packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"),
    "disconnect": packet(0xE0, b""),
    "reserved type": packet(0xF0, b"??"),
    "type 0": packet(0x00, b"??"),
    "endless length": b"\x30\xff\xff\xff\xff\xff\xff",
    "huge length": b"\x30\xff\xff\xff\x7f" + bytes(100_000),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_packet_is_survived(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """The connection may stay or be given up; either way messages come in again, and nothing escapes to the loop."""

    async def speaks(connection: Connection) -> None:
        await connection.accept()
        if broker.count == 1:
            connection.writer.write(MALFORMED[name])
        connection.writer.write(publish_packet("fine", b"x"))
        await connection.serve()

    broker = ScriptedBroker(speaks)

    async def work() -> None:
        unhandled: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: unhandled.append(context))
        async with broker.running():
            peer = Peer(broker.url, keepalive_s=1)
            async with peer.running(connected=False):
                await until(lambda: peer.payloads("fine"))
                assert all(payload == b"x" for payload in peer.payloads("fine"))
                await until(lambda: peer.link.connected)
                await peer.settle()
        assert unhandled == []

    play(work)
    assert "Traceback" not in caplog.text


def test_packets_of_every_type_with_noise_inside_are_survived() -> None:
    chance = random.Random(11)

    async def speaks(connection: Connection) -> None:
        await connection.accept()
        if broker.count < 60:
            for _ in range(chance.randrange(1, 30)):
                first = chance.choice((0x30, 0x31, 0x32, chance.randrange(256)))
                connection.writer.write(packet(first, chance.randbytes(chance.choice((0, 1, 2, 3, 9, 300)))))
        await connection.serve()

    broker = ScriptedBroker(speaks)

    async def work() -> None:
        unhandled: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: unhandled.append(context))
        async with broker.running():
            peer = Peer(broker.url, chance=Impatient(0.001))
            async with peer.running(connected=False):
                # A connection that took the noise is ended from the other side.
                while broker.count < 60:
                    await asyncio.sleep(0.03)
                    for connection in list(broker.open):
                        connection.writer.transport.abort()
                await until(lambda: peer.link.connected)
                await peer.settle()
        assert unhandled == []

    play(work)


def test_packets_cut_anywhere_are_put_together() -> None:
    """TCP keeps no borders: each message here comes in pieces of one to three bytes, many at once at the end."""
    messages = [publish_packet(f"t{number}", b"%d" % number * (number * 7), 0x30 + number % 2) for number in range(60)]

    async def dribbles(connection: Connection) -> None:
        await connection.accept()
        content, at = b"".join(messages[:20]), 0
        for step in itertools.cycle((1, 2, 3)):
            connection.writer.write(content[at : at + step])
            await asyncio.sleep(0)
            at += step
            if at >= len(content):
                break
        connection.writer.write(b"".join(messages[20:]))
        await connection.serve()

    async def work() -> None:
        async with ScriptedBroker(dribbles).running() as broker, Peer(broker.url).running() as peer:
            await until(lambda: len(peer.received) == 60)
            for number, message in enumerate(peer.received):
                assert message == (f"t{number}", b"%d" % number * (number * 7), bool(number % 2))

    play(work)


# Silent --------------------------------------------------------------------------------------------------------------


def test_a_broker_that_says_nothing_at_all_is_given_up() -> None:
    async def accepts(connection: Connection) -> None:
        await connection.accept()
        await connection.reader.read()

    async def work() -> None:
        async with ScriptedBroker(accepts, properly).running() as broker:
            peer = Peer(broker.url, keepalive_s=1)
            async with peer.running(connected=False):
                await until(lambda: peer.connections == 2)
                assert peer.losses == ["nothing came from the broker for 2 s"]

    play(work)


def test_whatever_comes_shows_that_the_broker_lives() -> None:
    """A broker with much to say answers a ping late: behind all that it has to say."""
    pings: list[float] = []
    lateness = Lateness()

    async def talks(connection: Connection) -> None:
        await connection.accept()
        while True:
            connection.writer.write(publish_packet("a", b"x"))
            try:
                first, _ = await asyncio.wait_for(connection.read(), 0.1)
            except asyncio.TimeoutError:
                continue
            if first >> 4 == PINGREQ:
                pings.append(asyncio.get_running_loop().time())

    async def work() -> None:
        async with ScriptedBroker(talks).running() as broker:
            peer = Peer(broker.url, keepalive_s=1)
            async with lateness.measured(), peer.running(connected=False):
                await until(lambda: len(pings) >= 3)
                assert peer.losses == []
                assert len(peer.received) > 20

    play(work)
    # A broker gives up a client from which it has heard nothing for one and a half keepalives.
    assert max(after - before for before, after in itertools.pairwise(pings)) < 1.6 + 2 * lateness.most_s


# Beginning and end of a connection -----------------------------------------------------------------------------------


def test_what_is_published_after_the_connection_broke_is_not_accepted() -> None:
    """Before the loop has had its turn to find out: the write itself tells."""

    async def work() -> None:
        async with ScriptedBroker(properly).running() as broker, Peer(broker.url).running() as peer:
            for connection in list(broker.open):
                connection.writer.transport.abort()
            await asyncio.sleep(0)
            answers = []
            for _ in range(200):
                answers.append(peer.link.publish("a", b"x", qos=1))
                await asyncio.sleep(0)
            assert not answers[-1]
            await until(lambda: peer.connections == 2 and peer.link.connected)
            await peer.settle()

    play(work)


def test_connect_is_the_first_thing_said() -> None:
    said: list[int] = []

    async def notes(connection: Connection) -> None:
        said.append((await connection.read())[0] >> 4)
        connection.writer.write(CONNACK)
        said.append((await connection.read())[0] >> 4)

    async def work() -> None:
        async with ScriptedBroker(notes).running() as broker:
            peer = Peer(broker.url, filters=("a",))
            async with peer.running(connected=False):
                await until(lambda: len(said) >= 2)
                assert said[:2] == [CONNECT, 8], "the owner subscribes as soon as it is connected"

    play(work)
