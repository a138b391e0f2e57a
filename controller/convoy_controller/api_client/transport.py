"""Requests to an ASGI application in this process, without a socket: httpx's own would hold an endless answer back.

The application runs in an event loop of its own thread. An answer's parts come as they are made, and closing the
answer tells the application that its caller has gone.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator, MutableMapping
from contextlib import AbstractContextManager
from typing import Any

import anyio
import anyio.from_thread
import httpx
from starlette.types import ASGIApp

#: Parts of an answer that may wait for their reader.
MOST_PARTS = 64
#: Where requests seem to go and come from.
BASE_URL = "http://localhost"
_PEER = ("127.0.0.1", 0)

Part = tuple[str, Any]


class InProcess(httpx.BaseTransport):
    """A transport of httpx over `app`; to be closed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._opening: AbstractContextManager[anyio.from_thread.BlockingPortal] = (
            anyio.from_thread.start_blocking_portal()
        )
        self._portal = self._opening.__enter__()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx. Raises what the application raises before it answers."""
        call = _Call(request, request.read())
        self._portal.start_task_soon(call.run, self._app)
        kind, value = call.parts.get()
        if kind == "error":
            raise value
        status, headers = value
        return httpx.Response(status, headers=headers, stream=_Answer(call, self._portal), request=request)

    def close(self) -> None:
        """Let every call end, and the thread."""
        self._portal.call(self._portal.stop, True)
        self._opening.__exit__(None, None, None)


class _Call:
    """A request and its answer's parts: ("start", (status, headers)), ("body", bytes), ("end", None), ("error", e)."""

    def __init__(self, request: httpx.Request, body: bytes) -> None:
        self.parts: queue.Queue[Part] = queue.Queue(MOST_PARTS)
        self._request = request
        self._body: bytes | None = body
        self.gone = anyio.Event()

    async def run(self, app: ASGIApp) -> None:
        """In the loop: let the application answer."""
        try:
            await app(self._scope(), self._receive, self._send)
        except Exception as error:
            await self._put(("error", error))
        else:
            await self._put(("end", None))

    def _scope(self) -> dict[str, Any]:
        url = self._request.url
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self._request.method,
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.partition(b"?")[0],
            "query_string": url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in self._request.headers.raw],
            "client": _PEER,
            "server": (url.host, url.port),
        }

    async def _receive(self) -> MutableMapping[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            await self._put(("start", (message["status"], message.get("headers", []))))
        elif message.get("body"):
            await self._put(("body", message["body"]))

    async def _put(self, part: Part) -> None:
        while not self.gone.is_set():
            try:
                self.parts.put_nowait(part)
                return
            except queue.Full:
                await anyio.sleep(0.01)


class _Answer(httpx.SyncByteStream):
    """The body of an answer, as it comes."""

    def __init__(self, call: _Call, portal: anyio.from_thread.BlockingPortal) -> None:
        self._call = call
        self._portal = portal

    def __iter__(self) -> Iterator[bytes]:
        while True:
            kind, value = self._call.parts.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value

    def close(self) -> None:
        """The reader has enough."""
        self._portal.start_task_soon(self._leave)

    async def _leave(self) -> None:
        self._call.gone.set()
