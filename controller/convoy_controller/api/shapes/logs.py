"""Bodies about boards' logs."""

from __future__ import annotations

from convoy_schema.messages.logs import LogLevel
from pydantic import Field

from convoy_controller.api.paging import Page
from convoy_controller.api.shapes.base import Answer, Date
from convoy_controller.database.records import LogOutcome


class LogLine(Answer):
    """A line of a board's log. `id` only grows; `number` is the board's own in `session`."""

    id: int
    board: str
    at: Date
    level: LogLevel
    logger: str
    sentence: str
    deployment: str | None
    generation: str | None
    step: str | None
    session: int
    number: int


class LogPage(Page[LogLine]):
    """Lines of a board's log, the oldest first; `next` is always null: `after` goes on."""


class LogState(Answer):
    """How far a board's log has come: `asked` requests so far, the last one `answered`, and how."""

    board: str
    is_online: bool
    asked: int
    answered: int
    outcome: LogOutcome | None
    lost: int = Field(description="Records that had gone from the board before it was asked.")
