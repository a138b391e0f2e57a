"""The API as one process, until SIGTERM or SIGINT. The command line calls it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from convoy_schema.resident import settle_memory
from fastapi import FastAPI
from starlette.types import ASGIApp

from convoy_controller.api.access import Access, Tokens
from convoy_controller.api.app import create_app
from convoy_controller.database.engine import Database, open_database
from convoy_controller.errors import DatabaseError, DatabaseReplacedError
from convoy_controller.gateway.server import serving
from convoy_controller.home import Home
from convoy_controller.listening import Listening

log = logging.getLogger(__name__)

#: Seconds between looks whether the database is still the one that was opened.
LOOK_S = 1.0


def say(line: str) -> None:
    """Print at once, whatever stdout is: whoever started the process waits for the address."""
    print(line, flush=True)


def run_api(
    home: Home, where: Listening, on_ready: Callable[[str], None] = say, *, with_dashboard: bool = True
) -> None:
    """Serve API and dashboard until SIGTERM or SIGINT; `on_ready` gets a line that ends with the address.

    Raises `ExposedError` for an address that others reach while there is no token, `DatabaseError` when it cannot begin
    or its database was replaced, `GatewayError` for an address in use, `TlsError` for files that cannot be used.
    """
    context = where.context()
    database = open_database(home.database_url)
    try:
        where.check_exposure(database, "everyone would be admin")
        asyncio.run(_serve(database, home, where, context, on_ready, with_dashboard))
    finally:
        database.close()


async def _serve(
    database: Database,
    home: Home,
    where: Listening,
    tls: ssl.SSLContext | None,
    on_ready: Callable[[str], None],
    with_dashboard: bool,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    access = Tokens(database, where.is_loopback)
    app = create_app(database, home, access)
    watching = asyncio.create_task(_watch(database))
    stopping = asyncio.create_task(stop.wait())
    try:
        async with contextlib.AsyncExitStack() as stack:
            served = await stack.enter_async_context(_dashboard(app, access)) if with_dashboard else app
            address = await stack.enter_async_context(
                serving(served, where.host, where.port, tls=tls, sockets=with_dashboard)
            )
            settle_memory()
            on_ready(f"the API listens on {address}")
            await asyncio.wait({watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (watching, stopping):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


def _dashboard(app: FastAPI, access: Access) -> AbstractAsyncContextManager[ASGIApp]:
    from convoy_controller.dashboard.application import with_dashboard  # a second, which only who serves it spends

    return with_dashboard(app, access)


async def _watch(database: Database) -> None:
    """End with `DatabaseReplacedError` when another database stands in ours' place: whoever starts us again sees it."""
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            await asyncio.to_thread(database.check_in_place)
        except DatabaseReplacedError:
            raise
        except DatabaseError as error:
            log.warning("the database does not answer: %s", error)
