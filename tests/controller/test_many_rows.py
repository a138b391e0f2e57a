"""Rows that are written by hand are the rows that SQLAlchemy would have written, in either database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from convoy_controller.database.engine import Database, open_database
from convoy_controller.database.many_rows import ManyRows
from convoy_controller.database.models import UtcDateTime
from convoy_controller.database.rollup import BOARDS
from convoy_controller.errors import DatabaseError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, Float, LargeBinary, MetaData, String, Table, delete, insert, select, update

AT = datetime(2030, 1, 1, 12, 0, 0, 40, tzinfo=timezone.utc)
NOTES = Table(
    "notes",
    MetaData(),
    Column("name", String(20), primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("share", Float),
    Column("at", UtcDateTime(), nullable=False),
    Column("packed", LargeBinary, nullable=False),
)
ROWS = st.fixed_dictionaries(
    {
        "name": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
        "count": st.integers(-(2**63), 2**63 - 1),
        "share": st.none() | st.floats(-1e300, 1e300),
        "at": st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(timezone(timedelta(hours=5)))),
        "packed": st.binary(max_size=40),
    }
)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    NOTES.metadata.create_all(opened.engine)
    yield opened
    opened.close()


def written(database: Database, table: Table = NOTES) -> list[dict[str, Any]]:
    with database.read() as db:
        return [dict(row) for row in db.execute(select(table).order_by(*table.primary_key)).mappings()]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROWS, max_size=8, unique_by=lambda row: row["name"]), st.lists(ROWS, min_size=8, max_size=8))
def test_rows_are_added_and_changed_as_by_sqlalchemy(
    database: Database, rows: list[dict[str, Any]], later: list[dict[str, Any]]
):
    names = NOTES.c.keys()
    changed = [{**new, "name": row["name"]} for row, new in zip(rows, later, strict=False)]
    with database.write() as db:
        db.execute(delete(NOTES))
        ManyRows(NOTES, names).write(db.connection(), rows)
    ours = written(database)
    with database.write() as db:
        ManyRows(NOTES, names, key="name").write(db.connection(), changed)
    ours_changed = written(database)
    with database.write() as db:
        db.execute(delete(NOTES))
        if rows:
            db.execute(insert(NOTES), rows)
    assert ours == written(database)
    assert len(ours) == len(rows)
    with database.write() as db:
        for row in changed:
            db.execute(update(NOTES).where(NOTES.c.name == row["name"]).values(row))
    assert ours_changed == written(database)


def test_rows_are_numbered_in_their_order_and_the_rest_stays(database: Database):
    names = [column.name for column in BOARDS.raw.c if column.name != "id"]
    counts = {name: 1 for name in names if name not in ("at", "board", "temperature_c")}
    rows = [{"at": AT, "board": f"b{9 - n}", "temperature_c": None, **counts, "other": n} for n in range(9)]
    with database.write() as db:
        ManyRows(BOARDS.raw, names).write(db.connection(), rows)
        ManyRows(BOARDS.raw, ["queued"], key="board").write(db.connection(), [{"board": "b3", "queued": 7}])
        ManyRows(BOARDS.raw, names).write(db.connection(), [])
    found = written(database, BOARDS.raw)
    assert [row["board"] for row in sorted(found, key=lambda row: row["id"])] == [f"b{9 - n}" for n in range(9)]
    assert {row["board"]: row["queued"] for row in found} == {f"b{9 - n}": 7 if n == 6 else 1 for n in range(9)}
    assert {row["at"] for row in found} == {AT}


@pytest.mark.parametrize(
    ("wrong", "error"), [({"count": None}, DatabaseError), ({"at": AT.replace(tzinfo=None)}, ValueError)]
)
def test_a_wrong_row_is_refused_with_all_of_them(database: Database, wrong: dict[str, Any], error: type[Exception]):
    right = {"name": "a", "count": 1, "share": 0.5, "at": AT, "packed": b"\0"}
    with pytest.raises(error), database.write() as db:
        ManyRows(NOTES, NOTES.c.keys()).write(db.connection(), [right, {**right, "name": "b", **wrong}])
    assert written(database) == []
