"""The controller's listener: `/metrics`, for whoever may read the API.

A page is begun in the controller's loop, which takes references only, and written in a thread, one after the other.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from convoy_schema.errors import ConvoyError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from convoy_controller.api.access import Access, Tokens
from convoy_controller.api.problems import ApiError
from convoy_controller.errors import DatabaseError, GatewayError
from convoy_controller.gateway.encodings import LEAST_BYTES, accepted, pack
from convoy_controller.gateway.server import serving
from convoy_controller.listening import Listening
from convoy_controller.metrics.controlling import ControllerPages, Watched
from convoy_controller.metrics.page import CONTENT_TYPE

log = logging.getLogger(__name__)

PATH = "/metrics"
#: Seconds until an address that was taken is tried again.
AGAIN_S = 2.0


async def serve(watched: Watched, where: Listening) -> None:
    """Listen until cancelled; an address that is taken is tried again, since boards matter more than who watches them.

    Raises `ExposedError` for an address that others reach while there is no token, `TlsError` for files that cannot be
    used.
    """
    tls = where.context()
    await asyncio.to_thread(where.check_exposure, watched.database, "everyone could read what the fleet does")
    access = Tokens(watched.database, where.is_loopback)
    face = _Face(ControllerPages(watched), access)
    is_told = False
    try:
        while True:
            try:
                async with serving(face.app(), where.host, where.port, tls=tls) as address:
                    log.info("metrics are at %s%s", address, PATH)
                    await asyncio.Event().wait()
            except GatewayError as error:
                log.log(logging.DEBUG if is_told else logging.ERROR, "no metrics for now, tried again: %s", error)
                is_told = True
            await asyncio.sleep(AGAIN_S)
    finally:
        face.close()


class _Face:
    """The endpoint over the pages of one controller."""

    def __init__(self, pages: ControllerPages, access: Access) -> None:
        self._pages = pages
        self._access = access
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="metrics")
        #: Who was let in last: let in again while the database is away, when its metrics are wanted most.
        self._known: str | None = None

    def app(self) -> Starlette:
        """As an ASGI application."""
        return Starlette(routes=[Route(PATH, self.metrics)])

    def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def metrics(self, request: Request) -> Response:
        """The page, or why not."""
        try:
            await self._check(request)
        except ApiError as error:
            return PlainTextResponse(f"{error} ({error.code})\n", error.status, headers=dict(error.headers))
        except ConvoyError as error:
            return PlainTextResponse(f"{error} ({error.code})\n", 503)
        loop = asyncio.get_running_loop()
        coding = accepted(request.headers.get("accept-encoding"))
        async with self._turn:
            begun = self._pages.begin(loop.time())
            body = await loop.run_in_executor(self._thread, self._pages.finish, *begun)
            headers = {"content-type": CONTENT_TYPE}
            if coding and len(body) >= LEAST_BYTES:
                body = await loop.run_in_executor(self._thread, pack, body, coding)
                headers |= {"content-encoding": coding, "vary": "accept-encoding"}
        return Response(body, headers=headers)

    async def _check(self, request: Request) -> None:
        shown = request.headers.get("authorization", "")
        try:
            await self._access.caller(request.scope)
        except DatabaseError:
            if shown != self._known:
                raise
        self._known = shown
