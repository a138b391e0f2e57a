"""A port that leads to the broker, and whose connections can be cut: how a rule about lost connections is tried."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType

from convoy_schema.errors import LinkError

_CHUNK = 64 * 1024


class Tap:
    """Forwards `host`:`port` to the broker, for the length of an `async with`."""

    def __init__(self, host: str, port: int, broker: tuple[str, int]) -> None:
        self._host, self._port = host, port
        self._broker = broker
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False
        #: Connections accepted so far.
        self.accepted = 0

    async def __aenter__(self) -> Tap:
        try:
            self._server = await asyncio.start_server(self._serve, self._host, self._port)
        except OSError as error:
            raise LinkError(f"--tap {self._host}:{self._port} cannot be listened on: {error}") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def is_used(self) -> bool:
        """Whether anything is connected through it now."""
        return bool(self._tasks)

    def cut(self) -> None:
        """End every connection, without a goodbye, and let nobody in until `mend`."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()

    def mend(self) -> None:
        """Let connections in again."""
        self._is_closed = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_closed:
            writer.transport.abort()
            return
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._forward(reader, writer)
        except (asyncio.CancelledError, OSError):
            pass  # cut by us, or by one of the two
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_broker, to_broker = await asyncio.open_connection(*self._broker)
        pumps = [asyncio.create_task(_pump(reader, to_broker)), asyncio.create_task(_pump(from_broker, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            to_broker.transport.abort()
            await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while content := await source.read(_CHUNK):
            target.write(content)
            await target.drain()
