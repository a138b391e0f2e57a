"""What the tests of the link share: a link that notes what it is told, and a broker that does as the test says."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from convoy_schema.credentials import Credentials
from convoy_schema.link import Link
from patience import PATIENCE_S


class Impatient(random.Random):
    """Waits hardly at all before the next attempt, and remembers within which bounds it might have waited."""

    def __init__(self, wait_s: float = 0.02) -> None:
        super().__init__(0)
        self.wait_s = wait_s
        self.asked: list[tuple[float, float]] = []

    def uniform(self, a: float, b: float) -> float:
        self.asked.append((a, b))
        return self.wait_s


def play(work: Callable[[], Awaitable[None]], limit_s: float = 4 * PATIENCE_S) -> None:
    """Run one test's coroutine, but not for ever; whatever it leaves open is found now, not in another test."""

    async def main() -> None:
        before = asyncio.all_tasks()
        await work()
        await asyncio.sleep(0)  # for a cancelled task to end
        assert asyncio.all_tasks() == before, "a task was left behind"

    asyncio.run(asyncio.wait_for(main(), limit_s))
    gc.collect()


async def until(condition: Callable[[], object], limit_s: float = PATIENCE_S) -> None:
    """Wait for `condition`; fail when it does not come true."""
    deadline = asyncio.get_running_loop().time() + limit_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it did not come true in time"
        await asyncio.sleep(0.01)


class Lateness:
    """How late a loop came to its turns, at most: by so much a time that is measured in it may be too long."""

    most_s = 0.0

    @contextlib.asynccontextmanager
    async def measured(self) -> AsyncIterator[Lateness]:
        """For the length of the context."""

        async def look() -> None:
            while True:
                before = asyncio.get_running_loop().time()
                await asyncio.sleep(0.01)
                self.most_s = max(self.most_s, asyncio.get_running_loop().time() - before - 0.01)

        task = asyncio.get_running_loop().create_task(look())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class Peer:
    """A link with notes: what came, and how often it connected; subscribes anew on each connection."""

    def __init__(
        self,
        url: str,
        name: str = "peer",
        *,
        filters: tuple[str, ...] = (),
        will: tuple[str, bytes] | None = None,
        keepalive_s: int = 5,
        chance: random.Random | None = None,
        credentials: Credentials | None = None,
        settled: str = "settled",
    ) -> None:
        self._settled = settled
        self.received: list[tuple[str, bytes, bool]] = []
        self.connections = 0
        self.losses: list[str] = []
        self.filters = filters
        self.chance = chance or Impatient()
        #: Called beside the notes.
        self.on_connect: Callable[[], None] = lambda: None
        self.on_message: Callable[[str, bytes, bool], None] = lambda topic, payload, retained: None
        self.link = Link(
            url,
            name,
            on_message=self._message,
            on_connect=self._connected,
            on_disconnect=self.losses.append,
            will=will,
            keepalive_s=keepalive_s,
            chance=self.chance,
            credentials=credentials,
        )

    def _connected(self) -> None:
        self.connections += 1
        for text in self.filters:
            self.link.subscribe(text, 1)
        self.on_connect()

    def _message(self, topic: str, payload: bytes, retained: bool) -> None:
        self.received.append((topic, payload, retained))
        self.on_message(topic, payload, retained)

    def payloads(self, topic: str) -> list[bytes]:
        """What came on `topic`, in order."""
        return [payload for name, payload, _ in self.received if name == topic]

    @contextlib.asynccontextmanager
    async def running(self, *, connected: bool = True) -> AsyncIterator[Peer]:
        """Runs it; `connected` waits for the connection, and for the broker's answer to the subscriptions."""
        task = asyncio.get_running_loop().create_task(self.link.run())
        try:
            if connected:
                await until(lambda: self.link.connected)
                await self.settle()
            yield self
            await self.link.stop()
            await asyncio.wait_for(task, PATIENCE_S)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def settle(self) -> None:
        """Wait for a round trip: a broker answers in order, so all that was asked before has been done."""
        before = self.link.round_trips
        assert self.link.publish(self._settled, b"", qos=1)
        await until(lambda: self.link.round_trips > before)


# A broker of our own -------------------------------------------------------------------------------------------------

CONNACK = b"\x20\x02\x00\x00"
CONNECT, PUBLISH, PUBACK, SUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 4, 8, 12, 14


def publish_packet(topic: str, payload: bytes, first: int = 0x30) -> bytes:
    """A PUBLISH with QoS 0."""
    name = topic.encode()
    return packet(first, struct.pack(">H", len(name)) + name + payload)


def packet(first: int, body: bytes) -> bytes:
    """A packet of any type: first byte, length, body."""
    length, digits = len(body), bytearray()
    while True:
        length, digit = divmod(length, 128)
        digits.append(digit | (0x80 if length else 0))
        if not length:
            return bytes([first]) + bytes(digits) + body


@dataclass(eq=False)
class Connection:
    """One client's connection to a `ScriptedBroker`."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def read(self) -> tuple[int, bytes]:
        """The next packet's first byte and body; raises `asyncio.IncompleteReadError` at the end."""
        first = (await self.reader.readexactly(1))[0]
        length, shift = 0, 0
        while True:
            digit = (await self.reader.readexactly(1))[0]
            length |= (digit & 0x7F) << shift
            shift += 7
            if digit < 0x80:
                return first, await self.reader.readexactly(length)

    async def read_publish(self) -> tuple[str, bytes, int]:
        """Topic, payload and packet number (0 at QoS 0) of the next PUBLISH; what comes before it is passed over."""
        while True:
            first, body = await self.read()
            if first >> 4 != PUBLISH:
                continue
            size = struct.unpack_from(">H", body)[0]
            topic, rest = body[2 : 2 + size].decode(), body[2 + size :]
            if not first & 0x06:
                return topic, rest, 0
            return topic, rest[2:], struct.unpack_from(">H", rest)[0]

    async def accept(self) -> None:
        """Take the CONNECT and say yes."""
        first, _ = await self.read()
        assert first >> 4 == CONNECT
        self.writer.write(CONNACK)

    async def serve(self) -> None:
        """Answer pings, subscriptions and QoS 1 messages until the client goes."""
        while True:
            first, body = await self.read()
            match first >> 4:
                case 3 if first & 0x06:
                    size = struct.unpack_from(">H", body)[0]
                    self.writer.write(packet(0x40, body[2 + size : 4 + size]))
                case 8:
                    self.writer.write(packet(0x90, body[:2] + b"\x01"))
                case 12:
                    self.writer.write(packet(0xD0, b""))
                case 14:
                    return


Behaviour = Callable[[Connection], Awaitable[None]]


async def properly(connection: Connection) -> None:
    """Behave as a broker that delivers nothing."""
    await connection.accept()
    await connection.serve()


class ScriptedBroker:
    """A TCP server; its first connection is treated by the first behaviour, and so on; the last serves all others."""

    def __init__(self, *behaviours: Behaviour) -> None:
        self._behaviours = behaviours
        #: Connections so far.
        self.count = 0
        self.url = ""
        #: Connections that are open.
        self.open: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[ScriptedBroker]:
        """Serves on a free port; every link must have ended before."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=2**21)
        self.url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            # A link that was cancelled while it connected still does so, in its thread: meet it before the end.
            await asyncio.get_running_loop().shutdown_default_executor()
            await asyncio.sleep(0.01)
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behaviour = self._behaviours[min(self.count, len(self._behaviours) - 1)]
        self.count += 1
        task = asyncio.get_running_loop().create_task(self._treat(behaviour, Connection(reader, writer)))
        self._tasks.add(task)

    async def _treat(self, behaviour: Behaviour, connection: Connection) -> None:
        self.open.add(connection)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await behaviour(connection)
        finally:
            self.open.discard(connection)
            connection.writer.transport.abort()
