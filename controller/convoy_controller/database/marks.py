"""What has changed since somebody looked: a mark for each kind of thing, cheap to read, that moves when one does.

Called by the API for those who follow. May raise `DatabaseError`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, case, func, select

from convoy_controller.database.engine import Database
from convoy_controller.database.models import (
    BoardGroupRow,
    BoardRow,
    BoardWishRow,
    DeploymentRow,
    EventRow,
    FleetFactsRow,
    GatewayRow,
    ModelRow,
    OperationRow,
)
from convoy_controller.database.records import BoardPresence

#: By kind of thing; what is in it means nothing but that it differs from the one before.
Marks = dict[str, tuple[object, ...]]

_MARKS: dict[str, Select[Any]] = {
    "boards": select(
        func.count(),
        # Numbers too: dates may be set back.
        func.sum(case((BoardRow.presence == BoardPresence.ONLINE, 1), else_=0)),
        func.sum(BoardRow.desired_revision),
        func.sum(BoardRow.reported_revision),
        select(func.max(BoardWishRow.revision)).scalar_subquery(),
        func.max(BoardRow.presence_since),
        func.max(BoardRow.reported_at),
    ),
    "generations": select(FleetFactsRow.epoch, FleetFactsRow.generation, FleetFactsRow.revision),
    "gateways": select(func.count(), func.max(GatewayRow.presence_since)),
    "groups": select(func.count(), func.max(BoardGroupRow.revision)),
    "operations": select(func.count(), func.max(OperationRow.beat_at), func.max(OperationRow.ended_at)),
    "models": select(func.count(), func.max(ModelRow.imported_at)),
}


def marks(database: Database) -> Marks:
    """One consistent view. Indexes: keys; boards, deployments, gateways and models are few."""
    deployments = select(DeploymentRow.name, DeploymentRow.state, DeploymentRow.message, DeploymentRow.intent_revision)
    with database.read() as db:
        found: Marks = {kind: tuple(db.execute(query).one()) for kind, query in _MARKS.items()}
        found["deployments"] = tuple(tuple(row) for row in db.execute(deployments.order_by(DeploymentRow.name)))
    return found


def event_ends(database: Database) -> tuple[int, int]:
    """Numbers of the oldest event that is kept and of the newest; (0, 0) when there is none. Index: events' key."""
    with database.read() as db:
        first, last = db.scalar(select(func.min(EventRow.id))), db.scalar(select(func.max(EventRow.id)))
    return first or 0, last or 0
