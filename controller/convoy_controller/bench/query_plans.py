"""What a database says of how it answers a statement: which indexes it uses, which growing tables it reads whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from convoy_controller.database.partitions import is_partition

#: Tables that have a row for each board, or for what happened.
GROWING = frozenset(
    [
        "boards",
        "board_statistics",
        "board_conditions",
        "board_group_members",
        "board_labels",
        "board_wishes",
        "sessions",
        "absences",
        "events",
        "audit",
        "assignments",
        "generations",
        "board_log_lines",
        "board_samples",
        "board_minutes",
        "board_hours",
        "stage_samples",
        "stage_minutes",
        "stage_hours",
        "feed_samples",
        "feed_minutes",
        "feed_hours",
    ]
)


#: A table of fewer rows is small.
FEW = 1000
_STEP = re.compile(r"(SCAN|SEARCH) (\w+)(?: USING (?:COVERING )?INDEX (\w+)| USING ((?:INTEGER )?PRIMARY KEY))?")


@dataclass(frozen=True)
class Plan:
    """`indexes` that carry a statement, and `scans`: growing tables that it reads from end to end."""

    indexes: frozenset[str]
    scans: frozenset[str]


def plan_of(connection: Any, statement: str, parameters: Any, few: int = FEW) -> Plan:
    """The plan of one statement on an open connection of SQLAlchemy's, with the parameters that it came with.

    In PostgreSQL a table, or a partition, of fewer than `few` rows may be read whole: that is cheaper than its index.
    """
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
        return _on_sqlite(statement, [row[3] for row in rows])
    (found,) = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalars()
    rows = dict(connection.exec_driver_sql("SELECT relname, reltuples FROM pg_class WHERE relkind = 'r'").all())
    return _on_postgresql(found[0]["Plan"], {table for table, count in rows.items() if count < few})


def _on_sqlite(statement: str, steps: list[str]) -> Plan:
    tables = {
        alias or table: table
        for table, alias in re.findall(r"(?:FROM|JOIN|UPDATE|INTO) (\w+)(?: AS (?:\"?(\w+)\"?))?", statement)
    }
    indexes, scans = set[str](), set[str]()
    for step in steps:
        read = _STEP.match(step)
        if read is None or read[2] not in tables:
            continue
        table = tables[read[2]]
        if read[1] == "SCAN" and table in GROWING:
            scans.add(table)
        elif read[3] or read[4]:
            indexes.add(read[3] if read[3] and not read[3].startswith("sqlite_autoindex") else f"pk_{table}")
    return Plan(frozenset(indexes), frozenset(scans))


def _on_postgresql(plan: dict[str, Any], small: set[str]) -> Plan:
    indexes, scans = set[str](), set[str]()
    for node, is_bounded in _nodes(plan, False):
        name = node.get("Index Name")
        if name is not None:
            indexes.add(_of_the_whole(name))
        table = node.get("Relation Name", "")
        if is_partition(table):
            table = re.sub(r"_(p\d+|default)$", "", table)
        whole = node["Node Type"] == "Seq Scan" or (name is not None and not is_bounded and "Index Cond" not in node)
        if whole and table in GROWING and node["Relation Name"] not in small:
            scans.add(table)
    return Plan(frozenset(indexes), frozenset(scans))


def _of_the_whole(index: str) -> str:
    """The name of an index of a partitioned table, of that of one partition."""
    name = re.sub(r"_(p\d+|default)(?=_)", "", index)
    return re.sub(r"^(\w+)_pkey$", r"pk_\1", re.sub(r"^(\w+)_idx$", r"ix_\1", name))


def _nodes(node: dict[str, Any], is_bounded: bool) -> Iterator[tuple[dict[str, Any], bool]]:
    """Every node, and whether one above it stops it after so many rows."""
    if node["Node Type"] == "Bitmap Heap Scan":
        yield node, True  # what is below it has the condition
    else:
        yield node, is_bounded
    stops = is_bounded or node["Node Type"] == "Limit"
    if node["Node Type"] in ("Sort", "Aggregate", "Hash"):
        stops = False  # these read all of what is below before the first row
    for below in node.get("Plans", ()):
        yield from _nodes(below, stops)
