"""What is wrong with a board beyond what it said last, and since when: symptoms, degraded, blocked, failing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("boards", sa.Column("symptoms", sa.JSON(), nullable=True))
    op.add_column("boards", sa.Column("degraded_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("boards", sa.Column("blocked_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("assignments", sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("assignments", "failing_since")
    op.drop_column("boards", "blocked_since")
    op.drop_column("boards", "degraded_since")
    op.drop_column("boards", "symptoms")
