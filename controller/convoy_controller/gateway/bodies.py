"""Request bodies as they are read: each bounded, packed and unpacked, and all of them together."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from starlette.types import Receive

from convoy_controller.errors import BodyTooLargeError, InvalidInputError, OverloadError
from convoy_controller.gateway.encodings import unpack
from convoy_controller.gateway.shares import room_for

#: Bytes of one request's body, and of all bodies that are being read or answered.
MAX_BODY = 16 * 1024 * 1024
MAX_BODIES = 64 * 1024 * 1024
#: A packed body longer than this is unpacked in a thread: it may become a thousand times as long.
LONG_PACKED = 4 * 1024


@dataclass
class Room:
    """What one request has `taken`, of the share of `owner`; `others` have theirs."""

    owner: str
    others: frozenset[str]
    taken: int = 0


class DisconnectedError(Exception):
    """The caller went away before its body was whole. Never leaves the gateway's HTTP."""


class Bodies:
    """Room for request bodies, shared by deployments; what is taken is given back when `room` ends."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()

    @contextlib.contextmanager
    def room(self, owner: str, all_owners: Collection[str]) -> Iterator[Room]:
        """A place to count one request's bytes in, those of `owner`; the others of `all_owners` have their shares."""
        room = Room(owner, frozenset(all_owners) - {owner})
        try:
            yield room
        finally:
            self._held[owner] -= room.taken
            if not self._held[owner]:
                del self._held[owner]

    async def read(self, headers: Mapping[bytes, bytes], receive: Receive, room: Room) -> bytes:
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
                self._take(len(chunk), room)
                chunks.append(chunk)
            is_whole = not message.get("more_body", False)
        body = b"".join(chunks) if len(chunks) != 1 else chunks[0]
        coding = headers.get(b"content-encoding")
        return body if coding is None else await self._unpacked(body, coding.decode("latin-1"), room)

    async def _unpacked(self, body: bytes, coding: str, room: Room) -> bytes:
        if len(body) > LONG_PACKED:
            content = await asyncio.to_thread(unpack, body, coding, MAX_BODY)
        else:
            content = unpack(body, coding, MAX_BODY)
        self._take(max(0, len(content) - len(body)), room)
        return content

    def _take(self, size: int, room: Room) -> None:
        if room.taken + size > MAX_BODY:
            raise _too_large(room.taken + size)
        own, others = self._held[room.owner], [self._held[other] for other in room.others]
        strangers = self._held.total() - own - sum(others)  # of deployments that are fed no more
        if size > room_for(own, others, MAX_BODIES - strangers):
            held = own + sum(others) + strangers
            raise OverloadError(f"requests of {held} bytes, of {MAX_BODIES}, are being answered: try again later")
        room.taken += size
        self._held[room.owner] += size


def _too_large(size: int | str) -> BodyTooLargeError:
    return BodyTooLargeError(
        f"a body may have {MAX_BODY} bytes, {size} came: send fewer rows at a time", limit=MAX_BODY
    )
