"""Hears and says things on the broker: every message is decoded by its channel and kept, with when and how it came."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from convoy_schema import codec
from convoy_schema.channels import Channel, channel_of
from convoy_schema.credentials import Credentials
from convoy_schema.errors import ConvoyError, LinkError
from convoy_schema.link import Link
from convoy_schema.topics import Topic, Topics

#: Seconds until a broker must have accepted us.
CONNECT_S = 10.0
#: Seconds between looks whether this process is late.
BEAT_S = 0.05
#: Messages kept; a run hears some thousands.
MOST_KEPT = 100_000


@dataclass(frozen=True)
class Heard:
    """One message: `message` is what it decodes to, None for a block or where `fault` says what is wrong with it."""

    at: float
    topic: str
    address: Topic | None
    channel: Channel | None
    payload: bytes
    retained: bool
    qos: int
    message: Any = None
    fault: str = ""


class Wire:
    """A connection for the length of an `async with`. `filters` are subscribed at QoS 1."""

    def __init__(
        self, url: str, site: str, name: str, filters: Sequence[str], credentials: Credentials | None = None
    ) -> None:
        self.url = url
        self.credentials = credentials
        self.topics = Topics(site)
        self.heard: list[Heard] = []
        #: Called with each message, after it was kept.
        self.listeners: list[Callable[[Heard], None]] = []
        self._filters = filters
        #: The longest time that this process was late, since somebody set it to 0.
        self.longest_stall_s = 0.0
        self._connected = asyncio.Event()
        self._news = asyncio.Event()
        self._link = Link(
            url,
            f"{name}:conformance",
            on_message=lambda topic, payload, retained: self._take(topic, payload, retained, 0),
            on_acknowledged=lambda topic, payload, retained: self._take(topic, payload, retained, 1),
            on_connect=self._on_connect,
            credentials=credentials,
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Wire:
        self._tasks = [asyncio.create_task(self._link.run()), asyncio.create_task(self._watch())]
        try:
            await asyncio.wait_for(self._connected.wait(), CONNECT_S)
        except asyncio.TimeoutError:
            await self._end()
            raise LinkError(
                f"no broker answers at {self.url} within {CONNECT_S:g} s: start one there", url=self.url
            ) from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        await self._link.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            slept_at = clock()
            await asyncio.sleep(BEAT_S)
            self.longest_stall_s = max(self.longest_stall_s, clock() - slept_at - BEAT_S)

    def _on_connect(self) -> None:
        for each in self._filters:
            self._link.subscribe(each, 1)
        self._connected.set()

    def subscribe(self, topic: str, qos: int = 1) -> None:
        """Hear one filter more."""
        self._link.subscribe(topic, qos)

    def _take(self, topic: str, payload: bytes, retained: bool, qos: int) -> None:
        heard = read(self.topics, asyncio.get_running_loop().time(), topic, payload, retained, qos)
        if len(self.heard) < MOST_KEPT:
            self.heard.append(heard)
        for listener in self.listeners:
            listener(heard)
        self._news.set()

    def say(self, topic: str, message: Any, *, qos: int = 1, retain: bool = False) -> None:
        """Publish a message, or bytes as they are."""
        self._link.publish(
            topic, message if isinstance(message, bytes) else codec.encode(message), qos=qos, retain=retain
        )

    async def until(self, condition: Callable[[], object], seconds: float) -> bool:
        """Wait for `condition`, which is asked after each message and now and then; whether it came true."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not condition():
            left = deadline - loop.time()
            if left <= 0:
                return False
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), min(left, 0.1))
            except asyncio.TimeoutError:
                continue
        return True


def read(topics: Topics, at: float, topic: str, payload: bytes, retained: bool, qos: int) -> Heard:
    """A message as its channel has it."""
    try:
        address = topics.parse(topic)
    except ConvoyError as error:
        return Heard(at, topic, None, None, payload, retained, qos, fault=str(error))
    channel = channel_of(address)
    if channel.message is None or not payload:
        return Heard(at, topic, address, channel, payload, retained, qos)
    try:
        message = codec.decode(channel.message, payload)
    except ConvoyError as error:
        return Heard(at, topic, address, channel, payload, retained, qos, fault=str(error))
    return Heard(at, topic, address, channel, payload, retained, qos, message)
