"""Opening a database: connections, transactions, and the upgrade to the newest tables.

SQLite runs in WAL mode with foreign keys on; writers take its lock when they begin, so that two processes wait for
each other instead of failing half way. Called by the command line and by the controller's shell.
"""

from __future__ import annotations

import fcntl
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session

from convoy_controller.database.models import FleetFactsRow
from convoy_controller.database.records import utc_now
from convoy_controller.errors import (
    DatabaseBusyError,
    DatabaseError,
    DatabaseUnreachableError,
    DatabaseVersionError,
)

#: The newest migration, so that opening an up-to-date database need not load Alembic; a test compares it.
HEAD = "0001"
#: Seconds a writer waits for another one's transaction.
BUSY_S = 10
#: Seconds an opener waits for another one's upgrade.
UPGRADE_WAIT_S = 60
#: Key of the advisory lock that openers of a PostgreSQL database hold while they upgrade it.
UPGRADE_LOCK = 0x636F6E76

_IMMEDIATE = "convoy_immediate"


class Database:
    """An open database at its newest tables. Safe to use from several threads, one transaction each."""

    def __init__(self, engine: Engine) -> None:
        self._readers = engine
        self._writers = engine.execution_options(**{_IMMEDIATE: True})
        self.name = engine.url.render_as_string(hide_password=True)

    @property
    def engine(self) -> Engine:
        """For this folder and its tests."""
        return self._readers

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A consistent view for the length of the block; raises `DatabaseError`."""
        with _translated(self.name), Session(self._readers) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction: committed when the block ends, undone when it raises; raises `DatabaseError`."""
        with _translated(self.name), Session(self._writers, expire_on_commit=False) as session, session.begin():
            # Takes the lock now: a block that reads first must not find its view outdated when it writes.
            session.connection()
            yield session

    def close(self) -> None:
        """Close every connection."""
        self._readers.dispose()


def open_database(url: str) -> Database:
    """Connect, create or upgrade the tables, and return the database.

    Raises `DatabaseUnreachableError` when it cannot be opened, `DatabaseVersionError` when newer code made it.
    """
    parsed = _parse(url)
    name = parsed.render_as_string(hide_password=True)
    engine = _engine(parsed, name)
    try:
        with _translated(name, opening=True):
            if parsed.get_backend_name() == "sqlite":
                path = Path(parsed.database or "")
                path.parent.mkdir(parents=True, exist_ok=True)
                with _file_lock(path.with_name(path.name + ".lock")):
                    _use_wal(engine)
                    _upgrade(engine, name)
            else:
                _upgrade(engine, name)
    except OSError as error:
        engine.dispose()
        raise DatabaseUnreachableError(f"database {name} cannot be opened: {error}", database=name) from error
    except BaseException:
        engine.dispose()
        raise
    return Database(engine)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise DatabaseUnreachableError(
            f"{url!r} is no database URL: give one such as sqlite:////var/lib/convoy/convoy.db "
            "or postgresql://user@host/convoy"
        ) from error
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise DatabaseUnreachableError(f"{url!r} names no file: the database must outlive its process")
    return parsed


def _engine(url: URL, name: str) -> Engine:
    is_sqlite = url.get_backend_name() == "sqlite"
    try:
        engine = create_engine(url, connect_args={"timeout": BUSY_S} if is_sqlite else {}, pool_pre_ping=not is_sqlite)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise DatabaseUnreachableError(
            f"database {name} needs a driver that is not installed: {error}", database=name
        ) from error
    if is_sqlite:
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


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


def _upgrade(engine: Engine, name: str) -> None:
    with engine.connect() as connection:
        if _version(connection) == HEAD:
            return
    with engine.execution_options(**{_IMMEDIATE: True}).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
        if _version(connection) != HEAD:
            _run_migrations(connection, name)
            _introduce(connection)


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


@contextmanager
def _translated(name: str, opening: bool = False) -> Iterator[None]:
    """SQLAlchemy's errors as ours; a mistake in our own SQL is one of them, and its text is kept."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:  # the latter while a connection is prepared
        cause = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        invalidated = isinstance(error, DBAPIError) and error.connection_invalidated
        if "locked" in cause or "busy" in cause:
            raise DatabaseBusyError(
                f"database {name} was locked by another process for {BUSY_S} s: try again", database=name
            ) from error
        if opening or invalidated or "unable to open" in cause:
            raise DatabaseUnreachableError(f"database {name} cannot be opened: {cause}", database=name) from error
        raise DatabaseError(f"database {name} refused: {cause}", database=name) from error
    except SQLAlchemyError as error:
        raise DatabaseError(f"database {name}: {error}", database=name) from error
