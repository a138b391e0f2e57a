"""Stands between boards and their broker: loses blocks, and lets each board hear of its assignment a little later.

It follows MQTT packets just far enough to know what is published; everything else passes as it is. So it is the real
boards and the real controller that meet the loss. Used by the delivery bench.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable

_READ_BYTES = 256 * 1024
_PUBLISH = 3


class PacketCutter:
    """Cuts a stream into whole MQTT packets. Deterministic."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, content: bytes) -> list[bytes]:
        """The packets that are whole now."""
        self._buffer += content
        found, at = [], 0
        while (size := _packet_size(self._buffer, at)) and at + size <= len(self._buffer):
            found.append(bytes(self._buffer[at : at + size]))
            at += size
        del self._buffer[:at]
        return found


def _packet_size(buffer: bytearray, at: int) -> int:
    """Bytes of the packet that begins at `at`, 0 while its length is not whole."""
    length = shift = 0
    for position in range(at + 1, min(at + 5, len(buffer))):
        length |= (buffer[position] & 0x7F) << shift
        if buffer[position] < 0x80:
            return position - at + 1 + length
        shift += 7
    return 0


def published_topic(packet: bytes) -> str:
    """The topic of a PUBLISH; '' for any other packet."""
    if packet[0] >> 4 != _PUBLISH:
        return ""
    at = 2
    while packet[at - 1] & 0x80:
        at += 1
    size = int.from_bytes(packet[at : at + 2], "big")
    return packet[at + 2 : at + 2 + size].decode("utf-8", "replace")


#: Seconds by which what a board is told is held back, from the first such message on.
Delay = Callable[[str], float]


class LossyRelay:
    """Listens on `host`; `loss` is the share of blocks lost on the way to each board, `delay` holds back `desired`."""

    def __init__(self, target_port: int, loss: float = 0.0, delay: Delay = lambda board: 0.0, seed: int = 1) -> None:
        self._target_port = target_port
        self._loss = loss
        self._delay = delay
        self._chance = random.Random(seed)
        self._server: asyncio.AbstractServer | None = None
        self._first_told: float | None = None
        #: Blocks that passed, and that were lost.
        self.passed = 0
        self.lost = 0

    async def start(self, host: str = "127.0.0.1") -> int:
        """Listen; returns the port."""
        self._server = await asyncio.start_server(self._serve, host, 0)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Listen no more; connections end with their peers."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            try:
                ways = asyncio.gather(self._up(reader, broker_writer), self._down(broker_reader, writer))
                await ways
            finally:
                broker_writer.close()
                writer.close()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while content := await reader.read(_READ_BYTES):
            writer.write(content)
            await writer.drain()
        writer.close()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cutter = PacketCutter()
        while content := await reader.read(_READ_BYTES):
            for packet in cutter.feed(content):
                parts = published_topic(packet).split("/")
                if parts[-1] == "desired":
                    await self._hold(parts[-2])
                elif parts[-3:-2] == ["artifacts"] and self._is_lost():
                    continue
                writer.write(packet)
            await writer.drain()
        writer.close()

    async def _hold(self, board: str) -> None:
        now = time.monotonic()
        if self._first_told is None:
            self._first_told = now
        await asyncio.sleep(max(0.0, self._first_told + self._delay(board) - now))

    def _is_lost(self) -> bool:
        is_lost = self._chance.random() < self._loss
        self.lost += is_lost
        self.passed += not is_lost
        return is_lost
