"""The link over TLS, on a real Mosquitto with the shipped configuration: the same promises, and clear refusals."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import ssl
import time
from datetime import timedelta
from pathlib import Path

import pytest
from convoy_controller.enrollment.authority import Authority
from convoy_schema.credentials import TimeFloor
from convoy_schema.errors import LinkError
from convoy_schema.link import Link, parse_url
from cryptography import x509
from link_bench import Peer, play, until
from mosquitto_process import MosquittoProcess
from tls_broker import DAY, Guarded, board_certificate, utc_now

FRAMES = "convoy/1/main/from/board-1/to/board-2/d/1-1/0"
PULSE = "convoy/1/main/boards/board-1/pulse"


def peer(broker: Guarded, name: str, *filters: str, identity: Path | None = None, **options: object) -> Peer:
    credentials = broker.credentials(identity or broker.identity(name))
    for key in ("floor", "clock", "server_name"):
        if key in options:
            object.__setattr__(credentials, key, options[key])
    url = str(options.get("url", broker.url))
    return Peer(url, name, filters=filters, credentials=credentials)


async def reason(one: Peer) -> str:
    """Why it does not connect."""
    task = asyncio.get_running_loop().create_task(one.link.run())
    try:
        await until(lambda: one.link._loss)
        assert one.connections == 0
        return one.link._loss
    finally:
        await one.link.stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_frames_of_every_size_arrive_whole_and_in_order(guarded: Guarded) -> None:
    count, window = 1500, 40
    sizes = [random.Random(number).choice((0, 1, 100, 1000, 4095, 4096, 16_384, 20_000)) for number in range(count)]
    sizes[500:506] = [262_144, 131_072, 0, 65_536, 262_144, 1]

    async def work() -> None:
        async with peer(guarded, "board-1").running() as one, peer(guarded, "board-2", FRAMES).running() as two:
            sent = 0

            def send() -> None:
                nonlocal sent
                if sent < count:
                    assert one.link.publish(FRAMES, b"%05d" % sent + bytes([sent % 256]) * sizes[sent])
                    sent += 1

            two.on_message = lambda *_: send()
            for _ in range(window):
                send()
            await until(lambda: len(two.received) >= count)
            for number, payload in enumerate(two.payloads(FRAMES)):
                assert payload == b"%05d" % number + bytes([number % 256]) * sizes[number]
            assert one.connections == two.connections == 1

    play(work)


def test_nagle_is_off_and_the_newest_tls_is_spoken(guarded: Guarded) -> None:
    async def work() -> None:
        async with peer(guarded, "board-1").running() as one:
            sock = one.link._socket
            assert sock is not None
            assert sock._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock._sock.gettimeout() == 0
            assert sock.version == "TLSv1.3"  # type: ignore[attr-defined]

    play(work)


def test_a_loaded_socket_delays_nothing_for_ever(guarded: Guarded) -> None:
    """More than the kernel takes at once, with QoS 1 in between: partial writes, and all of it arrives."""

    async def work() -> None:
        async with peer(guarded, "board-1").running() as one, peer(guarded, "board-2", FRAMES).running() as two:
            for number in range(50):
                assert one.link.publish(FRAMES, bytes([number]) * 250_000)
                assert one.link.publish(FRAMES, bytes([number]), qos=1)
            assert one.link.is_congested or one.link._socket.unsent_bytes > 0  # type: ignore[union-attr]
            await until(lambda: len(two.received) == 100)
            large = [payload for payload in two.payloads(FRAMES) if len(payload) > 1]
            assert large == [bytes([number]) * 250_000 for number in range(50)]
            assert not one.link.is_congested

    play(work)


def test_a_renewed_certificate_is_used_from_the_next_connection_on(guarded: Guarded) -> None:
    async def work() -> None:
        identity = guarded.identity("board-1")
        async with peer(guarded, "board-1", identity=identity).running() as one:
            first = x509.load_pem_x509_certificate(identity.read_bytes())
            guarded.identity("board-1")  # the same file
            guarded.write_revocations()
            guarded.stop()
            revoked = f"{first.serial_number:x}"
            (guarded.directory / "crl.pem").write_bytes(guarded.authority.revocations([revoked], utc_now()))
            guarded.start()  # lets in nobody who still shows the first
            await until(lambda: one.connections == 2)

    play(work)


def test_a_connection_outlives_the_certificate_it_began_with(guarded: Guarded) -> None:
    """So that renewing needs no new connection: nothing is dropped."""

    async def work() -> None:
        life = timedelta(seconds=5)
        watcher = peer(guarded, "controller", PULSE)
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(watcher.running())
            # Only now, so that all of its life is for one connection.
            identity = guarded.identity("board-1", now=utc_now(), life=life)
            ends = time.monotonic() + life.total_seconds()
            one = await stack.enter_async_context(peer(guarded, "board-1", identity=identity).running())
            await asyncio.sleep(ends - time.monotonic() + 0.5)
            assert one.link.publish(PULSE, b"still here")
            await until(lambda: watcher.payloads(PULSE) == [b"still here"])
            assert one.connections == 1
        assert "our certificate has expired" in await reason(peer(guarded, "board-1", identity=identity))

    play(work)


# Refusals ------------------------------------------------------------------------------------------------------------


def test_each_refusal_is_one_line_that_says_what_to_do(guarded: Guarded) -> None:
    foreign = Authority.create("foreign", utc_now())
    revoked = guarded.identity("board-8")
    guarded.write_revocations(revoked)
    guarded.reload()

    async def work() -> None:
        stranger = guarded.identity("board-1", file="stranger", authority=foreign)
        assert "of another CA than the peer's" in await reason(peer(guarded, "board-1", identity=stranger))
        assert "was revoked: ask the fleet's owner" in await reason(peer(guarded, "board-8", identity=revoked))
        old = guarded.identity("board-9", now=utc_now() - 9 * DAY, life=8 * DAY)
        assert "has expired: renew it" in await reason(peer(guarded, "board-9", identity=old))
        missing = guarded.directory / "missing.pem"
        assert f"{missing} cannot be read" in await reason(peer(guarded, "board-1", identity=missing))
        named = peer(guarded, "board-1", server_name="elsewhere.example")
        assert "or set server_name to one" in await reason(named)

    play(work)


def test_the_reason_is_logged_once(guarded: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    revoked = guarded.identity("board-8")
    guarded.write_revocations(revoked)
    guarded.reload()

    async def work() -> None:
        one = peer(guarded, "board-8", identity=revoked)
        task = asyncio.get_running_loop().create_task(one.link.run())
        await until(lambda: len(one.chance.asked) > 20)  # type: ignore[attr-defined]
        await one.link.stop()
        await task

    with caplog.at_level(logging.WARNING):
        play(work)
    lines = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 1, lines
    assert "our certificate was revoked" in lines[0]


def test_plain_mqtt_at_the_encrypted_port_and_the_other_way_round(guarded: Guarded, broker: MosquittoProcess) -> None:
    async def work() -> None:
        plain = Peer(guarded.url.replace("mqtts", "mqtt"), "board-1")
        assert await reason(plain)
        one = peer(guarded, "board-1", url=broker.url.replace("mqtt", "mqtts"))
        assert "perhaps it is the port for mqtt://" in await reason(one)

    play(work)


def test_encryption_is_neither_assumed_nor_forgotten(guarded: Guarded) -> None:
    credentials = guarded.credentials(guarded.identity("board-1"))
    with pytest.raises(LinkError, match="needs a CA, a certificate and a key"):
        Link(guarded.url, "x", on_message=lambda *_: None)
    with pytest.raises(LinkError, match="is not encrypted, but there are certificates"):
        Link("mqtt://127.0.0.1", "x", on_message=lambda *_: None, credentials=credentials)
    assert parse_url("mqtts://broker") == ("broker", 8883)


# Time ----------------------------------------------------------------------------------------------------------------


def test_a_board_that_believes_in_1970_connects_and_learns(guarded: Guarded, tmp_path: Path) -> None:
    async def work() -> None:
        floor = TimeFloor(tmp_path / "floor")
        async with peer(guarded, "board-1", floor=floor, clock=lambda: 12.0).running():
            assert abs(floor.seconds - time.time()) < 600, "from the certificates, as old as this test"
        assert TimeFloor(tmp_path / "floor").seconds == floor.seconds

    play(work)


def test_a_broker_past_its_date_is_refused_whatever_the_clock_says(guarded: Guarded, tmp_path: Path) -> None:
    old = guarded.authority.issue("broker", ("127.0.0.1",), utc_now() - 9 * DAY, 8 * DAY)
    (guarded.directory / "broker.pem").write_bytes(old.pem())
    guarded.reload()  # Mosquitto reads its certificate anew

    async def work() -> None:
        for clock in (time.time, lambda: 12.0):
            floor = TimeFloor(tmp_path / "floor")
            sentence = await reason(peer(guarded, "board-1", floor=floor, clock=clock))
            assert "the peer's certificate (broker) expired on" in sentence

    play(work)


def test_a_clock_far_ahead_refuses_and_raises_no_floor(guarded: Guarded, tmp_path: Path) -> None:
    async def work() -> None:
        floor = TimeFloor(tmp_path / "floor")
        later = time.time() + 10 * 365 * 86_400
        sentence = await reason(peer(guarded, "board-1", floor=floor, clock=lambda: later))
        assert "by this machine's clock: renew it, or set this clock right" in sentence
        assert floor.seconds < time.time()
        async with peer(guarded, "board-1", floor=floor).running():
            pass  # it was only the clock

    play(work)


def test_a_start_in_the_future_proves_that_the_clock_is_behind(guarded: Guarded) -> None:
    credentials = guarded.credentials(guarded.identity("board-1"))
    object.__setattr__(credentials, "clock", lambda: 100.0)
    issued = board_certificate(guarded.authority, "board-2", utc_now() + DAY)
    credentials.check_dates(ssl.PEM_cert_to_DER_cert(issued.pem().decode().partition("-----END PRIVATE KEY-----\n")[2]))
    assert credentials.floor.seconds > time.time() + 80_000
