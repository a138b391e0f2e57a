"""Partitions of history by time, in PostgreSQL: made ahead, and dropped whole when everything in them is old.

A partition is a table of its own, named after its parent; the rows of a span lie in it, and go with it at once, where
deleting them would take as long as writing them did and leave holes. Rows of a time for which there is none lie in the
default partition, so that no insert ever fails: nobody looked in time, or the clock was wrong.

Called by `upkeep` alone. Each call is one transaction, which gives way to readers rather than make them wait.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone

from sqlalchemy import Connection, text

from convoy_controller.database.spans import PARTITIONED, Kept, Span

#: Partitions that a table has at most: a clock that leaps about makes no more, and rows lie in the default one.
MOST_PARTITIONS = 100
#: Rows that are taken out of the default partition at most to make one of their own for them.
MOST_MOVED = 50_000
#: Milliseconds to wait for readers; and for autovacuum beyond the server's `deadlock_timeout`.
WAIT_MS = 1000

_NAME = re.compile(rf"({'|'.join(kept.table for kept in PARTITIONED)})_(p\d+|default)")


def is_partition(table: str) -> bool:
    """Whether a table of that name is one partition of another."""
    return _NAME.fullmatch(table) is not None


@dataclass(frozen=True)
class Partition:
    """One that is there; `begin` None: from the beginning of time."""

    name: str
    begin: datetime | None
    end: datetime


def partitions(connection: Connection, table: str) -> list[Partition]:
    """All but the default one, oldest first."""
    found = connection.execute(
        text(
            "SELECT name, CAST(substring(bounds FROM 'FROM \\(''([^'']+)''') AS timestamptz),"
            " CAST(substring(bounds FROM 'TO \\(''([^'']+)''') AS timestamptz) AS upper FROM ("
            " SELECT child.relname AS name, pg_get_expr(child.relpartbound, child.oid) AS bounds"
            " FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid"
            " WHERE inhparent = CAST(:table AS regclass)) AS parts WHERE bounds LIKE 'FOR VALUES FROM%' ORDER BY upper"
        ),
        {"table": table},
    )
    return [Partition(name, begin and _in_utc(begin), _in_utc(end)) for name, begin, end in found]


def _in_utc(date: datetime) -> datetime:
    return date.astimezone(timezone.utc)


def add(connection: Connection, kept: Kept, span: Span, there: list[Partition]) -> bool:
    """Make the partition of that span; False where it would meet another one, or there is no room for it."""
    meets = any(span.begin < part.end and (part.begin is None or part.begin < span.end) for part in there)
    if meets or len(there) >= MOST_PARTITIONS:
        return False
    table, name = kept.table, f"{kept.table}_p{span.begin:%Y%m%d%H}"
    _give_way(connection, f"{table}_default")
    dates = {"begin": span.begin, "end": span.end}
    inside = "at >= :begin AND at < :end"
    count = text(f"SELECT count(*) FROM (SELECT 1 FROM {table}_default WHERE {inside} LIMIT {MOST_MOVED + 1}) AS stray")
    stray = connection.scalar(count, dates)
    if stray > MOST_MOVED:
        return False  # they go by and by, as they grow old
    connection.execute(text(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS)"))
    if stray:
        moved = f"WITH stray AS (DELETE FROM {table}_default WHERE {inside} RETURNING *)"
        connection.execute(text(f"{moved} INSERT INTO {name} SELECT * FROM stray"), dates)
    bounds = f"FROM ('{span.begin.isoformat()}') TO ('{span.end.isoformat()}')"
    # Attached, not made as a part: so nobody who reads the other parts is in the way.
    connection.execute(text(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES {bounds}"))
    return True


def newest_number(connection: Connection, name: str) -> int:
    """The highest `id` in a table; 0 when it is empty."""
    return int(connection.scalar(text(f"SELECT coalesce(max(id), 0) FROM {name}")))


def drop(connection: Connection, table: str, partition: Partition) -> None:
    """With everything in it."""
    # The default partition is locked by this as well: its bounds are those of no other.
    _give_way(connection, f"{table}_default", partition.name)
    connection.execute(text(f"DROP TABLE {partition.name}"))


def _give_way(connection: Connection, *names: str) -> None:
    """Take tables out of autovacuum's hands until the transaction ends, and then wait for readers no longer than that.

    Autovacuum lets go of a table for which somebody has waited as long as the server's `deadlock_timeout`, not before;
    the lock is one that keeps no reader and no writer waiting meanwhile. Whoever waits for one that does, keeps every
    reader that comes later waiting too.
    """
    patience_ms = f"1000 * extract(epoch FROM CAST(current_setting('deadlock_timeout') AS interval)) + {WAIT_MS}"
    connection.exec_driver_sql(
        f"SELECT set_config('lock_timeout', CAST(CAST({patience_ms} AS integer) AS text), true);"
        f"LOCK TABLE {', '.join(names)} IN SHARE UPDATE EXCLUSIVE MODE;"
        f"SET LOCAL lock_timeout = {WAIT_MS}"
    )
