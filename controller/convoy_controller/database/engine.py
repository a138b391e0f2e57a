"""Opening a database: connections, transactions, and the upgrade to the newest tables.

SQLite runs in WAL mode with foreign keys on; writers take its lock when they begin, so that two processes wait for
each other instead of failing half way. `postgresql` does the same there. Called by the command line and by the
controller's shell.
"""

from __future__ import annotations

import fcntl
import re
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from convoy_controller.database import condition_records, postgresql, presence_hours
from convoy_controller.database.models import FleetFactsRow
from convoy_controller.database.records import utc_now
from convoy_controller.errors import (
    DatabaseBusyError,
    DatabaseError,
    DatabaseFullError,
    DatabaseReplacedError,
    DatabaseUnreachableError,
    DatabaseVersionError,
)

#: The newest migration, so that opening an up-to-date database need not load Alembic; a test compares it.
HEAD = "0011"
#: Seconds a writer waits for another one's transaction.
BUSY_S = 10
#: Seconds an opener waits for another one's upgrade.
UPGRADE_WAIT_S = 60

_IMMEDIATE = "convoy_immediate"
#: What may be a password in a URL that cannot be taken apart.
_PASSWORD = re.compile("(//[^:/@]*):[^@]*@")


class Database:
    """An open database at its newest tables. Safe to use from several threads, one transaction each."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._readers = engine if self._is_sqlite else postgresql.reading(engine)
        self._writers = _writing(engine, BUSY_S)
        self.name = _shown(engine.url)
        self._file = _identity(Path(engine.url.database or "")) if self._is_sqlite else None
        self._mark: postgresql.Mark | None = None

    @property
    def engine(self) -> Engine:
        """For this folder and its tests."""
        return self._engine

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A consistent view for the length of the block; raises `DatabaseError`."""
        with _translated(self.name), Session(self._readers) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction: committed when the block ends, undone when it raises; raises `DatabaseError`.

        The conditions of boards that the block touched are settled with it.
        """
        with _translated(self.name), Session(self._writers, expire_on_commit=False) as session, session.begin():
            # Takes the lock now: a block that reads first must not find its view outdated when it writes.
            connection = session.connection()
            if not self._is_sqlite:
                self._mark = self._compare(self._mark, connection)
            yield session
            condition_records.settle(session)
            presence_hours.write(session)

    @contextmanager
    def watched(self, note: Callable[[str, Any], object]) -> Iterator[None]:
        """Tell `note` of every statement that is executed in the block, with its parameters; for benches and tests."""

        def tell(_connection: Connection, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
            note(statement, parameters)

        event.listen(self._engine, "before_cursor_execute", tell)
        try:
            yield
        finally:
            event.remove(self._engine, "before_cursor_execute", tell)

    def check_in_place(self) -> None:
        """Raise `DatabaseReplacedError` when this is no longer the database that was opened.

        Another file at SQLite's path; other tables, or counters that fell, in PostgreSQL, where every writer looks too.
        """
        if not self._is_sqlite:
            known = self._mark  # before the moment that is read, which can then only be later
            with self.read() as db:
                mark = self._compare(known, db.connection())
            self._mark = self._mark or mark
        elif _identity(Path(self._engine.url.database or "")) != self._file:
            raise DatabaseReplacedError(
                f"{self.name} was deleted or replaced under this process: it must begin anew with what is there now",
                database=self.name,
            )

    def _compare(self, known: postgresql.Mark | None, connection: Connection) -> postgresql.Mark:
        mark = postgresql.mark_of(connection)
        if known is not None and known.was_replaced_by(mark):
            raise postgresql.replaced(self.name)
        return mark

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def _shown(url: URL) -> str:
    """As its owner wrote it, but for the password."""
    return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)[:200]


def _writing(engine: Engine, wait_s: float) -> Engine:
    if engine.dialect.name == "sqlite":
        return engine.execution_options(**{_IMMEDIATE: True})
    return postgresql.writing(engine, wait_s)


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another at the same path; None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def open_database(url: str) -> Database:
    """Connect, create or upgrade the tables, and return the database.

    Raises `DatabaseUnreachableError` when it cannot be opened, `DatabaseVersionError` when newer code made it.
    """
    engine = connect(url)
    name, is_new = _shown(engine.url), False
    try:
        with _translated(name, opening=True):
            if engine.dialect.name == "sqlite":
                path = Path(engine.url.database or "")
                path.parent.mkdir(parents=True, exist_ok=True)
                with _file_lock(path.with_name(path.name + ".lock")):
                    _use_wal(engine)
                    is_new = _upgrade(engine, name)
            else:
                is_new = _upgrade(engine, name)
        database = Database(engine)
        database.check_in_place()
        if is_new:
            condition_records.settle_all(database, utc_now())
    except OSError as error:
        engine.dispose()
        raise DatabaseUnreachableError(f"database {name} cannot be opened: {error}", database=name) from error
    except BaseException:
        engine.dispose()
        raise
    return database


def connect(url: str) -> Engine:
    """An engine for that URL, with nothing opened and nothing looked at; raises `DatabaseUnreachableError`."""
    parsed = _parse(url)
    if parsed.get_backend_name() != "sqlite":
        return postgresql.engine_for(parsed, _shown(parsed))
    try:
        engine = create_engine(parsed, connect_args={"timeout": BUSY_S})
    except (ArgumentError, ValueError, TypeError) as error:  # the driver's settings, which are not looked at before
        name = _shown(parsed)
        raise DatabaseUnreachableError(
            f"database {name}: {str(error)[:200]}; mend what stands behind '?'", database=name
        ) from error
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        hidden = _PASSWORD.sub(r"\1:***@", url)
        raise DatabaseUnreachableError(
            f"{hidden[:200]!r} is no database URL: give one such as sqlite:////var/lib/convoy/convoy.db "
            "or postgresql://user@host/convoy"
        ) from error
    if parsed.drivername == "sqlite":
        if parsed.database in (None, "", ":memory:") or "\0" in parsed.database:
            raise DatabaseUnreachableError(f"{url[:200]!r} names no file: the database must outlive its process")
    elif parsed.drivername in postgresql.SCHEMES:
        parsed = parsed.set(drivername=postgresql.DRIVER)
    else:
        raise DatabaseUnreachableError(
            f"{parsed.render_as_string(hide_password=True)[:200]!r} begins with {parsed.drivername[:40]!r}: "
            "give a URL that begins with sqlite:/// or postgresql://"
        )
    return parsed


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver would begin transactions itself, and too late
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    # What is persisted before it is published must survive a power cut, or boards would refuse us as stale.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    is_writer = connection.get_execution_options().get(_IMMEDIATE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer else "BEGIN")


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    """Held by whoever opens the database `path` stands beside; the file itself stays, it is the lock's name."""
    deadline = time.monotonic() + UPGRADE_WAIT_S
    with path.open("ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise DatabaseBusyError(
                        f"another process has been upgrading {path.with_suffix('')} for {UPGRADE_WAIT_S} s: "
                        "wait for it, or see what holds it"
                    ) from None
                time.sleep(0.02)
        yield


def _use_wal(engine: Engine) -> None:
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode")
        if cursor.fetchone() != ("wal",):
            cursor.execute("PRAGMA journal_mode = WAL")
        cursor.close()
    finally:
        connection.close()


def _upgrade(engine: Engine, name: str) -> bool:
    """Whether there was anything to upgrade."""
    with engine.connect() as connection:
        if _version(connection) == HEAD:
            return False
    with _writing(engine, UPGRADE_WAIT_S).begin() as connection:
        if _version(connection) == HEAD:
            return False
        _run_migrations(connection, name)
        _introduce(connection)
        return True


def _introduce(connection: Connection) -> None:
    """Give a new database its identity and its counters, in the transaction that makes the tables."""
    if connection.execute(select(FleetFactsRow.id)).first() is None:
        connection.execute(
            insert(FleetFactsRow).values(
                id=1, instance=str(uuid.uuid4()), created_at=utc_now(), epoch=0, revision=0, generation=0, intent=0
            )
        )


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _run_migrations(connection: Connection, name: str) -> None:
    from alembic import command
    from alembic.util import CommandError

    from convoy_controller.database.migrations import configuration

    config = configuration()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise DatabaseVersionError(
            f"database {name} is at version {_version(connection)}, which this convoy does not know "
            f"(it knows up to {HEAD}): update this convoy, or give another database",
            database=name,
        ) from error


def _driver_errors() -> tuple[type[Exception], ...]:
    """Drivers' errors come bare while a connection is prepared."""
    return (DBAPIError, sqlite3.Error, *postgresql.driver_errors())


@contextmanager
def _translated(name: str, opening: bool = False) -> Iterator[None]:
    """SQLAlchemy's errors as ours; a mistake in our own SQL is one of them, and its text is kept."""
    try:
        yield
    except _driver_errors() as error:
        if not name.startswith("sqlite"):
            raise postgresql.translated(name, error, opening) from error
        cause = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        invalidated = isinstance(error, DBAPIError) and error.connection_invalidated
        if "locked" in cause or "busy" in cause:
            raise DatabaseBusyError(
                f"database {name} was locked by another process for {BUSY_S} s: try again", database=name
            ) from error
        if "disk is full" in cause:
            raise DatabaseFullError(
                f"the disk under database {name} is full: free some space there; what waits is then written by itself",
                database=name,
            ) from error
        if opening or invalidated or "unable to open" in cause:
            raise DatabaseUnreachableError(f"database {name} cannot be opened: {cause}", database=name) from error
        raise DatabaseError(f"database {name} refused: {cause}", database=name) from error
    except SQLAlchemyError as error:
        raise DatabaseError(f"database {name}: {error}", database=name) from error
