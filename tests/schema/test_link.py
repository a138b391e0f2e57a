"""The link on a real broker: it comes back, restates nothing by itself, and delivers in order."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from convoy_schema.errors import LinkError, TooLargeError
from convoy_schema.link import MAX_PACKET, Link, parse_url
from link_bench import Peer, play, until
from mosquitto_process import MosquittoProcess
from patience import PATIENCE_S


def test_what_is_published_arrives(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with Peer(broker.url, filters=("a/+",)).running() as peer:
            assert peer.link.publish("a/0", b"zero")
            assert peer.link.publish("a/1", b"\x00" * 9, qos=1)
            assert peer.link.publish("a/2", b"")
            assert peer.link.publish("b/0", b"not asked for")
            await until(lambda: len(peer.received) == 3)
            assert sorted(peer.received) == [("a/0", b"zero", False), ("a/1", bytes(9), False), ("a/2", b"", False)]

    play(work)


def test_the_retained_flag_says_whether_a_message_waited(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with Peer(broker.url, "early", filters=("state", "other")).running() as early:
            early.link.publish("state", b"on", qos=1, retain=True)
            early.link.publish("other", b"on", retain=True)
            await early.settle()
            async with Peer(broker.url, "late", filters=("state", "other")).running() as late:
                await until(lambda: len(late.received) == 2)
                assert sorted(late.received) == [("other", b"on", True), ("state", b"on", True)]
            await until(lambda: len(early.received) == 2)
            assert sorted(early.received) == [("other", b"on", False), ("state", b"on", False)]

    play(work)


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="only Linux says what a round trip takes")
def test_it_knows_the_round_trip_while_it_is_connected(broker: MosquittoProcess) -> None:
    async def work() -> None:
        peer = Peer(broker.url, filters=("a",))
        assert peer.link.round_trip_us == 0
        async with peer.running():
            assert 0 < peer.link.round_trip_us < 1_000_000

    play(work)


def test_a_filter_can_be_given_up(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with Peer(broker.url, filters=("a", "b")).running() as peer:
            peer.link.unsubscribe("a")
            await peer.settle()
            for topic in "ab":
                peer.link.publish(topic, b"x", qos=1)
            await until(lambda: peer.received)
            await peer.settle()
            assert peer.received == [("b", b"x", False)]

    play(work)


def test_it_comes_back_after_the_broker_was_killed(broker: MosquittoProcess) -> None:
    async def work() -> None:
        # Its own chance: the waits between attempts are those of a board (test_backoff.py bounds them).
        async with Peer(broker.url, filters=("a",), chance=random.Random(1)).running() as peer:
            broker.stop()
            await until(lambda: peer.losses)
            assert not peer.link.connected
            assert not peer.link.publish("a", b"lost", qos=1)
            assert not peer.link.publish("a", b"lost")
            assert peer.link.dropped == 2
            peer.link.subscribe("b")  # has no effect, and does no harm
            broker.start()
            tried = peer.link.attempts
            await until(lambda: peer.connections == 2)
            assert peer.link.attempts <= tried + 1, "the first attempt that finds it is the last"
            await peer.settle()
            peer.link.publish("a", b"again", qos=1)
            await until(lambda: peer.received)
            assert peer.received == [("a", b"again", False)]
            assert len(peer.losses) == 1

    play(work)


def test_nothing_of_an_older_connection_is_sent_again(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with Peer(broker.url, filters=("old", "new")).running() as peer:
            for number in range(300):
                assert peer.link.publish("old", b"%d" % number, qos=1)
            broker.stop()
            await until(lambda: peer.losses)
            peer.received.clear()
            broker.start()
            await until(lambda: peer.connections == 2)
            peer.link.publish("new", b"", qos=1)
            await until(lambda: peer.payloads("new"))
            await asyncio.sleep(0.2)
            assert peer.payloads("old") == []

    play(work)


def test_it_survives_many_restarts_of_the_broker(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with Peer(broker.url, filters=("a",)).running() as peer:
            for restart in range(2, 6):
                broker.stop()
                broker.start()
                await until(lambda: peer.connections >= restart and peer.link.connected)  # noqa: B023
                await peer.settle()
            peer.received.clear()
            peer.link.publish("a", b"x", qos=1)
            await until(lambda: peer.received)
            assert len(peer.losses) == peer.connections - 1

    play(work)


def test_a_silent_broker_is_noticed_by_its_missing_pings(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with Peer(broker.url, keepalive_s=1).running() as peer:
            await asyncio.sleep(2.2)
            assert peer.losses == [], "an idle connection is kept"
            assert broker._process is not None
            broker._process.send_signal(signal.SIGSTOP)
            try:
                await until(lambda: peer.losses)
                assert peer.losses == ["nothing came from the broker for 2 s"]
            finally:
                broker._process.send_signal(signal.SIGCONT)
            await until(lambda: peer.connections >= 2)

    play(work)


def test_nagle_is_off(broker: MosquittoProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []
    create = socket.create_connection

    def noted(*arguments: Any, **options: Any) -> socket.socket:
        made.append(create(*arguments, **options))
        return made[-1]

    async def work() -> None:
        async with Peer(broker.url).running() as peer:
            assert peer.link.connected
            (sock,) = made
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.gettimeout() == 0

    monkeypatch.setattr(socket, "create_connection", noted)
    play(work)


# Sizes and numbers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("qos", [0, 1])
def test_the_largest_message_passes_and_a_larger_one_is_refused_before_it_is_sent(
    broker: MosquittoProcess, qos: int
) -> None:
    async def work() -> None:
        async with Peer(broker.url, filters=("large", "after")).running() as peer:
            sizes = [900_000]
            low, high = 900_000, MAX_PACKET + 1
            while high - low > 1:  # the largest that is let through must be one that the broker takes
                middle = (low + high) // 2
                try:
                    assert peer.link.publish("large", bytes(middle), qos=qos)
                    low = middle
                    sizes.append(middle)
                except TooLargeError:
                    high = middle
                await peer.settle()
            assert low > MAX_PACKET - 100
            peer.link.publish("after", b"x", qos=qos)
            await until(lambda: peer.payloads("after"))
            assert list(map(len, peer.payloads("large"))) == sizes[1:]
            assert peer.connections == 1

    play(work)


def test_a_long_topic_counts_too() -> None:
    link = Link("mqtt://127.0.0.1", "x", on_message=lambda *_: None)
    with pytest.raises(TooLargeError, match=f"at most {MAX_PACKET} may be published"):
        link.publish("t" * 60_000, bytes(MAX_PACKET - 60_000))
    assert not link.publish("t", bytes(1000)), "there is no connection"


def test_thousands_of_frames_stay_in_order(broker: MosquittoProcess) -> None:
    """Of every size that a buffer's edge could cut: each carries its number and its length."""
    count, window = 4000, 100
    sizes = [random.Random(number).choice((0, 1, 100, 1000, 4095, 4096, 20_000)) for number in range(count)]
    sizes[1000:1010] = [127, 128, 16_383, 16_384, 65_536, 131_072, 262_144, 131_071, 0, 1]

    async def work() -> None:
        async with Peer(broker.url, filters=("frame",)).running() as peer:
            sent = 0

            def send() -> None:
                nonlocal sent
                if sent < count:
                    body = b"%05d" % sent + bytes([sent % 256]) * sizes[sent]
                    sent += 1
                    assert peer.link.publish("frame", body)

            peer.on_message = lambda topic, payload, retained: send()
            for _ in range(window):
                send()
            await until(lambda: len(peer.payloads("frame")) >= count)
            for number, payload in enumerate(peer.payloads("frame")):
                assert payload == b"%05d" % number + bytes([number % 256]) * sizes[number]

    play(work)


def test_messages_of_both_qualities_arrive_whole_and_each_in_order(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with Peer(broker.url, filters=("q0", "q1")).running() as peer:
            for number in range(500):
                assert peer.link.publish("q0", b"%d" % number)
                assert peer.link.publish("q1", b"%d" % number, qos=1)
            await until(lambda: len(peer.received) == 1000)
            assert peer.payloads("q0") == peer.payloads("q1") == [b"%d" % number for number in range(500)]

    play(work)


def test_answers_of_the_broker_are_counted(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with Peer(broker.url).running() as peer:
            before = peer.link.round_trips
            for _ in range(50):
                peer.link.publish("a", b"", qos=1)
            await until(lambda: peer.link.round_trips == before + 50)

    play(work)


def test_pings_are_answered_and_attempts_counted(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with Peer(broker.url, keepalive_s=1).running() as peer:
            assert peer.link.attempts == 1
            before = peer.link.round_trips
            await until(lambda: peer.link.round_trips >= before + 2)
            broker.stop()
            await until(lambda: not peer.link.connected)
            answered, tried = peer.link.round_trips, peer.link.attempts
            await until(lambda: peer.link.attempts >= tried + 2)
            assert peer.link.round_trips == answered

    play(work)


# Ends ----------------------------------------------------------------------------------------------------------------


def test_stop_sends_what_is_queued_and_no_will(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with Peer(broker.url, "watcher", filters=("a", "will")).running() as watcher:
            async with Peer(broker.url, will=("will", b"dead")).running() as peer:
                for number in range(500):
                    assert peer.link.publish("a", b"%d" % number, qos=1)
                assert peer.link.publish("a", b"last")
                await peer.link.stop()
            await until(lambda: len(watcher.payloads("a")) == 501)
            await asyncio.sleep(0.1)
            assert watcher.payloads("will") == []
            assert not peer.link.connected

    play(work)


def test_stop_sends_large_messages_too(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with Peer(broker.url, "watcher", filters=("a",)).running() as watcher:
            async with Peer(broker.url).running() as peer:
                for number in range(8):
                    assert peer.link.publish("a", bytes([number]) * 800_000)
            await until(lambda: len(watcher.received) == 8)
            assert watcher.payloads("a") == [bytes([number]) * 800_000 for number in range(8)]

    play(work)


_DOOMED = """
import asyncio, sys
from convoy_schema.link import Link
here = lambda: print("here", flush=True)
link = Link(sys.argv[1], "doomed", on_message=print, on_connect=here, will=("will", b"gone"))
asyncio.run(link.run())
"""


def test_the_broker_says_so_when_a_process_is_killed(broker: MosquittoProcess, tmp_path: Path) -> None:
    async def work() -> None:
        async with Peer(broker.url, filters=("will",)).running() as peer:
            doomed = subprocess.Popen([sys.executable, "-c", _DOOMED, broker.url], stdout=subprocess.PIPE)
            try:
                assert doomed.stdout is not None
                with doomed.stdout as output:
                    assert await asyncio.to_thread(output.readline) == b"here\n"
                await peer.settle()
                assert peer.received == []
                doomed.send_signal(signal.SIGKILL)
                await until(lambda: peer.received)
                assert peer.received == [("will", b"gone", False)]
            finally:
                doomed.kill()
                await asyncio.to_thread(doomed.wait)
            async with Peer(broker.url, "late", filters=("will",)).running() as late:
                await until(lambda: late.received)
                assert late.received == [("will", b"gone", True)]

    play(work)


def test_a_cancelled_link_leaves_its_will(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with Peer(broker.url, "watcher", filters=("will",)).running() as watcher:
            peer = Peer(broker.url, will=("will", b"gone"))
            task = asyncio.get_running_loop().create_task(peer.link.run())
            await until(lambda: peer.link.connected)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not peer.link.connected
            assert len(peer.losses) == 1
            await until(lambda: watcher.received)

    play(work)


def test_callbacks_that_raise_do_not_end_the_link(broker: MosquittoProcess, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError(f"of the owner's own making: {arguments}")

    async def work() -> None:
        link = Link(broker.url, "x", on_message=fail, on_connect=fail, on_disconnect=fail)
        task = asyncio.get_running_loop().create_task(link.run())
        await until(lambda: link.connected)
        link.subscribe("a")
        for _ in range(3):
            link.publish("a", b"x", qos=1)
        await until(lambda: caplog.text.count("a callback of the link failed") == 4)
        assert link.connected
        await link.stop()
        await asyncio.wait_for(task, PATIENCE_S)

    play(work)
    assert caplog.text.count("RuntimeError: of the owner's own making") == 5


# Addresses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://broker", ("broker", 1883)),
        ("mqtt://broker:1884", ("broker", 1884)),
        ("mqtt://10.0.0.1:65535", ("10.0.0.1", 65535)),
        ("mqtt://[::1]:1884", ("::1", 1884)),
    ],
)
def test_addresses(url: str, expected: tuple[str, int]) -> None:
    assert parse_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        *("mqtt://[x]", "mqtt://\u2100" * 900, "x" * 9000),
        *("", "broker", "broker:1883", "http://broker", "mqtt://", "mqtts://", "mqtt://:1883"),
        *(
            "mqtt://broker:x",
            "mqtt://broker:65536",
            "mqtt://broker:-1",
            "mqtt://[::1",
            "mqtt://a..b",
            "mqtt://" + "a" * 99,
        ),
    ],
)
def test_what_is_no_address_is_a_link_error_that_shows_the_form(url: str) -> None:
    with pytest.raises(LinkError, match="mqtt://host:port") as caught:
        parse_url(url)
    assert len(str(caught.value)) < 600
