"""Telemetry raw, by the minute and by the hour; boards' absences; in PostgreSQL all history partitioned by time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

RowNumber = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
#: Telemetry by what it is about: its key beside the time, its counts, and its gauges raw and rolled up.
NAMES = {"board": 63, "gateway": 63, "deployment": 63, "generation": 40}
KEYS = {
    "board": ("board",),
    "stage": ("board", "deployment", "generation"),
    "feed": ("gateway", "deployment", "generation"),
}
COUNTS = {
    "board": (
        "starts",
        "elapsed_ms",
        "frames",
        "rows",
        "refused",
        "control_bytes",
        "artifact_bytes",
        "activation_bytes",
    ),
    "stage": ("elapsed_ms", "frames", "rows", "busy_us", "refused"),
    "feed": ("elapsed_ms", "accepted", "answered", "failed", "retried", "late", "refused"),
}
GAUGES = {
    "board": ("queued", "rss_bytes"),
    "stage": ("queued", "residence_us"),
    "feed": ("in_flight", "waiting", "latency_p50_us", "latency_p99_us", "hop_us"),
}
ROLLED_GAUGES = {
    "board": ("queued_sum", "queued_max", "rss_bytes_max", "temperature_samples"),
    "stage": ("queued_sum", "queued_max", "residence_us_sum", "residence_us_max"),
    "feed": (
        "in_flight_sum",
        "in_flight_max",
        "waiting_sum",
        "waiting_max",
        "latency_p50_us_sum",
        "latency_p99_us_max",
        "hop_us_sum",
        "hop_samples",
    ),
}
INDEXES = {"board": ("board",), "stage": ("board", "deployment"), "feed": ("deployment",)}
EVENT_INDEXES = (("at",), ("board", "id"), ("deployment", "id"), ("severity", "id"), ("kind", "id"))
#: Events are partitioned by weeks, counted from this Monday on.
FIRST_WEEK = datetime(1970, 1, 5, tzinfo=timezone.utc)


def upgrade() -> None:
    for noun in KEYS:
        _create_raw(noun)
        for span in ("minutes", "hours"):
            _create_rolled(noun, span)
    op.create_table(
        "rollup_marks",
        sa.Column("target", sa.String(length=63), nullable=False),
        sa.Column("rolled_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("target", name=op.f("pk_rollup_marks")),
    )
    _create_absences()
    if _is_postgresql():
        _partition_events()


def downgrade() -> None:
    if _is_postgresql():
        _join_events()
    op.drop_table("absences")
    op.drop_table("rollup_marks")
    for noun in KEYS:
        for span in ("hours", "minutes", "samples"):
            op.drop_table(f"{noun}_{span}")


def _is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _create_raw(noun: str) -> None:
    table = f"{noun}_samples"
    gauges: list[sa.Column[Any]] = [_count(name) for name in GAUGES[noun]]
    if noun == "board":
        gauges.append(sa.Column("temperature_c", sa.Float(), nullable=True))
    op.create_table(
        table,
        sa.Column("id", RowNumber, nullable=False, autoincrement=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        *_key(noun),
        *[_count(name) for name in COUNTS[noun]],
        *gauges,
        # The column that a table is partitioned by is part of every key of it.
        sa.PrimaryKeyConstraint(*(["id", "at"] if _is_postgresql() else ["id"]), name=op.f(f"pk_{table}")),
        sqlite_autoincrement=True,
        postgresql_partition_by="RANGE (at)",
    )
    _finish(table, (("at",), *((name, "at") for name in INDEXES[noun])))


def _create_rolled(noun: str, span: str) -> None:
    table = f"{noun}_{span}"
    gauges: list[sa.Column[Any]] = [_count(name) for name in ROLLED_GAUGES[noun]]
    if noun == "board":
        gauges.append(sa.Column("temperature_sum", sa.Float(), nullable=False))
        gauges.append(sa.Column("temperature_max", sa.Float(), nullable=True))
    op.create_table(
        table,
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        *_key(noun),
        _count("samples"),
        *[_count(name) for name in COUNTS[noun]],
        *gauges,
        sa.PrimaryKeyConstraint("at", *KEYS[noun], name=op.f(f"pk_{table}")),
        sqlite_with_rowid=False,
        postgresql_partition_by="RANGE (at)",
    )
    _finish(table, tuple((name, "at") for name in INDEXES[noun]))


def _key(noun: str) -> list[sa.Column[Any]]:
    columns: list[sa.Column[Any]] = [
        sa.Column(name, sa.String(length=NAMES[name]), nullable=False) for name in KEYS[noun]
    ]
    if noun == "stage":
        columns.append(sa.Column("stage", sa.BigInteger(), nullable=True))
    return columns


def _count(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _finish(table: str, indexes: Sequence[Sequence[str]]) -> None:
    for columns in indexes:
        op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))
    if _is_postgresql():
        op.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")


# Absences ------------------------------------------------------------------------------------------------------------


def _create_absences() -> None:
    op.create_table(
        "absences",
        sa.Column("id", RowNumber, nullable=False),
        sa.Column("board", sa.String(length=63), nullable=False),
        sa.Column("is_certain", sa.Boolean(), nullable=False),
        sa.Column("session", sa.BigInteger(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.String(length=2000), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_absences")),
    )
    op.create_index("ix_absences_board_began_at", "absences", ["board", "began_at"])
    op.create_index("ix_absences_ended_at", "absences", ["ended_at"])
    # What sessions tell of the time before: a board was away from the end of one to the beginning of the next.
    op.execute(
        "INSERT INTO absences (board, is_certain, session, began_at, ended_at, reason)"
        " SELECT board, TRUE, session, ended_at, next_at, substr(reason, 1, 2000) FROM ("
        " SELECT board, session, ended_at, reason, id,"
        " lead(started_at) OVER (PARTITION BY board ORDER BY id) AS next_at FROM sessions) AS runs"
        " WHERE ended_at IS NOT NULL AND (next_at > ended_at OR next_at IS NULL AND EXISTS"
        " (SELECT 1 FROM boards WHERE name = runs.board AND presence = 'offline')) ORDER BY id"
    )


# Events, in PostgreSQL -----------------------------------------------------------------------------------------------


def _partition_events() -> None:
    """The table as it is becomes the first partition, to the end of this week, so that no row is copied."""
    now = datetime.now(timezone.utc)
    end = FIRST_WEEK + timedelta(weeks=(now - FIRST_WEEK) // timedelta(weeks=1) + 1)
    op.execute("ALTER TABLE events RENAME TO events_p0")
    op.execute("ALTER TABLE events_p0 DROP CONSTRAINT pk_events")
    op.execute("ALTER TABLE events_p0 ALTER COLUMN id DROP DEFAULT")
    for columns in EVENT_INDEXES:
        name = "_".join(columns)
        op.execute(f"ALTER INDEX ix_events_{name} RENAME TO ix_events_p0_{name}")
    _create_events("id", "at", postgresql_partition_by="RANGE (at)")
    op.execute("CREATE TABLE events_default PARTITION OF events DEFAULT")
    # What a wrong clock dated later.
    op.execute(
        f"WITH later AS (DELETE FROM events_p0 WHERE at >= '{end.isoformat()}' RETURNING *)"
        " INSERT INTO events SELECT * FROM later"
    )
    op.execute(f"ALTER TABLE events ATTACH PARTITION events_p0 FOR VALUES FROM (MINVALUE) TO ('{end.isoformat()}')")
    _index_events()  # finds those that the first partition has


def _join_events() -> None:
    op.execute("ALTER TABLE events RENAME TO events_parts")
    op.execute("ALTER TABLE events_parts RENAME CONSTRAINT pk_events TO pk_events_parts")
    for columns in EVENT_INDEXES:
        op.execute(f"ALTER INDEX ix_events_{'_'.join(columns)} RENAME TO ix_events_parts_{'_'.join(columns)}")
    _create_events("id")
    op.execute("INSERT INTO events SELECT * FROM events_parts")
    op.execute("DROP TABLE events_parts")
    _index_events()


def _create_events(*key: str, **options: Any) -> None:
    """With the numbers going on where they are."""
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger(), server_default=sa.text("nextval('events_id_seq')"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("severity", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=60), nullable=False),
        sa.Column("board", sa.String(length=63), nullable=True),
        sa.Column("deployment", sa.String(length=63), nullable=True),
        sa.Column("generation", sa.String(length=40), nullable=True),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint(*key, name=op.f("pk_events")),
        **options,
    )
    op.execute("ALTER SEQUENCE events_id_seq OWNED BY events.id")


def _index_events() -> None:
    for columns in EVENT_INDEXES:
        op.create_index(f"ix_events_{'_'.join(columns)}", "events", list(columns))
