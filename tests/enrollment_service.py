"""A fleet's CA and its enrolment service, the real one, in a thread of the test; `Desk.claim` invites a board."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime, timedelta
from pathlib import Path

from convoy_controller.database.engine import open_database
from convoy_controller.database.records import utc_now
from convoy_controller.enrollment.folder import Settings, TlsFolder
from convoy_controller.enrollment.office import Office
from convoy_controller.enrollment.service import PeerProtocol, create_app, server_context
from convoy_controller.gateway.server import serving
from convoy_schema.claims import Claim
from own_ports import own_port
from patience import PATIENCE_S


class Desk:
    """As a context it serves; `ahead` moves the service's clock."""

    def __init__(self, directory: Path, database_url: str = "", trusted_key: str = "THE KEY") -> None:
        self.directory = directory
        self.ahead = timedelta()
        self._trusted_key = trusted_key
        self.database = open_database(database_url or f"sqlite:///{directory / 'convoy.db'}")
        self.port = own_port()
        settings = Settings("main", ("127.0.0.1",), enrollment_port=self.port)
        Office.found(self.database, TlsFolder(directory / "tls"), settings, utc_now())
        self.office = Office(self.database, TlsFolder(directory / "tls"), clock=self.now)
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))

    def now(self) -> datetime:
        return utc_now() + self.ahead

    async def _serve(self) -> None:
        app, context = create_app(self.office, self._trusted_key), server_context(self.office.folder)
        async with serving(app, "127.0.0.1", self.port, tls=context, protocol=PeerProtocol):
            self._ready.set()
            await self._stop.wait()

    def __enter__(self) -> Desk:
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)
        self.close()

    def close(self) -> None:
        """Of a desk that does not serve."""
        self._loop.close()
        self.database.close()

    def claim(self, name: str = "board-1", life: timedelta = timedelta(hours=1)) -> Claim:
        return self.office.invite(name, life)
