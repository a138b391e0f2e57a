"""HTTP connections to one gateway over asyncio's streams, kept alive; standard library only.

It sends one request and reads one answer, as `connections` does. HTTP/1.1, as far as a gateway or a proxy before it
speaks it: a length, chunks, or the end of the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Mapping

from convoy.connections import CONNECT_TIMEOUT_S, MAX_ANSWER, MAX_IDLE, Address, BrokenConnectionError, Reply

#: Header lines of an answer; each is bounded by the stream reader (64 KiB).
MAX_LINES = 200


class MalformedAnswerError(Exception):
    """Not HTTP, or more of it than is read. Never leaves this package."""


class AsyncGateway:
    """One gateway's address and its idle connections, in one event loop."""

    def __init__(self, url: str) -> None:
        self.address = Address.parse(url)
        self._idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()
        self._closed = False

    async def request(self, method: str, path: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Reply:
        """Connect, send and await the answer, `timeout_s` at most in all; raises `BrokenConnectionError`.

        A kept connection that the gateway had closed meanwhile is replaced without a word.
        """
        content = self._head(method, path, body, headers) + body
        clock = asyncio.get_running_loop().time
        until = clock() + timeout_s
        while True:
            reader, writer, is_fresh = await self._take(min(until - clock(), CONNECT_TIMEOUT_S))
            try:
                reply, is_kept = await asyncio.wait_for(_exchange(reader, writer, content), until - clock())
            except (OSError, EOFError, MalformedAnswerError, asyncio.TimeoutError) as error:
                writer.close()
                is_silent = isinstance(error, asyncio.TimeoutError)
                if is_fresh or is_silent:
                    words = "timed out" if is_silent else str(error)[:200] or type(error).__name__
                    raise BrokenConnectionError(f"{self.address.url}: {words}") from error
            except BaseException:
                writer.close()  # cancelled: what comes on it now is nobody's answer
                raise
            else:
                if is_kept and not self._closed and len(self._idle) < MAX_IDLE:
                    self._idle.append((reader, writer))
                else:
                    writer.close()
                return reply

    async def aclose(self) -> None:
        """Close the idle connections; those in use are closed when they come back."""
        self._closed = True
        idle, self._idle = self._idle, deque()
        for _, writer in idle:
            writer.close()
        for _, writer in idle:
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _take(self, timeout_s: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bool]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer, False
            writer.close()
        address = self.address
        opening = asyncio.open_connection(address.host, address.port, ssl=address.is_secure or None)
        try:
            reader, writer = await asyncio.wait_for(opening, timeout_s)
        except (OSError, asyncio.TimeoutError) as error:
            # asyncio puts a text of its own in the place of the system's.
            number = getattr(error, "errno", None)
            words = os.strerror(number) if isinstance(number, int) and number > 0 else str(error) or "timed out"
            raise BrokenConnectionError(f"{address.url}: {words}") from error
        return reader, writer, True

    def _head(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        address = self.address
        lines = [f"{method} {address.prefix}{path} HTTP/1.1", f"Host: {address.authority}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or method != "GET":
            lines.append(f"Content-Length: {len(body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, content: bytes) -> tuple[Reply, bool]:
    writer.write(content)
    await writer.drain()
    return await read_reply(reader)


async def read_reply(reader: asyncio.StreamReader) -> tuple[Reply, bool]:
    """One answer, and whether the connection may carry another request.

    Raises `MalformedAnswerError`, or what the stream raises: `OSError`, and `EOFError` for an answer that breaks off.
    """
    status = 100
    while 100 <= status < 200:  # interim answers
        is_old, status = _status(await _line(reader))
        headers = await _headers(reader)
    is_kept = not is_old and "close" not in headers.get("connection", "").lower()
    if status in (204, 304):
        return Reply(status, b"", headers), is_kept
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return Reply(status, await _chunks(reader), headers), is_kept
    length = headers.get("content-length")
    if length is not None:
        return Reply(status, await reader.readexactly(_size(length, 10)), headers), is_kept
    body = await reader.read(MAX_ANSWER + 1)
    while len(body) <= MAX_ANSWER and (more := await reader.read(MAX_ANSWER + 1 - len(body))):
        body += more
    if len(body) > MAX_ANSWER:
        raise MalformedAnswerError(f"an answer of more than {MAX_ANSWER} bytes")
    return Reply(status, body, headers), False


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        line = await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError as error:
        raise MalformedAnswerError("a line without end") from error
    return line.rstrip(b"\r\n")


def _status(line: bytes) -> tuple[bool, int]:
    """Whether it is HTTP/1.0, and the status."""
    parts = line.split(None, 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or len(parts[1]) != 3 or not parts[1].isdigit():
        raise MalformedAnswerError(f"an answer that is not HTTP: {line[:80]!r}")
    return parts[0] == b"HTTP/1.0", int(parts[1])


async def _headers(reader: asyncio.StreamReader) -> dict[str, str]:
    found: dict[str, str] = {}
    for _ in range(MAX_LINES):
        line = await _line(reader)
        if not line:
            return found
        name, colon, value = line.partition(b":")
        if not colon:
            raise MalformedAnswerError(f"a header without a colon: {line[:80]!r}")
        found[name.decode("latin-1").strip().lower()] = value.decode("latin-1").strip()
    raise MalformedAnswerError(f"more than {MAX_LINES} headers")


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    total = 0
    while True:
        size = _size((await _line(reader)).partition(b";")[0].decode("latin-1").strip(), 16)
        if not size:
            await _headers(reader)  # trailers
            return b"".join(parts)
        total += size
        if total > MAX_ANSWER:
            raise MalformedAnswerError(f"an answer of more than {MAX_ANSWER} bytes")
        parts.append(await reader.readexactly(size))
        if await _line(reader):
            raise MalformedAnswerError("a chunk that is longer than it says")


def _size(text: str, base: int) -> int:
    digits = "0123456789abcdefABCDEF"[: 10 if base == 10 else 22]
    if not text or len(text) > 12 or text.strip(digits):
        raise MalformedAnswerError(f"a length that is none: {text[:40]!r}")
    size = int(text, base)
    if size > MAX_ANSWER:
        raise MalformedAnswerError(f"an answer of more than {MAX_ANSWER} bytes")
    return size
