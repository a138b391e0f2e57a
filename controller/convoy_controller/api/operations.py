"""Routes of long work: how far it is, and what came of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from convoy_controller.api.context import Here
from convoy_controller.api.paging import PageQuery, cut
from convoy_controller.api.roles import needs
from convoy_controller.api.shapes.operations import OperationLine, OperationPage
from convoy_controller.database import operations
from convoy_controller.database.records import OperationState, TokenRole, utc_now

router = APIRouter(prefix="/operations", tags=["operations"])
VIEWER = TokenRole.VIEWER


class OperationQuery(PageQuery):
    """Which operations are listed."""

    state: OperationState | None = None


@router.get("", **needs(VIEWER, "list_operations"))
def list_operations(here: Here, query: Annotated[OperationQuery, Query()]) -> OperationPage:
    """The last thousand, the newest first."""
    found = [line for line in operations.operations(here.database, utc_now()) if query.state in (None, line.state)]
    items, following = cut("operations", query, found, lambda line: (-line.id,), (int,))
    return OperationPage(items=[OperationLine.of(line) for line in items], next=following)


@router.get("/{operation}", **needs(VIEWER, "get_operation", 404))
def get_operation(here: Here, operation: Annotated[int, Path(ge=0, lt=2**63)]) -> OperationLine:
    """One of them."""
    return OperationLine.of(operations.operation(here.database, operation, utc_now()))
