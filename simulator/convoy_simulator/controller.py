"""A controller in virtual time: the real one, with a database that may be away, or older than it was."""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from convoy_controller.database.engine import Database, open_database
from convoy_controller.database.recorder import Recorder
from convoy_controller.errors import DatabaseReplacedError, DatabaseUnreachableError
from convoy_controller.home import Home
from convoy_controller.service import Controller
from convoy_schema.surroundings import Surroundings

from convoy_simulator.host import URL, Fault, Host
from convoy_simulator.life import EndedError, Life
from convoy_simulator.meter import works_for_controller
from convoy_simulator.network import Line, Network


class Storage:
    """The file of the database, which outlives every controller."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.path = Path(url.removeprefix("sqlite:///"))
        self.is_away = False
        self._saved: Path | None = None

    def back_up(self) -> None:
        """Keep what is there now."""
        self._saved = self.path.with_suffix(".saved")
        with engine_of(self.url).connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copyfile(self.path, self._saved)

    def restore(self) -> bool:
        """Put back what was kept; nobody may have the database open. False when nothing was."""
        if self._saved is None:
            return False
        for suffix in ("-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        target = self.path.with_suffix(".new")
        shutil.copyfile(self._saved, target)
        target.replace(self.path)
        return True


@functools.lru_cache(maxsize=4)
def engine_of(url: str) -> Any:
    """One for every process of a fleet, and for every fleet at that path: what it has compiled serves all of them."""
    return open_database(url).engine


class VirtualDatabase(Database):
    """As `Database`; every transaction is a step of its process' life, before and after it is committed."""

    storage: Storage
    life: Life

    @contextlib.contextmanager
    def read(self) -> Iterator[Any]:
        """See `Database`."""
        self._reach()
        with super().read() as session:
            yield session

    @contextlib.contextmanager
    def write(self) -> Iterator[Any]:
        """See `Database`."""
        self._reach()
        with super().write() as session:
            yield session
            self.life.step("commit")
        self.life.step("committed")

    def check_in_place(self) -> None:
        """See `Database`."""
        if hasattr(self, "life"):
            self._reach()
        super().check_in_place()

    def _reach(self) -> None:
        if self.life.is_over:
            raise EndedError("database")
        if self.storage.is_away:
            raise DatabaseUnreachableError("the database is away", database="virtual")


class ControllerHost(Host):
    """A machine with a controller. `recorder`: what its records are written by."""

    recorder: type[Recorder] = Recorder

    rss_bytes = 120 * 1024 * 1024

    def __init__(
        self,
        name: str,
        site: str,
        network: Network,
        line: Line,
        fault: Fault,
        seed: int,
        *,
        home: Home,
        storage: Storage,
    ) -> None:
        super().__init__(name, site, network, line, fault, seed)
        self.storage = storage
        self._home = replace(home, database_url=storage.url)
        self.controller: Controller | None = None
        self._database: Database | None = None
        self.last_recorder: Recorder | None = None

    def process(self, surroundings: Surroundings) -> Coroutine[Any, Any, None]:
        """See `Host`."""
        self.controller = Controller(
            self._home,
            URL,
            site=self.site,
            name=self.name,
            surroundings=surroundings,
            database=functools.partial(self._open, self.life),
            recorder=self._recorded,
        )
        works_for_controller()
        return self.controller.run()

    def _recorded(self, database: Database) -> Recorder:
        self.last_recorder = self.recorder(database)
        return self.last_recorder

    def _open(self, life: Life, url: str) -> Database:
        if self.storage.is_away:
            raise DatabaseUnreachableError("the database is away", database="virtual")
        database = VirtualDatabase(engine_of(url))
        database.storage, database.life = self.storage, life
        database.check_in_place()
        self._database = database
        return database

    def judge(self, outcome: object) -> bool:
        """See `Host`."""
        # With another database in place, or none, it begins anew in a process of its own.
        if isinstance(outcome, (DatabaseReplacedError, DatabaseUnreachableError)):
            return True
        return super().judge(outcome)

    def cleared(self) -> None:
        """See `Host`."""
        if self._database is not None:
            self._database.close()
