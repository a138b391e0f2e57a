"""The gateway's HTTP/1.1: answers in one piece, requests that offer another protocol, and heads without an end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from convoy_controller.gateway.http_protocol import MAX_HEAD, JoinedTransport
from convoy_controller.gateway.server import serving
from patience import PATIENCE_S
from starlette.types import Receive, Scope, Send


class Wire(asyncio.Transport):
    """What was sent, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__({"peername": ("there", 80)})
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed, "written behind the end"
        self.sent.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def test_what_is_written_in_one_turn_is_sent_as_one_piece() -> None:
    async def work() -> None:
        wire = Wire()
        transport = JoinedTransport(wire, asyncio.get_running_loop())
        transport.write(b"head ")
        transport.write(b"body")
        assert wire.sent == []
        await asyncio.sleep(0)
        transport.write(b"next")
        await asyncio.sleep(0)
        assert wire.sent == [b"head body", b"next"]

    asyncio.run(work())


def test_closing_sends_what_was_written_and_nothing_after_it() -> None:
    async def work() -> None:
        wire = Wire()
        transport = JoinedTransport(wire, asyncio.get_running_loop())
        transport.write(b"last")
        transport.close()
        transport.write(b"too late")
        await asyncio.sleep(0)
        assert (wire.sent, wire.closed) == ([b"last"], True)

    asyncio.run(work())


def test_whatever_else_is_asked_of_it_is_the_transports_own() -> None:
    async def work() -> None:
        transport = JoinedTransport(Wire(), asyncio.get_running_loop())
        assert transport.get_extra_info("peername") == ("there", 80)
        assert not transport.is_closing()

    asyncio.run(work())


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers with method, path and body."""
    body, is_more = b"", True
    while is_more:
        message = await receive()
        body, is_more = body + message.get("body", b""), message.get("more_body", False)
    content = b"%s %s %s" % (scope["method"].encode(), scope["path"].encode(), body)
    length = [(b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": content})


async def _talk(pieces: Sequence[bytes], pause_s: float = 0.05) -> bytes:
    """What a server answers to these pieces, sent one after the other, until it or we close."""
    async with serving(_echo, "127.0.0.1", 0) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rsplit(":", 1)[1]))
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(pause_s)
        answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
        writer.close()
        return answer


def talk(*pieces: bytes) -> bytes:
    return asyncio.run(_talk(pieces))


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
FIRST = b"POST /one HTTP/1.1\r\nHost: x\r\n%sContent-Length: 5\r\n\r\n" % UPGRADE
LAST = b"GET /two HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        (FIRST + b"hello" + LAST,),
        (FIRST, b"hello", LAST),
        (FIRST[:40], FIRST[40:] + b"he", b"llo" + LAST[:9], LAST[9:]),
    ],
)
def test_an_offer_of_another_protocol_is_passed_over(pieces: tuple[bytes, ...]) -> None:
    answer = talk(*pieces)
    assert answer.count(b"HTTP/1.1 200") == 2
    assert b"POST /one hello" in answer
    assert answer.endswith(b"GET /two ")


def test_so_is_one_with_a_body_in_chunks_and_one_after_the_other() -> None:
    chunked = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n%s\r\n3\r\nabc\r\n0\r\n\r\n" % UPGRADE
    asks = b"GET /g HTTP/1.1\r\nHost: x\r\n%s\r\n" % UPGRADE
    answer = talk(chunked + asks + asks + LAST)
    assert answer.count(b"HTTP/1.1 200") == 4
    assert b"POST /c abc" in answer


def test_what_else_the_connection_is_to_do_is_kept() -> None:
    closing = b"GET /g HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n"
    answer = talk(closing)  # it ends because the server closes
    assert answer.count(b"HTTP/1.1 200") == 1
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("size", [MAX_HEAD + 1, 4_000_000])
def test_a_head_without_an_end_is_refused(size: int) -> None:
    start = b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: "
    answer = talk(start, b"a" * size)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"head-too-large" in answer


def test_a_long_head_within_the_bound_and_a_long_body_are_taken() -> None:
    body = b"b" * (4 * MAX_HEAD)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nX-Long: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    answer = talk((head % (b"a" * (MAX_HEAD // 2), len(body))) + body)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(body)
