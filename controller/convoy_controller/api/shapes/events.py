"""Bodies about history and gateways."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from convoy_controller.api.paging import Page
from convoy_controller.api.shapes.base import Answer, Date
from convoy_controller.database.records import BoardPresence, Severity


class EventLine(Answer):
    """A line of history; `id` only grows."""

    id: int
    at: Date
    severity: Severity
    kind: str = Field(examples=["serving"])
    board: str | None
    deployment: str | None
    generation: str | None
    sentence: str
    data: dict[str, Any]


class EventPage(Page[EventLine]):
    """History, the newest first unless asked otherwise."""


class GatewayLine(Answer):
    """A gateway: where requests enter."""

    gateway: str
    presence: BoardPresence
    address: str
    session: int
    epoch: int
    revision: int
    last_seen: Date


class GatewayPage(Page[GatewayLine]):
    """Gateways, by name."""
