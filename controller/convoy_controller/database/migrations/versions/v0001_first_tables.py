"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

RowNumber = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "artifacts",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("packed_size", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_artifacts")),
    )
    op.create_table(
        "boards",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("session", sa.BigInteger(), nullable=False),
        sa.Column("presence", sa.String(length=32), nullable=False),
        sa.Column("presence_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("presence_reason", sa.Text(), nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=True),
        sa.Column("part", sa.String(length=40), nullable=False),
        sa.Column("fabric", sa.String(length=63), nullable=False),
        sa.Column("software", sa.String(length=60), nullable=False),
        sa.Column("capability", sa.LargeBinary(), nullable=True),
        sa.Column("desired_epoch", sa.BigInteger(), nullable=False),
        sa.Column("desired_revision", sa.BigInteger(), nullable=False),
        sa.Column("desired_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reported_epoch", sa.BigInteger(), nullable=False),
        sa.Column("reported_revision", sa.BigInteger(), nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("shell", sa.String(length=63), nullable=False),
        sa.Column("blocked", sa.Text(), nullable=False),
        sa.Column("degraded", sa.Text(), nullable=False),
        sa.Column("store_bytes", sa.BigInteger(), nullable=False),
        sa.Column("store_quota", sa.BigInteger(), nullable=False),
        sa.Column("reported", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_boards")),
    )
    op.create_index("ix_boards_presence_name", "boards", ["presence", "name"])

    op.create_table(
        "deployments",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("version", sa.String(length=63), nullable=False),
        sa.Column("method", sa.String(length=32), nullable=False),
        sa.Column("boards", sa.BigInteger(), nullable=False),
        sa.Column("objective", sa.String(length=32), nullable=False),
        sa.Column("cut", sa.String(length=32), nullable=False),
        sa.Column("batch", sa.BigInteger(), nullable=False),
        sa.Column("intent_revision", sa.BigInteger(), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_deployments")),
    )
    op.create_index("ix_deployments_intent_revision", "deployments", ["intent_revision"])

    op.create_table(
        "events",
        sa.Column("id", RowNumber, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("severity", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=60), nullable=False),
        sa.Column("board", sa.String(length=63), nullable=True),
        sa.Column("deployment", sa.String(length=63), nullable=True),
        sa.Column("generation", sa.String(length=40), nullable=True),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_at", "events", ["at"])
    op.create_index("ix_events_board_id", "events", ["board", "id"])
    op.create_index("ix_events_deployment_id", "events", ["deployment", "id"])

    op.create_table(
        "fleet_facts",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("instance", sa.String(length=36), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("intent", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fleet_facts")),
    )
    op.create_table(
        "gateways",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("session", sa.BigInteger(), nullable=False),
        sa.Column("presence", sa.String(length=32), nullable=False),
        sa.Column("presence_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("address", sa.String(length=200), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("reported", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_gateways")),
    )
    op.create_table(
        "models",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("version", sa.String(length=63), nullable=False),
        sa.Column("serial", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("announcement", sa.LargeBinary(), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name=op.f("pk_models")),
    )
    op.create_index("ix_models_digest", "models", ["digest"], unique=True)
    op.create_index("ix_models_name_serial", "models", ["name", "serial"], unique=True)

    op.create_table(
        "artifact_references",
        sa.Column("bundle", sa.String(length=64), nullable=False),
        sa.Column("artifact", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact"], ["artifacts.digest"], name=op.f("fk_artifact_references_artifact_artifacts")
        ),
        sa.ForeignKeyConstraint(["bundle"], ["models.digest"], name=op.f("fk_artifact_references_bundle_models")),
        sa.PrimaryKeyConstraint("bundle", "artifact", name=op.f("pk_artifact_references")),
    )
    op.create_index("ix_artifact_references_artifact", "artifact_references", ["artifact"])

    op.create_table(
        "board_statistics",
        sa.Column("board", sa.String(length=63), nullable=False),
        sa.Column("session", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("uptime_ms", sa.BigInteger(), nullable=False),
        sa.Column("rss_bytes", sa.BigInteger(), nullable=False),
        sa.Column("frames", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("queued", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.Column("control_bytes", sa.BigInteger(), nullable=False),
        sa.Column("activation_bytes", sa.BigInteger(), nullable=False),
        sa.Column("pulse", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["board"], ["boards.name"], name=op.f("fk_board_statistics_board_boards")),
        sa.PrimaryKeyConstraint("board", name=op.f("pk_board_statistics")),
    )
    op.create_table(
        "generations",
        sa.Column("id", RowNumber, nullable=False),
        sa.Column("deployment", sa.String(length=63), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["deployment"], ["deployments.name"], name=op.f("fk_generations_deployment_deployments")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_generations")),
    )
    op.create_index(
        "ix_generations_deployment_epoch_counter", "generations", ["deployment", "epoch", "counter"], unique=True
    )
    op.create_index("ix_generations_state_changed_at", "generations", ["state", "changed_at"])

    op.create_table(
        "sessions",
        sa.Column("id", RowNumber, nullable=False),
        sa.Column("board", sa.String(length=63), nullable=False),
        sa.Column("session", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["board"], ["boards.name"], name=op.f("fk_sessions_board_boards")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_board_id", "sessions", ["board", "id"])
    op.create_index("ix_sessions_board_session", "sessions", ["board", "session"], unique=True)
    op.create_index("ix_sessions_ended_at", "sessions", ["ended_at"])

    op.create_table(
        "assignments",
        sa.Column("id", RowNumber, nullable=False),
        sa.Column("generation_id", RowNumber, nullable=False),
        sa.Column("board", sa.String(length=63), nullable=False),
        sa.Column("stage", sa.BigInteger(), nullable=False),
        sa.Column("stages", sa.BigInteger(), nullable=False),
        sa.Column("layers", sa.JSON(), nullable=False),
        sa.Column("slots", sa.JSON(), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.Column("phase", sa.String(length=32), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("done_bytes", sa.BigInteger(), nullable=False),
        sa.Column("total_bytes", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.String(length=60), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("retryable", sa.Boolean(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["board"], ["boards.name"], name=op.f("fk_assignments_board_boards")),
        sa.ForeignKeyConstraint(
            ["generation_id"], ["generations.id"], name=op.f("fk_assignments_generation_id_generations")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignments")),
    )
    op.create_index("ix_assignments_generation_id_board", "assignments", ["generation_id", "board"], unique=True)


def downgrade() -> None:
    op.drop_index("ix_assignments_generation_id_board", "assignments")

    op.drop_table("assignments")
    op.drop_index("ix_sessions_ended_at", "sessions")
    op.drop_index("ix_sessions_board_session", "sessions")
    op.drop_index("ix_sessions_board_id", "sessions")

    op.drop_table("sessions")
    op.drop_index("ix_generations_state_changed_at", "generations")
    op.drop_index("ix_generations_deployment_epoch_counter", "generations")

    op.drop_table("generations")
    op.drop_table("board_statistics")
    op.drop_index("ix_artifact_references_artifact", "artifact_references")

    op.drop_table("artifact_references")
    op.drop_index("ix_models_name_serial", "models")
    op.drop_index("ix_models_digest", "models")

    op.drop_table("models")
    op.drop_table("gateways")
    op.drop_table("fleet_facts")
    op.drop_index("ix_events_deployment_id", "events")
    op.drop_index("ix_events_board_id", "events")
    op.drop_index("ix_events_at", "events")

    op.drop_table("events")
    op.drop_index("ix_deployments_intent_revision", "deployments")

    op.drop_table("deployments")
    op.drop_index("ix_boards_presence_name", "boards")

    op.drop_table("boards")
    op.drop_table("artifacts")
