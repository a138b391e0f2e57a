"""The route that tells of changes as they happen: server-sent events, which a browser and curl understand.

Each has a type: `hello` first; `event`, a line of history, whose number is the id that Last-Event-ID resumes from;
`change`, which names the kinds of things to read again; `gap`, when what would have to be told is not kept any more.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

from convoy_schema.errors import ConvoyError
from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from convoy_controller.api.context import Calling, Here
from convoy_controller.api.hub import Hub, Seen, within
from convoy_controller.api.roles import needs
from convoy_controller.api.shapes.base import Name
from convoy_controller.api.shapes.events import EventLine
from convoy_controller.database import pages
from convoy_controller.database.engine import Database
from convoy_controller.database.pages import EventFilter
from convoy_controller.database.records import Severity, TokenRole
from convoy_controller.errors import DatabaseError

log = logging.getLogger(__name__)

router = APIRouter(tags=["events"])

MEDIA_TYPE = "text/event-stream"
#: Seconds of silence after which a comment is sent, and whoever listens is asked again whether he may.
HEARTBEAT_S = 15.0
#: Seconds that one message may wait for a reader who does not take it.
SEND_S = 30.0
#: Events read at a time, for one follower.
BATCH = 100
#: Milliseconds after which a browser comes back.
RETRY_MS = 2000


class ChangeQuery(BaseModel):
    """Which events are told; changes are always."""

    model_config = ConfigDict(extra="forbid")

    board: Name | None = None
    deployment: Name | None = None
    severity: Severity | None = None
    kind: Annotated[str | None, Field(pattern="^[a-z0-9-]{1,60}$")] = None
    after: Annotated[int | None, Field(ge=0, lt=2**63, description="As Last-Event-ID, where no header can be set.")] = (
        None
    )


class Story:
    """What one follower is told, as the bytes of each message."""

    def __init__(self, database: Database, hub: Hub, wanted: EventFilter, after: int | None) -> None:
        self._database = database
        self._hub = hub
        self._wanted = wanted
        self._after = after

    async def told(self) -> AsyncIterator[bytes]:
        """Message after message; b"" when nothing was to be told for `HEARTBEAT_S`."""
        seen = self._hub.seen
        place = seen.newest if self._after is None else self._after
        yield message("hello", {"newest": seen.newest, "after": place}, number=place, retry_ms=RETRY_MS)
        if place > seen.newest or (place + 1 < seen.oldest):
            yield message("gap", {"after": place, "oldest": seen.oldest, "newest": seen.newest})
            place = min(place, seen.newest)
        clock = asyncio.get_running_loop().time
        told_at = clock()
        while True:
            if place < seen.newest:
                async for number, text in self._events(place, seen):
                    yield text
                    place, told_at = number, clock()
                place = max(place, seen.newest)
            now = await self._hub.wait(seen, max(0.0, told_at + HEARTBEAT_S - clock()))
            kinds = now.moved(seen)
            if kinds or clock() >= told_at + HEARTBEAT_S:
                yield message("change", {"resources": kinds}) if kinds else b""
                told_at = clock()
            if now.newest < seen.newest:  # another database: its numbers begin anew
                yield message("gap", {"after": place, "oldest": now.oldest, "newest": now.newest})
                place = now.newest
            seen = now

    async def _events(self, place: int, seen: Seen) -> AsyncIterator[tuple[int, bytes]]:
        while True:
            try:
                lines = await run_in_threadpool(pages.events, self._database, self._wanted, BATCH, place, True)
            except DatabaseError as error:
                log.warning("events cannot be told now: %s", error)
                await asyncio.sleep(1.0)
                continue
            for line in lines:
                if line.id > seen.newest:
                    return
                place = line.id
                yield line.id, message("event", EventLine.of(line).model_dump(mode="json"), number=line.id)
            if len(lines) < BATCH:
                return


def message(kind: str, data: Any, number: int | None = None, retry_ms: int | None = None) -> bytes:
    """One message on the wire."""
    head = "" if retry_ms is None else f"retry: {retry_ms}\n"
    head += "" if number is None else f"id: {number}\n"
    return f"{head}event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


class Telling(Response):
    """A response that goes on until its reader goes, may no longer listen, or does not take what is sent."""

    media_type = MEDIA_TYPE

    def __init__(self, hub: Hub, story: Story, may_still: Callable[[], Awaitable[None]]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._hub = hub
        self._story = story
        self._may_still = may_still

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        async with self._hub.following():
            telling = asyncio.create_task(self._tell(send))
            gone = asyncio.create_task(_until_gone(receive))
            try:
                await asyncio.wait({telling, gone}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (telling, gone):
                    task.cancel()
                results = await asyncio.gather(telling, gone, return_exceptions=True)
            for result in results:
                if isinstance(result, Exception):
                    raise result

    async def _tell(self, send: Send) -> None:
        head = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(head)
        asked_at = asyncio.get_running_loop().time()
        async for text in self._story.told():
            body = {"type": "http.response.body", "body": text or b": nothing new\n\n", "more_body": True}
            if not await within(_sent(send, body), SEND_S):
                log.info("someone who follows has taken nothing for %.0f s, and is let go", SEND_S)
                return
            now = asyncio.get_running_loop().time()
            if now - asked_at >= HEARTBEAT_S:
                asked_at = now
                try:
                    await self._may_still()
                except DatabaseError:
                    continue
                except ConvoyError as error:
                    log.info("someone who follows may no longer: %s", error)
                    break
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _sent(send: Send, body: Message) -> None:
    await send(body)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


_ANSWER = {
    "description": "Messages of type hello, event, change and gap, as long as the reader stays.",
    "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
}
_SAID = needs(TokenRole.VIEWER, "follow_changes")
_SAID["responses"][200] = _ANSWER


@router.get("/changes", status_code=200, response_class=Telling, **_SAID)
async def follow_changes(
    request: Request,
    here: Here,
    call: Calling,
    query: Annotated[ChangeQuery, Query()],
    last_event_id: Annotated[
        int | None, Header(alias="Last-Event-ID", ge=0, lt=2**63, description="Number of the last event that came.")
    ] = None,
) -> Response:
    """Be told of changes as they happen, from now on or from where an earlier connection ended."""
    hub: Hub = request.app.state.hub
    after = last_event_id if last_event_id is not None else query.after
    wanted = EventFilter(query.board, query.deployment, query.severity, query.kind)
    return Telling(hub, Story(here.database, hub, wanted, after), call.may_still)
