"""What boards' daemons said, and who asked for it; how warm a board is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

RowNumber = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("board_statistics", sa.Column("temperature_c", sa.Float(), nullable=True))
    op.create_table(
        "board_log_requests",
        sa.Column("board", sa.String(length=63), nullable=False),
        sa.Column("asked", sa.BigInteger(), nullable=False),
        sa.Column("answered", sa.BigInteger(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=True),
        sa.Column("session", sa.BigInteger(), nullable=False),
        sa.Column("newest", sa.BigInteger(), nullable=False),
        sa.Column("lost", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("board", name=op.f("pk_board_log_requests")),
    )
    op.create_index("ix_board_log_requests_asked_at", "board_log_requests", ["asked_at"])

    op.create_table(
        "board_log_lines",
        sa.Column("id", RowNumber, nullable=False),
        sa.Column("board", sa.String(length=63), nullable=False),
        sa.Column("session", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("level", sa.String(length=32), nullable=False),
        sa.Column("logger", sa.String(length=100), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("deployment", sa.String(length=100), nullable=False),
        sa.Column("generation", sa.String(length=100), nullable=False),
        sa.Column("step", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_board_log_lines")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_board_log_lines_board_id", "board_log_lines", ["board", "id"])
    op.create_index("ix_board_log_lines_at", "board_log_lines", ["at"])


def downgrade() -> None:
    op.drop_table("board_log_lines")
    op.drop_table("board_log_requests")
    op.drop_column("board_statistics", "temperature_c")
