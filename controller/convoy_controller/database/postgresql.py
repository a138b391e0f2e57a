"""What PostgreSQL needs beyond the tables: its driver, its one writer at a time, its errors in our words.

One transaction writes at a time, as in SQLite: counters are read and counted up without gaps or twins, and an event's
number is never seen after a higher one, so a follower skips none. Readers wait for nobody and see one moment. Called by
`engine` alone.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from convoy_controller.errors import (
    DatabaseBusyError,
    DatabaseError,
    DatabaseReplacedError,
    DatabaseUnreachableError,
)

#: Schemes that owners write; which driver serves them is our business.
SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
DRIVER = "postgresql+psycopg"
#: Key of the advisory lock of whoever writes to this database.
WRITER_LOCK = 0x636F6E76
#: Seconds after which the server ends a writer that has fallen silent, so that others may go on.
SILENT_WRITER_S = 30
#: Execution option of engines that write: seconds to wait for the lock.
WAIT_S = "convoy_wait_s"

#: A server that does not answer, or a connection that died without a word, must not hold the controller for minutes.
_CONNECTION = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "fallback_application_name": "convoy",
}
#: Classes of SQLSTATE that pass by themselves or by the administrator's hand: connection lost, no room, server going
#: down or coming up, disk trouble.
_AWAY = ("08", "53", "57P", "58")
#: A server that only reads (it was a standby), and a writer that was silent for too long.
_AWAY_STATES = ("25006", "25P03")
#: Lock timeout, deadlock, serialisation, statement cancelled.
_BUSY_STATES = ("55P03", "40P01", "40001", "57014")
_NO_PERMISSION, _NO_TABLE = "42501", "42P01"

#: What a server or the driver says when it lets nobody in, and what to do then.
_ADVICE = (
    ("password", "give the right password: in the URL, in PGPASSWORD or in ~/.pgpass"),
    ("pg_hba.conf", "let this host and user in, in the server's pg_hba.conf"),
    ("role ", "create the user (createuser), or name another one in the URL"),
    ("database ", "create it (createdb), or name another one in the URL"),
    ("resolve host", "mend the host in the URL"),
    ("translate host", "mend the host in the URL"),
    ("starting up", "wait until it is up"),
    ("slots", "end other connections, or raise the server's max_connections"),
    ("too many", "end other connections, or raise the server's max_connections"),
)
_USUAL_ADVICE = "start the server, or mend host and port in the URL"


@dataclass(frozen=True)
class Mark:
    """What tells a database from one that took its place: its table, its instance, and counters that only grow."""

    table: int
    instance: str
    counters: tuple[int, ...]

    def was_replaced_by(self, later: Mark) -> bool:
        """Whether `later`, read afterwards, belongs to another database, or to an earlier state of this one."""
        fell = any(new < old for old, new in zip(self.counters, later.counters, strict=True))
        return fell or (self.table, self.instance) != (later.table, later.instance)


def mark_of(connection: Connection) -> Mark:
    """The database's mark, at this moment."""
    found = connection.execute(
        text(
            "SELECT CAST(CAST('fleet_facts' AS regclass) AS oid), instance, epoch, revision, generation, intent"
            " FROM fleet_facts WHERE id = 1"
        )
    ).first()
    if found is None:
        return Mark(0, "", (0, 0, 0, 0))  # emptied, perhaps to be filled from a backup
    return Mark(int(found[0]), str(found[1]), tuple(int(count) for count in found[2:]))


def engine_for(url: URL, name: str) -> Engine:
    """An engine whose plain transactions read one moment; those with option `WAIT_S` write, one at a time.

    Raises `DatabaseUnreachableError` when the driver is not installed.
    """
    settings = {key: value for key, value in _CONNECTION.items() if key not in url.query}
    try:
        engine = create_engine(url.set(drivername=DRIVER), connect_args=settings, pool_pre_ping=True)
    except ImportError as error:  # also where psycopg is there and no libpq
        raise DatabaseUnreachableError(
            f"database {name} needs the driver psycopg, which cannot be loaded ({error}): "
            "pip install 'convoy-fleet[postgresql]'",
            database=name,
        ) from error
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def reading(engine: Engine) -> Engine:
    """The same connections for transactions that read: one moment from the first statement to the last."""
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def writing(engine: Engine, wait_s: float) -> Engine:
    """The same connections for transactions that write; each waits up to `wait_s` for the one before."""
    # Not REPEATABLE READ: its moment would be the one before the lock is granted.
    return engine.execution_options(isolation_level="READ COMMITTED", **{WAIT_S: wait_s})


def _prepare(connection: Any, _record: object) -> None:
    connection.adapters.register_dumper(str, _text_dumper())


@lru_cache(maxsize=1)
def _text_dumper() -> type:
    from psycopg.types.string import StrDumperUnknown

    class TextDumper(StrDumperUnknown):
        """PostgreSQL's text holds no NUL, a board's message may."""

        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}"))

    return TextDumper


def _begin(connection: Connection) -> None:
    wait_s = connection.get_execution_options().get(WAIT_S)
    if wait_s is None:
        return
    connection.exec_driver_sql(
        f"SET LOCAL lock_timeout = {max(1, round(wait_s * 1000))};"
        f"SET LOCAL idle_in_transaction_session_timeout = {SILENT_WRITER_S * 1000};"
        # What is persisted before it is published must survive a power cut, whatever the server's default.
        "SELECT set_config('synchronous_commit', 'local', true) WHERE current_setting('synchronous_commit') = 'off';"
        f"SELECT pg_advisory_xact_lock({WRITER_LOCK})"
    )


def driver_errors() -> tuple[type[Exception], ...]:
    """The driver's own errors, which come bare while a connection is prepared; none before it is loaded."""
    driver = sys.modules.get("psycopg")
    return () if driver is None else (driver.Error,)


def translated(name: str, error: Exception, opening: bool) -> DatabaseError:
    """The driver's or SQLAlchemy's error in our words; to be raised from it."""
    wrapped = isinstance(error, DBAPIError)
    cause: Any = error.orig if isinstance(error, DBAPIError) else error
    state: str = getattr(cause, "sqlstate", None) or ""
    said = " ".join(str(cause).split())
    lost = (isinstance(error, DBAPIError) and error.connection_invalidated) or not wrapped
    if state in _BUSY_STATES:
        return DatabaseBusyError(f"database {name} was locked by another process: try again ({said})", database=name)
    if state == _NO_TABLE and not opening:
        return replaced(name)
    if state == _NO_PERMISSION:
        sentence = f"{said}; make its user the owner of the database, or grant it what is missing"
        kind = DatabaseUnreachableError if opening else DatabaseError
        return kind(f"database {name} refused: {sentence}", database=name)
    if lost or state.startswith(_AWAY) or state in _AWAY_STATES:
        return DatabaseUnreachableError(f"database {name} does not answer: {said}", database=name)
    if not state and type(cause).__name__ in ("OperationalError", "ConnectionTimeout"):
        return DatabaseUnreachableError(f"database {name} cannot be opened: {said}; {_advice(said)}", database=name)
    if opening:
        return DatabaseUnreachableError(f"database {name} cannot be opened: {said}", database=name)
    return DatabaseError(f"database {name} refused: {said}", database=name)


def _advice(said: str) -> str:
    # Of the server's words, and not of the address in front of them.
    heard = said.rpartition("FATAL:")[2]
    return next((advice for words, advice in _ADVICE if words in heard), _USUAL_ADVICE)


def replaced(name: str) -> DatabaseReplacedError:
    """What to raise when the database is no longer the one that was opened."""
    return DatabaseReplacedError(
        f"{name} was deleted or restored under this process: it must begin anew with what is there now", database=name
    )
