"""The API as one process, until SIGTERM or SIGINT. The command line calls it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import signal
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from convoy_schema.errors import TlsError

from convoy_controller.api.access import Tokens
from convoy_controller.api.app import create_app
from convoy_controller.database.engine import Database, open_database
from convoy_controller.database.tokens import has_tokens
from convoy_controller.errors import DatabaseError, DatabaseReplacedError, ExposedError
from convoy_controller.gateway.server import serving
from convoy_controller.home import Home

log = logging.getLogger(__name__)

#: Seconds between looks whether the database is still the one that was opened.
LOOK_S = 1.0


def say(line: str) -> None:
    """Print at once, whatever stdout is: whoever started the process waits for the address."""
    print(line, flush=True)


@dataclass(frozen=True)
class Listening:
    """Where to listen. `port` 0 takes a free one; `certificate` and `key` are PEM files, for HTTPS."""

    host: str = "127.0.0.1"
    port: int = 0
    certificate: Path | None = None
    key: Path | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return self.host == "localhost"

    def context(self) -> ssl.SSLContext | None:
        """TLS 1.2 or later, or None; raises `TlsError`."""
        if self.certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise TlsError(
                f"{self.certificate} and {self.key or 'the key in it'} cannot be used: {error}; "
                "give a certificate and its key, both PEM"
            ) from error
        return context


def run_api(home: Home, where: Listening, on_ready: Callable[[str], None] = say) -> None:
    """Serve until SIGTERM or SIGINT; `on_ready` gets a line that ends with the address.

    Raises `ExposedError` for an address that others reach while there is no token, `DatabaseError` when it cannot begin
    or its database was replaced, `GatewayError` for an address in use, `TlsError` for files that cannot be used.
    """
    context = where.context()
    database = open_database(home.database_url)
    try:
        if not where.is_loopback and not has_tokens(database):
            raise ExposedError(
                f"{where.host} is reached by others, and without a token everyone would be admin: make one first with "
                "`convoy token create NAME --role admin`, or listen on 127.0.0.1",
                host=where.host,
            )
        asyncio.run(_serve(database, home, where, context, on_ready))
    finally:
        database.close()


async def _serve(
    database: Database, home: Home, where: Listening, tls: ssl.SSLContext | None, on_ready: Callable[[str], None]
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app = create_app(database, home, Tokens(database, where.is_loopback))
    watching = asyncio.create_task(_watch(database))
    stopping = asyncio.create_task(stop.wait())
    try:
        async with serving(app, where.host, where.port, tls=tls) as address:
            on_ready(f"the API listens on {address}")
            await asyncio.wait({watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (watching, stopping):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


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
