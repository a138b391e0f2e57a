"""Which boards may take part in a deployment, how many may share a stage, and how many stay spare."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deployments", sa.Column("board_names", sa.Text(), nullable=True))
    op.add_column("deployments", sa.Column("replicas", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("deployments", sa.Column("spare", sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    for column in ("spare", "replicas", "board_names"):
        op.drop_column("deployments", column)
