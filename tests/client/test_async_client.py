"""The asyncio client against real gateways, and against servers that are none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import convoy
import numpy as np
import pytest
from convoy import retry
from convoy.async_connections import AsyncGateway
from convoy.connections import BrokenConnectionError
from convoy_controller.gateway.session import Limits
from convoy_schema.names import Generation
from gateway_fleet import SiteThread
from mosquitto_process import MosquittoProcess
from patience import PATIENCE_S

PIXELS = np.random.default_rng(2).integers(0, 256, (4, 1, 28, 28)).astype(np.uint8)


def play(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 4 * PATIENCE_S))


@pytest.fixture(scope="module")
def site(module_broker: MosquittoProcess) -> Iterator[SiteThread]:
    with SiteThread(module_broker.url) as running:
        yield running


def test_it_answers_as_the_blocking_client_does(site: SiteThread) -> None:
    with convoy.connect(site.address) as blocking:
        expected = blocking.infer(PIXELS, priority=1)
        described = blocking.model()

    async def work() -> None:
        async with convoy.AsyncClient(site.address) as client:
            results = await asyncio.gather(*[client.infer(PIXELS, priority=n % 9) for n in range(60)])
            for result in results:
                np.testing.assert_array_equal(result.array, expected.array)
            assert (results[0].labels, results[0].generation) == (expected.labels, "1-1")
            assert await client.model("digits", "1") == described
            assert await client.models() == [("digits", "1")]
            while not await client.is_ready():  # while answers are overdue it may be in doubt
                await asyncio.sleep(0.05)
            with pytest.raises(convoy.UnknownModelError, match="cats is not served here"):
                await client.infer(PIXELS, "cats")
            with pytest.raises(convoy.InvalidInputError, match="a priority is a whole number from 0"):
                await client.infer(PIXELS, priority=-1)

    play(work)


def test_a_deadline_and_a_cancelled_call_leave_it_usable(site: SiteThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "SLACK_S", PATIENCE_S)  # the gateway says it first, however busy the machine is

    async def work() -> None:
        async with convoy.AsyncClient([site.address], timeout_s=PATIENCE_S) as client:
            await client.infer(PIXELS)
            site.call(lambda: site.site.fleet.silent.add(Generation(1, 1)))
            try:
                with pytest.raises(convoy.DeadlineExceededError, match="no answer from shop"):
                    await client.infer(PIXELS, timeout_s=0.2)
                waiting = asyncio.ensure_future(client.infer(PIXELS))
                await asyncio.sleep(0.1)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            finally:
                site.call(site.site.fleet.silent.clear)
            assert len(await client.infer(PIXELS)) == 4

    play(work)


def test_another_gateway_takes_over_and_overload_is_waited_out(broker: MosquittoProcess) -> None:
    with SiteThread(broker.url, "gateway-a", Limits(rows=8)) as one:

        async def work() -> None:
            async with convoy.AsyncClient(["http://127.0.0.1:1", one.address], timeout_s=PATIENCE_S) as client:
                one.call(lambda: setattr(one.site.fleet, "thinking_s", 0.01))
                results = await asyncio.gather(*[client.infer(PIXELS) for _ in range(12)])
                assert {result.gateway for result in results} == {one.address}
                dead, alive = await client.gateways()
                assert (dead.is_ready, alive.is_ready, alive.reason) == (False, True, "")
                assert "refused" in dead.reason
                assert "ready" in client._repr_html_()

        play(work)


@asynccontextmanager
async def served_by(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A server of its own kind, at the address yielded; every connection of it is closed at the end."""
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            with suppress(OSError, EOFError):
                await answer(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@asynccontextmanager
async def answer_with(content: bytes) -> AsyncIterator[AsyncGateway]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(content)
        await writer.drain()

    async with served_by(answer) as url:
        gateway = AsyncGateway(url)
        yield gateway
        await gateway.aclose()


@pytest.mark.parametrize(
    ("content", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", b"[]"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", b"x"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
            b"abc0123456789",
        ),
        (b"HTTP/1.1 204 No\r\n\r\n", b""),
    ],
    ids=["length", "end", "old", "interim", "chunks", "empty"],
)
def test_the_forms_of_an_answer(content: bytes, body: bytes) -> None:
    async def work() -> None:
        async with answer_with(content) as gateway:
            assert (await gateway.request("GET", "/", b"", {}, 5.0)).body == body

    play(work)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 300,
        b"HTTP/1.1 200 OK\r\na: " + b"b" * 200_000,
    ],
)
def test_what_is_no_answer_is_a_broken_connection(content: bytes) -> None:
    async def work() -> None:
        async with answer_with(content) as gateway:
            with pytest.raises(BrokenConnectionError):
                await gateway.request("GET", "/", b"", {}, 5.0)

    play(work)


def test_silence_ends_in_time_and_a_kept_connection_that_died_is_replaced() -> None:
    async def work() -> None:
        asked = 0

        async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            await reader.readuntil(b"\r\n\r\n")
            asked += 1
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")  # and says nothing of closing
            await writer.drain()

        async with served_by(once) as url:
            gateway = AsyncGateway(f"{url}/base/")
            for _ in range(3):
                assert (await gateway.request("POST", "/v2", b"", {}, 5.0)).status == 200
            assert asked == 3
            await gateway.aclose()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()

        async with served_by(silent) as url:
            gateway = AsyncGateway(url)
            with pytest.raises(BrokenConnectionError, match="timed out"):
                await gateway.request("GET", "/", b"", {}, 0.1)
            await gateway.aclose()
        with pytest.raises(convoy.InvalidInputError):
            convoy.AsyncClient("ftp://gateway")

    play(work)


def test_what_connecting_took_is_taken_from_the_time_for_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    opening, waiting = asyncio.open_connection, asyncio.wait_for
    allowed: dict[str, float] = {}

    async def slow(*arguments: Any, **options: Any) -> Any:
        await asyncio.sleep(0.3)
        return await opening(*arguments, **options)

    def noted(awaitable: Awaitable[Any], timeout: float) -> Awaitable[Any]:
        allowed[getattr(awaitable, "__name__", "")] = timeout  # gateways of other tests wait as well
        return waiting(awaitable, timeout)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def work() -> None:
        async with served_by(silent) as url:
            monkeypatch.setattr(asyncio, "open_connection", slow)
            monkeypatch.setattr(asyncio, "wait_for", noted)
            gateway = AsyncGateway(url)
            with pytest.raises(BrokenConnectionError, match="timed out"):
                await gateway.request("GET", "/", b"", {}, 1.0)
            await gateway.aclose()

    play(work)
    assert allowed["slow"] <= 1.0
    assert allowed["_exchange"] <= 0.7
