"""The enrolment service as one process, until SIGTERM or SIGINT. The command line calls it."""

from __future__ import annotations

import asyncio
import logging
import signal
from datetime import timedelta

from convoy_controller.database.engine import open_database
from convoy_controller.enrollment.authority import BOARD_LIFE
from convoy_controller.enrollment.folder import TlsFolder
from convoy_controller.enrollment.office import Office
from convoy_controller.enrollment.service import PeerProtocol, create_app, server_context
from convoy_controller.gateway.server import serving
from convoy_controller.home import Home
from convoy_controller.keys import signing_key

log = logging.getLogger(__name__)


def run_server(home: Home, host: str, port: int, board_life: timedelta = BOARD_LIFE) -> None:
    """Serve until a signal; port 0 is the one of `convoy ca init`. Raises `ControllerError`s."""
    database = open_database(home.database_url)
    try:
        office = Office(database, TlsFolder(home.tls), board_life=board_life)
        signing_key(home.keys)  # sees that there are keys, and the root's public half beside them
        trusted = home.trusted_key.read_text(encoding="ascii")
        asyncio.run(_serve(office, trusted, host, port or office.settings.enrollment_port))
    finally:
        database.close()


async def _serve(office: Office, trusted_key: str, host: str, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app, context = create_app(office, trusted_key), server_context(office.folder)
    async with serving(app, host, port, tls=context, protocol=PeerProtocol) as address:
        print(f"enrolment listens on {address}", flush=True)
        await stop.wait()
