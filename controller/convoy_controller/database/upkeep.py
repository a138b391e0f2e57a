"""What history needs now and then: samples rolled up, partitions made ahead, and what is old taken away.

In small steps, each a transaction of its own: these are generators that stop between them, so that what the controller
decides never waits for long. A step that was cut off is done by the next run. Called by `housekeeping`, in the
database's thread.

PostgreSQL drops whole partitions. SQLite has none: there rows are deleted along an index by time, a bounded number at a
time, and the file, which does not shrink, takes new rows where the old ones were.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import ColumnElement, column, delete, func, select, table, true
from sqlalchemy.orm import Session
from sqlalchemy.sql.expression import FromClause

from convoy_controller.database import partitions
from convoy_controller.database.engine import Database
from convoy_controller.database.partitions import Partition
from convoy_controller.database.retention import KEEP_ROWS
from convoy_controller.database.rollup import NOUNS, Step, roll_up, rolled_up_to
from convoy_controller.database.spans import EVENTS, PARTITIONED, TELEMETRY, Kept, Span
from convoy_controller.database.telemetry_tables import TABLES
from convoy_controller.errors import DatabaseError, DatabaseReplacedError, DatabaseUnreachableError

log = logging.getLogger(__name__)

#: Rows deleted in one transaction, and those of the same moment.
BATCH_ROWS = 5000
_RAW = {noun.raw.name: noun for noun in NOUNS}


def every_minute(database: Database) -> Iterator[None]:
    """Minutes from the samples."""
    for _ in roll_up(database, Step.MINUTE):
        yield


def now_and_then(
    database: Database, now: datetime, *, is_date_trusted: bool, keep_rows: int = KEEP_ROWS
) -> Iterator[None]:
    """Hours from the samples, partitions for what comes, and if the date is to be trusted the end of what is old.

    Of events the newest `keep_rows` stay.
    """
    for _ in roll_up(database, Step.HOUR):
        yield
    is_partitioned = database.engine.dialect.name == "postgresql"
    if is_partitioned:
        yield from _prepare(database, now)
    if not is_date_trusted:
        return
    if is_partitioned:
        yield from _drop_events(database, now, keep_rows)
    for kept in TELEMETRY:
        yield from _expire(database, kept, now, is_partitioned)


# Partitions ----------------------------------------------------------------------------------------------------------


def _prepare(database: Database, now: datetime) -> Iterator[None]:
    """Where it cannot be, rows lie in the default partition, and are deleted from there when they are old."""
    with database.read() as db:
        there = {kept.table: partitions.partitions(db.connection(), kept.table) for kept in PARTITIONED}
    for kept in PARTITIONED:
        known = {(part.begin, part.end) for part in there[kept.table]}
        for span in kept.wanted(now):
            if (span.begin, span.end) in known:
                continue
            with _left_for_now(f"a partition of {kept.table} is not made"), database.write() as db:
                connection = db.connection()
                partitions.add(connection, kept, span, partitions.partitions(connection, kept.table))
            yield


def _drop_events(database: Database, now: datetime, keep_rows: int) -> Iterator[None]:
    """Those in which no event is young, nor among the newest `keep_rows`."""
    with database.read() as db:
        connection = db.connection()
        old = _ended(partitions.partitions(connection, EVENTS.table), now - EVENTS.keep)
        oldest_kept = partitions.newest_number(connection, EVENTS.table) - keep_rows if old else 0
    yield from _drop(database, EVENTS, old, oldest_kept)


def _ended(parts: list[Partition], before: datetime) -> list[Partition]:
    return [part for part in parts if part.end <= before]


def _drop(database: Database, kept: Kept, old: list[Partition], up_to: int | None) -> Iterator[None]:
    """Those partitions that have no row numbered above `up_to`, or none at all; each in a transaction of its own."""
    for part in old:
        with _left_for_now(f"{part.name} is not dropped"), database.write() as db:
            connection = db.connection()
            is_there = part in partitions.partitions(connection, kept.table)  # another process may have been here
            if is_there and (up_to is None or partitions.newest_number(connection, part.name) <= max(up_to, 0)):
                partitions.drop(connection, kept.table, part)
                log.info("%s up to %s are old: %s was dropped", kept.table, f"{part.end:%Y-%m-%d %H:%M}", part.name)
        yield


@contextmanager
def _left_for_now(what: str) -> Iterator[None]:
    """Readers are in the way, or it is not allowed: the next run tries again, and what else there is to do is done."""
    try:
        yield
    except (DatabaseUnreachableError, DatabaseReplacedError):
        raise
    except DatabaseError as error:
        log.warning("%s for now: %s", what, error)


# Telemetry -----------------------------------------------------------------------------------------------------------


def _expire(database: Database, kept: Kept, now: datetime, is_partitioned: bool) -> Iterator[None]:
    where = f"{kept.table}_default" if is_partitioned else kept.table
    rows = table(where, column("at", TABLES.tables[kept.table].c.at.type), column("id"))
    with database.read() as db:
        parts = _ended(partitions.partitions(db.connection(), kept.table), now - kept.keep) if is_partitioned else []
        oldest = db.scalar(select(func.min(rows.c.at)))
        has_old_rows = oldest is not None and oldest < now - kept.keep
        if not parts and not has_old_rows:
            return  # without a look at what the spans hold
        before = kept.oldest_kept(_filled(db, kept), now)
        rolled = rolled_up_to(db, _RAW[kept.table]) if kept.table in _RAW else None
    if before is None:
        return
    yield from _drop(database, kept, _ended(parts, before), rolled)
    if has_old_rows:
        yield from _delete(database, rows, before, true() if rolled is None else rows.c.id <= rolled)


def _filled(db: Session, kept: Kept) -> list[Span]:
    """The newest spans that hold anything, as many as stay whatever the date is; each found by the index on `at`."""
    at = TABLES.tables[kept.table].c.at
    newest = db.scalar(select(func.max(at)))
    found: list[Span] = []
    while newest is not None and len(found) < kept.spans:
        found.append(kept.span(newest))
        newest = db.scalar(select(func.max(at)).where(at < found[-1].begin))
    return found


def _delete(database: Database, rows: FromClause, before: datetime, allowed: ColumnElement[bool]) -> Iterator[None]:
    """Rows dated `before`, oldest first."""
    at = rows.c.at
    more = True
    while more:
        with database.write() as db:
            last = db.scalar(select(at).where(at < before, allowed).order_by(at).limit(1).offset(BATCH_ROWS))
            more = last is not None
            db.execute(delete(rows).where(at <= last if more else at < before, allowed))  # type: ignore[arg-type]
        yield
