"""Many rows of a table in one statement, written by hand: telemetry is a thousand rows a second.

SQLAlchemy binds each parameter of each row by itself, which takes longer than the database does. Here SQLite gets
tuples, and PostgreSQL one parameter, the rows as JSON, which it takes apart itself: so they are one statement there
too, and not a round trip and a plan for each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timezone
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Dialect, Table

from convoy_controller.database.models import UtcDateTime

Row = Mapping[str, Any]
Bound = tuple[str, Callable[[Sequence[Row]], Any]]


class ManyRows:
    """One statement over the columns `names` of a table: rows are added, or with `key` those of that key changed."""

    def __init__(self, table: Table, names: Collection[str], key: str = "") -> None:
        self._table, self._key = table, key
        dates = [name for name in names if isinstance(table.c[name].type, UtcDateTime)]
        others = [name for name in names if name not in dates and name != key]
        #: Dates first and the key last, as SQLite gets them.
        self._dates, self._others = tuple(dates), (*others, *([key] if key else []))
        self._names = (*self._dates, *self._others)
        self._bound = lru_cache(maxsize=2)(self._bind)

    def write(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Execute it; each row has every name, and may have others."""
        if rows:
            statement, parameters = self._bound(connection.dialect)
            connection.exec_driver_sql(statement, parameters(rows))

    def _bind(self, dialect: Dialect) -> Bound:
        return self._in_sqlite() if dialect.name == "sqlite" else self._in_postgresql(dialect)

    def _in_sqlite(self) -> Bound:
        table = self._table.name
        marks = ", ".join("?" for _ in self._names)
        statement = f"INSERT INTO {table} ({_listed(self._names)}) VALUES ({marks})"
        if self._key:
            changed = ", ".join(f'"{name}" = ?' for name in self._names[:-1])
            statement = f'UPDATE {table} SET {changed} WHERE "{self._key}" = ?'
        dates, others = self._dates, itemgetter(*self._others)

        def parameters(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
            return [(*[_text(row[name]) for name in dates], *others(row)) for row in rows]

        return statement, parameters

    def _in_postgresql(self, dialect: Dialect) -> Bound:
        table, names = self._table.name, _listed(self._names)
        typed = ", ".join(f'"{name}" {self._table.c[name].type.compile(dialect)}' for name in self._names)
        came = f"json_to_recordset(CAST(%(rows)s AS json)) AS came({typed})"
        statement = f"INSERT INTO {table} ({names}) SELECT {names} FROM {came}"
        if self._key:
            changed = ", ".join(f'"{name}" = came."{name}"' for name in self._names[:-1])
            statement = f'UPDATE {table} SET {changed} FROM {came} WHERE {table}."{self._key}" = came."{self._key}"'
        return statement, lambda rows: {"rows": json.dumps(rows, default=_in_json, separators=(",", ":"))}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _text(date: datetime) -> str:
    """As SQLAlchemy has SQLite keep it: `YYYY-MM-DD HH:MM:SS.ffffff`."""
    return _in_utc(date).isoformat(" ", "microseconds")[:26]


def _in_utc(date: datetime) -> datetime:
    if date.tzinfo is None:
        raise ValueError(f"a date needs its time zone, {date!r} came")
    return date.astimezone(timezone.utc)


def _in_json(value: object) -> str:
    """What JSON has no form for, as PostgreSQL reads it."""
    if isinstance(value, datetime):
        return _in_utc(value).isoformat()
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    raise TypeError(f"{type(value).__name__} has no form in a row")
