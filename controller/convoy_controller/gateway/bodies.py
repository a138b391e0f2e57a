"""Request bodies as they are read: each bounded, packed and unpacked, and all of them together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping

from starlette.types import Receive

from convoy_controller.errors import BodyTooLargeError, InvalidInputError, OverloadError
from convoy_controller.gateway.encodings import unpack

#: Bytes of one request's body, and of all bodies that are being read or answered.
MAX_BODY = 16 * 1024 * 1024
MAX_BODIES = 64 * 1024 * 1024
#: A packed body longer than this is unpacked in a thread: it may become a thousand times as long.
LONG_PACKED = 4 * 1024


class DisconnectedError(Exception):
    """The caller went away before its body was whole. Never leaves the gateway's HTTP."""


class Bodies:
    """Room for request bodies; what is taken is given back when `room` ends."""

    def __init__(self) -> None:
        self._held = 0

    @contextlib.contextmanager
    def room(self) -> Iterator[list[int]]:
        """A place to count one request's bytes in."""
        taken = [0]
        try:
            yield taken
        finally:
            self._held -= taken[0]

    async def read(self, headers: Mapping[bytes, bytes], receive: Receive, taken: list[int]) -> bytes:
        """The body, unpacked, of an ASGI request; `headers` by their names in lower case.

        Raises `InvalidInputError`, `BodyTooLargeError`, `OverloadError`, or `DisconnectedError`.
        """
        announced = headers.get(b"content-length", b"0")
        if not announced.isdigit():
            raise InvalidInputError(f"Content-Length must be a number, {announced[:40]!r} came")
        if len(announced) > 20 or int(announced) > MAX_BODY:
            raise _too_large(announced[:20].decode())
        chunks: list[bytes] = []
        is_whole = False
        while not is_whole:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise DisconnectedError
            chunk = message.get("body", b"")
            if chunk:
                self._take(len(chunk), taken)
                chunks.append(chunk)
            is_whole = not message.get("more_body", False)
        body = b"".join(chunks) if len(chunks) != 1 else chunks[0]
        coding = headers.get(b"content-encoding")
        return body if coding is None else await self._unpacked(body, coding.decode("latin-1"), taken)

    async def _unpacked(self, body: bytes, coding: str, taken: list[int]) -> bytes:
        if len(body) > LONG_PACKED:
            content = await asyncio.to_thread(unpack, body, coding, MAX_BODY)
        else:
            content = unpack(body, coding, MAX_BODY)
        self._take(max(0, len(content) - len(body)), taken)
        return content

    def _take(self, size: int, taken: list[int]) -> None:
        taken[0] += size
        self._held += size
        if taken[0] > MAX_BODY:
            raise _too_large(taken[0])
        if self._held > MAX_BODIES:
            raise OverloadError(f"requests of {MAX_BODIES} bytes are being answered: try again later")


def _too_large(size: int | str) -> BodyTooLargeError:
    return BodyTooLargeError(
        f"a body may have {MAX_BODY} bytes, {size} came: send fewer rows at a time", limit=MAX_BODY
    )
