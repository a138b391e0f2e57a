"""How samples become minutes and hours: what is added up, what is the highest, and each raw row exactly once.

A table of minutes or hours is filled from the raw rows in the order of their numbers, up to a mark that is moved in the
same transaction. So a step that was cut off is done again whole, one that is repeated finds nothing to do, and a sample
that comes late (or is dated by a clock that was set back) is added to the minute it belongs to, whenever that is. The
sums are the database's own work: one statement a step.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import BigInteger, Column, Connection, Float, Select, Table, case, func, select
from sqlalchemy import cast as as_type
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import GenericFunction

from convoy_controller.database.engine import Database
from convoy_controller.database.models import UtcDateTime
from convoy_controller.database.telemetry_tables import (
    BoardHourRow,
    BoardMinuteRow,
    BoardSampleRow,
    FeedHourRow,
    FeedMinuteRow,
    FeedSampleRow,
    RollupMarkRow,
    StageHourRow,
    StageMinuteRow,
    StageSampleRow,
)

Columns = ReadOnlyColumnCollection[str, Column[Any]]


class Step(enum.IntEnum):
    """Seconds that one point of a history stands for; raw samples are shown in tens of seconds, days made of hours."""

    RAW = 10
    MINUTE = 60
    HOUR = 3600
    DAY = 86_400


#: How much of `YYYY-MM-DD HH:MM:SS.ffffff`, which is how SQLite keeps a date, tells the step; and the rest of it.
_TEXT = {
    Step.RAW: (18, "0.000000"),
    Step.MINUTE: (17, "00.000000"),
    Step.HOUR: (14, "00:00.000000"),
    Step.DAY: (11, "00:00:00.000000"),
}


class beginning(GenericFunction[Any]):  # noqa: N801 - reads as a function of SQL
    """`beginning(at, step)`: where the step begins that `at` falls into."""

    type = UtcDateTime()
    inherit_cache = True

    def __init__(self, at: ColumnElement[Any], step: Step) -> None:
        kept, rest = _TEXT[step]
        super().__init__(at, int(step), kept, rest)


@compiles(beginning, "sqlite")
def _beginning_in_sqlite(element: beginning, compiler: SQLCompiler, **options: Any) -> str:
    at, _, kept, rest = (compiler.process(clause, **options) for clause in element.clauses)
    return f"(substr({at}, 1, {kept}) || {rest})"


@compiles(beginning, "postgresql")
def _beginning_in_postgresql(element: beginning, compiler: SQLCompiler, **options: Any) -> str:
    at, step, _, _ = (compiler.process(clause, **options) for clause in element.clauses)
    return f"to_timestamp(floor(date_part('epoch', {at}) / {step}) * {step})"


@dataclass(frozen=True)
class Measure:
    """A column of minutes and hours: what it is of raw rows, and how two of it become one, by sum or by maximum."""

    of: Callable[[Columns], ColumnElement[Any]]
    is_sum: bool = True


@dataclass(frozen=True)
class Noun:
    """What telemetry is of: its tables, the columns that tell one series from another, and what is measured."""

    name: str
    raw: Table
    minutes: Table
    hours: Table
    key: tuple[str, ...]
    measures: dict[str, Measure]

    def rolled(self, step: Step) -> Table:
        """The table of minutes or of hours."""
        return {Step.MINUTE: self.minutes, Step.HOUR: self.hours}[step]

    def added_up(self, step: Step) -> Select[Any]:
        """Raw rows by `step` and series, with the columns of `rolled`; to be narrowed by the caller."""
        begins = beginning(self.raw.c.at, step)
        key = [self.raw.c[name] for name in self.key]
        measured = [measure.of(self.raw.c).label(name) for name, measure in self.measures.items()]
        return select(begins.label("at"), *key, *measured).group_by(begins, *key)

    def by_day(self) -> Select[Any]:
        """Hours by day and series, with the columns of `rolled`; to be narrowed by the caller."""
        begins = beginning(self.hours.c.at, Step.DAY)
        key = [self.hours.c[name] for name in self.key]
        measured = [
            (_total(self.hours.c[name]) if measure.is_sum else func.max(self.hours.c[name])).label(name)
            for name, measure in self.measures.items()
        ]
        return select(begins.label("at"), *key, *measured).group_by(begins, *key)


def _total(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return as_type(func.sum(column), column.type)


def _sum(expression: Callable[[Columns], ColumnElement[Any]]) -> Measure:
    return Measure(lambda c: as_type(func.coalesce(func.sum(expression(c)), 0), BigInteger))


def _sums(*names: str) -> dict[str, Measure]:
    return {name: _sum(lambda c, name=name: c[name]) for name in names}  # type: ignore[misc]


def _highest(expression: Callable[[Columns], ColumnElement[Any]]) -> Measure:
    return Measure(lambda c: func.max(expression(c)), is_sum=False)


_SAMPLES = {"samples": Measure(lambda _: func.count())}


def _table(row: type[Any]) -> Table:
    return cast("Table", row.__table__)


BOARDS = Noun(
    "board",
    _table(BoardSampleRow),
    _table(BoardMinuteRow),
    _table(BoardHourRow),
    ("board",),
    {
        **_SAMPLES,
        **_sums("starts", "elapsed_ms", "frames", "rows", "refused"),
        **_sums("control_bytes", "artifact_bytes", "activation_bytes"),
        "queued_sum": _sum(lambda c: c["queued"]),
        "queued_max": _highest(lambda c: c["queued"]),
        "rss_bytes_max": _highest(lambda c: c["rss_bytes"]),
        "temperature_sum": Measure(lambda c: as_type(func.coalesce(func.sum(c["temperature_c"]), 0), Float)),
        "temperature_samples": Measure(lambda c: func.count(c["temperature_c"])),
        "temperature_max": _highest(lambda c: c["temperature_c"]),
    },
)
STAGES = Noun(
    "stage",
    _table(StageSampleRow),
    _table(StageMinuteRow),
    _table(StageHourRow),
    ("board", "deployment", "generation"),
    {
        "stage": _highest(lambda c: c["stage"]),
        **_SAMPLES,
        **_sums("elapsed_ms", "frames", "rows", "busy_us", "refused"),
        "queued_sum": _sum(lambda c: c["queued"]),
        "queued_max": _highest(lambda c: c["queued"]),
        "residence_us_sum": _sum(lambda c: c["residence_us"] * c["frames"]),
        "residence_us_max": _highest(lambda c: c["residence_us"]),
    },
)
FEEDS = Noun(
    "feed",
    _table(FeedSampleRow),
    _table(FeedMinuteRow),
    _table(FeedHourRow),
    ("gateway", "deployment", "generation"),
    {
        **_SAMPLES,
        **_sums("elapsed_ms", "accepted", "answered", "failed", "retried", "late", "refused"),
        "in_flight_sum": _sum(lambda c: c["in_flight"]),
        "in_flight_max": _highest(lambda c: c["in_flight"]),
        "waiting_sum": _sum(lambda c: c["waiting"]),
        "waiting_max": _highest(lambda c: c["waiting"]),
        "latency_p50_us_sum": _sum(lambda c: c["latency_p50_us"] * c["answered"]),
        "latency_p99_us_max": _highest(lambda c: case((c["answered"] > 0, c["latency_p99_us"]), else_=0)),
        "hop_us_sum": _sum(lambda c: c["hop_us"]),
        "hop_samples": _sum(lambda c: case((c["hop_us"] > 0, 1), else_=0)),
    },
)
NOUNS = (BOARDS, STAGES, FEEDS)

#: Raw rows that one transaction rolls up.
CHUNK_ROWS = 20_000


def roll_up(database: Database, step: Step, chunk_rows: int = CHUNK_ROWS) -> Iterator[int]:
    """Roll up what is new into minutes, or into hours; after each transaction, the raw rows that it took.

    To be driven to its end, or to be left at any point.
    """
    for noun in NOUNS:
        taken = chunk_rows
        while taken == chunk_rows:
            with database.write() as db:
                taken = _roll(db, noun, step, chunk_rows)
            yield taken


def rolled_up_to(db: Session, noun: Noun) -> int:
    """The number up to which raw rows are in the minutes and in the hours, so that they may go."""
    return min(_mark(db, noun.minutes), _mark(db, noun.hours))


def _mark(db: Session, target: Table) -> int:
    return db.scalar(select(RollupMarkRow.rolled_id).where(RollupMarkRow.target == target.name)) or 0


def _roll(db: Session, noun: Noun, step: Step, chunk_rows: int) -> int:
    target, number = noun.rolled(step), noun.raw.c.id
    mark = _mark(db, target)
    chunk = select(number).where(number > mark).order_by(number).limit(chunk_rows).subquery()
    newest, taken = db.execute(select(func.max(chunk.c.id), func.count())).one()
    if not taken:
        return 0
    new = noun.added_up(step).where(number > mark, number <= newest)
    connection = db.connection()
    names = ("at", *noun.key, *noun.measures)
    statement = _insert(connection, target).from_select(names, new)
    added = statement.excluded
    changed = {
        name: _joined(connection, target.c[name], added[name], measure.is_sum)
        for name, measure in noun.measures.items()
    }
    connection.execute(statement.on_conflict_do_update(index_elements=["at", *noun.key], set_=changed))
    marks = cast("Table", RollupMarkRow.__table__)
    moved = _insert(connection, marks).values(target=target.name, rolled_id=newest)
    connection.execute(moved.on_conflict_do_update(index_elements=["target"], set_={"rolled_id": newest}))
    return int(taken)


def _insert(connection: Connection, target: Table) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(target) if connection.dialect.name == "sqlite" else postgresql.insert(target)


def _joined(connection: Connection, there: Any, added: Any, is_sum: bool) -> ColumnElement[Any]:
    if is_sum:
        return cast("ColumnElement[Any]", there + added)
    if connection.dialect.name == "sqlite":
        return func.coalesce(func.max(there, added), there, added)  # of two values; NULL when one of them is
    return func.greatest(there, added)
