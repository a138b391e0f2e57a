"""Routes of history and of gateways."""

from __future__ import annotations

import enum
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from convoy_controller.api.context import Here
from convoy_controller.api.paging import PageQuery, cut, shortened
from convoy_controller.api.roles import needs
from convoy_controller.api.shapes.base import GivenDate, Name
from convoy_controller.api.shapes.events import EventLine, EventPage, GatewayLine, GatewayPage
from convoy_controller.database import pages, queries
from convoy_controller.database.pages import EventFilter
from convoy_controller.database.records import BoardPresence, Severity, TokenRole
from convoy_controller.errors import NotFoundError

router = APIRouter()
VIEWER = TokenRole.VIEWER


class Direction(enum.Enum):
    """In which order history is told."""

    NEWEST = "newest"
    OLDEST = "oldest"


class EventQuery(PageQuery):
    """Which events are listed."""

    board: Name | None = None
    deployment: Name | None = None
    severity: Severity | None = None
    kind: Annotated[str | None, Field(pattern="^[a-z0-9-]{1,60}$")] = None
    since: Annotated[GivenDate | None, Field(description="From then on.")] = None
    until: Annotated[GivenDate | None, Field(description="Before then.")] = None
    order: Direction = Direction.NEWEST


class GatewayQuery(PageQuery):
    """Which gateways are listed."""

    presence: BoardPresence | None = None


def event_page(here: Here, query: PageQuery, wanted: EventFilter, order: Direction) -> EventPage:
    """One page of the events that `wanted` names."""
    kind = f"events-{order.value}"
    key = query.after(kind, int)
    after = None if key is None else int(key[0])
    found = pages.events(here.database, wanted, query.limit + 1, after, order is Direction.OLDEST)
    items, following = shortened(kind, query, found, lambda line: (line.id,))
    return EventPage(items=[EventLine.of(line) for line in items], next=following)


@router.get("/events", tags=["events"], **needs(VIEWER, "list_events"))
def list_events(here: Here, query: Annotated[EventQuery, Query()]) -> EventPage:
    """History, filtered; to follow it, see `/changes`."""
    wanted = EventFilter(query.board, query.deployment, query.severity, query.kind, query.since, query.until)
    return event_page(here, query, wanted, query.order)


@router.get("/gateways", tags=["gateways"], **needs(VIEWER, "list_gateways"))
def list_gateways(here: Here, query: Annotated[GatewayQuery, Query()]) -> GatewayPage:
    """Where requests enter, by name."""
    found = [line for line in queries.gateways(here.database) if query.presence in (None, line.presence)]
    items, following = cut("gateways", query, found, lambda line: (line.gateway,), (str,))
    return GatewayPage(items=[GatewayLine.of(line) for line in items], next=following)


@router.get("/gateways/{gateway}", tags=["gateways"], **needs(VIEWER, "get_gateway", 404))
def get_gateway(here: Here, gateway: Name) -> GatewayLine:
    """One gateway."""
    found = next((line for line in queries.gateways(here.database) if line.gateway == gateway), None)
    if found is None:
        raise NotFoundError(f"there is no gateway {gateway!r}: the list of gateways shows those there are")
    return GatewayLine.of(found)
