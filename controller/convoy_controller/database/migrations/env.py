"""Alembic runs this file for every command; the caller hands it an open connection."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

from convoy_controller.database.models import UtcDateTime
from convoy_controller.database.partitions import is_partition
from convoy_controller.database.telemetry_tables import TABLES


def _render(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    """Our own types as the plain ones beneath, so that a migration needs nothing of today's code."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=TABLES,
    include_name=lambda name, kind, _parents: kind != "table" or not is_partition(name or ""),
    render_item=_render,
    render_as_batch=True,  # SQLite alters a table by copying it
    transactional_ddl=True,  # so that an upgrade happens as a whole, in SQLite as well
)
with context.begin_transaction():
    context.run_migrations()
