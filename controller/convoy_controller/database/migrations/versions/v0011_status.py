"""What the status queries read: conditions and their counts, members of groups, labels by value, hours of presence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import msgpack
import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

DATE = sa.DateTime(timezone=True)
PRESENCES = ("online", "offline", "unknown")
#: Rows written by one statement.
BATCH = 5000


#: What Grafana and others read, by name. Documented in docs/queries.md.
VIEWS = {
    "convoy_fleet_states": "SELECT scope, name, condition, boards FROM condition_counts WHERE boards > 0",
    "convoy_problems": (
        "SELECT rank, board, condition, wanted, actual, since, blocked_by, sentence, action, deployment, changed_at"
        " FROM board_conditions WHERE condition NOT IN ('unassigned', 'ready')"
    ),
    "convoy_fleet_hours": (
        "SELECT at"
        ", SUM(online) OVER (ORDER BY at) - online + online_s / 3600.0 AS online"
        ", SUM(offline) OVER (ORDER BY at) - offline + offline_s / 3600.0 AS offline"
        ", SUM(unknown) OVER (ORDER BY at) - unknown + unknown_s / 3600.0 AS unknown"
        " FROM presence_hours"
    ),
    "convoy_absences": "SELECT board, began_at, ended_at, is_certain, session, reason FROM absences",
    "convoy_model_spread": (
        "SELECT m.name AS model, m.version, m.digest AS bundle, a.phase, count(*) AS boards"
        ", SUM(CASE WHEN a.board IN (SELECT name FROM boards WHERE presence IN ('offline', 'unknown'))"
        " THEN 1 ELSE 0 END) AS away"
        ", SUM(a.done_bytes) AS done_bytes, SUM(a.total_bytes) AS total_bytes"
        " FROM models AS m"
        " JOIN generations AS g ON g.bundle = m.digest AND g.state IN ('staged', 'probing', 'serving', 'draining')"
        " JOIN assignments AS a ON a.generation_id = g.id"
        " GROUP BY m.name, m.version, m.digest, a.phase"
    ),
    **{
        f"convoy_deployment_{span}": (
            "SELECT at, deployment"
            f", SUM(accepted * 1000.0 / CASE WHEN elapsed_ms > {length} THEN elapsed_ms ELSE {length} END)"
            " AS accepted_per_s"
            f", SUM(answered * 1000.0 / CASE WHEN elapsed_ms > {length} THEN elapsed_ms ELSE {length} END)"
            " AS answered_per_s"
            ", SUM(failed) AS failed, SUM(refused) AS refused, SUM(retried) AS retried, SUM(late) AS late"
            ", SUM(latency_p50_us_sum) * 1.0 / NULLIF(SUM(answered), 0) AS latency_p50_us"
            ", CASE WHEN SUM(answered) > 0 THEN MAX(latency_p99_us_max) END AS latency_p99_us"
            ", SUM(hop_us_sum) * 1.0 / NULLIF(SUM(hop_samples), 0) AS hop_us"
            f" FROM feed_{span} GROUP BY at, deployment"
        )
        for span, length in (("minutes", 60_000), ("hours", 3_600_000))
    },
    "convoy_stage_minutes": (
        "SELECT at, deployment, generation, stage, count(DISTINCT board) AS boards"
        ", SUM(rows * 1000.0 / CASE WHEN elapsed_ms > 60000 THEN elapsed_ms ELSE 60000 END) AS rows_per_s"
        ", SUM(busy_us) / 1000.0 / NULLIF(SUM(elapsed_ms), 0) AS busy"
        ", SUM(residence_us_sum) * 1.0 / NULLIF(SUM(frames), 0) AS residence_us"
        " FROM stage_minutes GROUP BY at, deployment, generation, stage"
    ),
    "convoy_events": "SELECT id, at, severity, kind, board, deployment, generation, sentence FROM events",
}


def upgrade() -> None:
    _tables()
    op.add_column("generations", sa.Column("bundle", sa.String(length=64), nullable=True))
    op.create_index("ix_generations_bundle_state", "generations", ["bundle", "state"])
    op.create_index("ix_generations_created_at", "generations", ["created_at"])
    op.create_index("ix_deployments_changed_at", "deployments", ["changed_at"])
    op.create_index("ix_models_imported_at", "models", ["imported_at"])
    op.create_index("ix_assignments_board_id", "assignments", ["board", "id"])
    db = op.get_bind()
    _fill_bundles(db)
    _fill_memberships(db)
    _fill_hours(db)
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {query}")


def _tables() -> None:
    op.create_table(
        "board_conditions",
        sa.Column("board", sa.String(length=63), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("condition", sa.String(length=32), nullable=False),
        sa.Column("wanted", sa.Text(), nullable=False),
        sa.Column("actual", sa.Text(), nullable=False),
        sa.Column("since", DATE, nullable=True),
        sa.Column("blocked_by", sa.Text(), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("deployment", sa.String(length=63), nullable=True),
        sa.Column("generation", sa.String(length=40), nullable=True),
        sa.Column("stage", sa.Integer(), nullable=True),
        sa.Column("stages", sa.Integer(), nullable=True),
        sa.Column("phase", sa.String(length=32), nullable=True),
        sa.Column("changed_at", DATE, nullable=False),
        sa.ForeignKeyConstraint(["board"], ["boards.name"], name=op.f("fk_board_conditions_board_boards")),
        sa.PrimaryKeyConstraint("board", name=op.f("pk_board_conditions")),
    )
    op.create_index("ix_board_conditions_rank_board", "board_conditions", ["rank", "board"])
    op.create_index("ix_board_conditions_deployment_board", "board_conditions", ["deployment", "board"])
    op.create_index("ix_board_conditions_changed_at_board", "board_conditions", ["changed_at", "board"])
    op.create_table(
        "condition_counts",
        sa.Column("scope", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("condition", sa.String(length=32), nullable=False),
        sa.Column("boards", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "name", "condition", name=op.f("pk_condition_counts")),
    )
    op.create_table(
        "board_group_members",
        sa.Column("group_name", sa.String(length=63), nullable=False),
        sa.Column("board", sa.String(length=63), nullable=False),
        sa.PrimaryKeyConstraint("group_name", "board", name=op.f("pk_board_group_members")),
    )
    op.create_index("ix_board_group_members_board", "board_group_members", ["board"])
    op.create_table(
        "board_labels",
        sa.Column("board", sa.String(length=63), nullable=False),
        sa.Column("key", sa.String(length=63), nullable=False),
        sa.Column("value", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("board", "key", name=op.f("pk_board_labels")),
    )
    op.create_index("ix_board_labels_key_value_board", "board_labels", ["key", "value", "board"])
    op.create_table(
        "presence_hours",
        sa.Column("at", DATE, nullable=False),
        *(
            sa.Column(name, kind, nullable=False)
            for presence in PRESENCES
            for name, kind in ((presence, sa.BigInteger()), (f"{presence}_s", sa.Float()))
        ),
        sa.PrimaryKeyConstraint("at", name=op.f("pk_presence_hours")),
    )


def _fill_bundles(db: sa.Connection) -> None:
    generations = sa.table("generations", sa.column("id"), sa.column("bundle"))
    assignments = sa.table("assignments", sa.column("id"), sa.column("generation_id"), sa.column("packed"))
    first = sa.select(sa.func.min(assignments.c.id)).group_by(assignments.c.generation_id)
    rows = db.execute(
        sa.select(assignments.c.generation_id, assignments.c.packed).where(assignments.c.id.in_(first))
    ).all()
    for number, packed in rows:
        digest = str(msgpack.unpackb(bytes(packed), strict_map_key=True)["bundle"])
        db.execute(sa.update(generations).where(generations.c.id == number).values(bundle=digest))


def _fill_memberships(db: sa.Connection) -> None:
    groups = sa.table("board_groups", sa.column("name"), sa.column("boards", sa.JSON()))
    members = sa.table("board_group_members", sa.column("group_name"), sa.column("board"))
    found = [
        {"group_name": name, "board": board}
        for name, boards in db.execute(sa.select(groups.c.name, groups.c.boards))
        for board in set(boards)
    ]
    _insert(db, members, found)
    wishes = sa.table("board_wishes", sa.column("board"), sa.column("labels", sa.JSON()))
    labels = sa.table("board_labels", sa.column("board"), sa.column("key"), sa.column("value"))
    carried = [
        {"board": board, "key": str(key), "value": str(value)}
        for board, given in db.execute(sa.select(wishes.c.board, wishes.c.labels))
        for key, value in given.items()
    ]
    _insert(db, labels, carried)


def _fill_hours(db: sa.Connection) -> None:
    """From when boards were first seen, and their absences since."""
    boards = sa.table("boards", sa.column("name"), sa.column("first_seen", DATE))
    columns = sa.column("is_certain", sa.Boolean()), sa.column("began_at", DATE), sa.column("ended_at", DATE)
    absences = sa.table("absences", sa.column("board"), *columns)
    hours: dict[datetime, dict[str, float]] = defaultdict(lambda: dict.fromkeys(_columns(), 0))
    known = boards.c.first_seen.is_not(None)
    for seen in db.scalars(sa.select(boards.c.first_seen).where(known)):
        _count(hours, seen, "online", 1)
    wanted = sa.select(*columns, boards.c.first_seen)
    for is_certain, began, ended, seen in db.execute(
        wanted.join(boards, boards.c.name == absences.c.board).where(known)
    ):
        state = "offline" if is_certain else "unknown"
        for moment, by in ((max(began, seen), 1), *(((max(ended, seen), -1),) if ended is not None else ())):
            _count(hours, moment, state, by)
            _count(hours, moment, "online", -by)
    table = sa.table("presence_hours", sa.column("at", DATE), *(sa.column(name) for name in _columns()))
    _insert(db, table, ({"at": at, **counts} for at, counts in sorted(hours.items())))


def _columns() -> list[str]:
    return [f"{presence}{end}" for presence in PRESENCES for end in ("", "_s")]


def _count(hours: dict[datetime, dict[str, float]], moment: datetime, name: str, by: int) -> None:
    """So many more from `moment` on, and the seconds of its hour that are left."""
    known = moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)
    hour = known.replace(minute=0, second=0, microsecond=0)
    hours[hour][name] += by
    hours[hour][f"{name}_s"] += by * (hour + timedelta(hours=1) - known).total_seconds()


def _insert(db: sa.Connection, table: Any, rows: Iterable[dict[str, Any]]) -> None:
    for part in _parts(list(rows)):
        db.execute(sa.insert(table), part)


def _parts(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(rows), BATCH):
        yield rows[start : start + BATCH]


def downgrade() -> None:
    for name in VIEWS:
        op.execute(f"DROP VIEW {name}")
    for name in ("board_conditions", "condition_counts", "board_group_members", "board_labels", "presence_hours"):
        op.drop_table(name)
    op.drop_index("ix_assignments_board_id", "assignments")
    op.drop_index("ix_models_imported_at", "models")
    op.drop_index("ix_deployments_changed_at", "deployments")
    op.drop_index("ix_generations_created_at", "generations")
    op.drop_index("ix_generations_bundle_state", "generations")
    op.drop_column("generations", "bundle")
