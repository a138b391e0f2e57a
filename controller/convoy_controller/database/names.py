"""Names alone, for shells that complete a word: one short query each, and nothing of what they name.

Called by the command line at every press of a key.
"""

from __future__ import annotations

import enum

from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute

from convoy_controller.database.engine import Database
from convoy_controller.database.models import BoardGroupRow, BoardRow, DeploymentRow, ModelRow


class Named(enum.Enum):
    """What can be completed."""

    BOARD = "board"
    DEPLOYMENT = "deployment"
    MODEL = "model"
    GROUP = "group"


_COLUMNS: dict[Named, InstrumentedAttribute[str]] = {
    Named.BOARD: BoardRow.name,
    Named.DEPLOYMENT: DeploymentRow.name,
    Named.MODEL: ModelRow.name,
    Named.GROUP: BoardGroupRow.name,
}


def names(database: Database, kind: Named, beginning: str, limit: int) -> tuple[str, ...]:
    """At most `limit` names that begin so, in order. Indexes: the keys of the tables."""
    column = _COLUMNS[kind]
    wanted = (
        select(column).distinct().where(column.startswith(beginning, autoescape=True)).order_by(column).limit(limit)
    )
    if kind is Named.DEPLOYMENT:
        wanted = wanted.where(DeploymentRow.wanted)
    with database.read() as db:
        return tuple(db.scalars(wanted))
