"""What the fleet says of itself over MQTT while the demonstration runs: bytes published, memory held.

A reader with a connection of its own, in a thread of its own; it publishes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import dataclass

from convoy_schema import codec
from convoy_schema.errors import DecodeError, TopicError
from convoy_schema.link import Link
from convoy_schema.messages.boards import Published, Pulse
from convoy_schema.messages.gateways import ControllerState, GatewayReported
from convoy_schema.topics import BoardTopic, ControllerTopic, GatewayTopic, Topics


@dataclass(frozen=True)
class Vitals:
    """A process's latest words: payload bytes published since it started, and bytes of memory."""

    published: Published
    rss_bytes: int


class Observer:
    """Listens from `start` to `stop`. Sums are over sessions, so a process that died still counts."""

    def __init__(self, url: str, site: str) -> None:
        self._topics = Topics(site)
        self._url = url
        self._latest: dict[tuple[str, int], Vitals] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()), name="observer", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    def start(self) -> None:
        """Connect and listen."""
        self._thread.start()

    def stop(self) -> None:
        """Disconnect."""
        if self._loop is not None and self._stopping is not None:
            with contextlib.suppress(RuntimeError):  # the loop may have ended by itself
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(5.0)

    def published(self) -> Published:
        """Payload bytes of all processes together."""
        with self._lock:
            parts = [vitals.published for vitals in self._latest.values()]
        return Published(
            sum(part.control for part in parts),
            sum(part.artifacts for part in parts),
            sum(part.activations for part in parts),
        )

    def vitals(self) -> dict[str, Vitals]:
        """The latest session of each process, by name."""
        with self._lock:
            return {name: vitals for (name, _), vitals in self._latest.items()}

    async def _listen(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        link = Link(self._url, "observer", on_message=self._received, on_connect=lambda: self._subscribe(link))
        task = asyncio.create_task(link.run())
        await self._stopping.wait()
        await link.stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def _subscribe(self, link: Link) -> None:
        topics = self._topics
        for topic in (topics.controller_state(), topics.gateway("+", "reported"), topics.board("+", "pulse")):
            link.subscribe(topic)

    def _received(self, topic: str, payload: bytes, retained: bool) -> None:
        with contextlib.suppress(DecodeError, TopicError):  # not ours to judge: each part reports its own
            parsed = self._topics.parse(topic)
            if retained or not payload:
                return
            if isinstance(parsed, BoardTopic):
                pulse = codec.decode(Pulse, payload)
                self._note(parsed.board, pulse.session, pulse.published, pulse.rss_bytes)
            elif isinstance(parsed, GatewayTopic):
                reported = codec.decode(GatewayReported, payload)
                self._note(parsed.gateway, reported.session, reported.published, reported.rss_bytes)
            elif isinstance(parsed, ControllerTopic):
                state = codec.decode(ControllerState, payload)
                self._note("controller", state.session, state.published, state.rss_bytes)

    def _note(self, name: str, session: int, published: Published, rss_bytes: int) -> None:
        with self._lock:
            self._latest[name, session] = Vitals(published, rss_bytes)
