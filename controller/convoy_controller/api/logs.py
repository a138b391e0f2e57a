"""Routes of boards' logs: have a board asked for what is new, see how far that is, read what is kept."""

from __future__ import annotations

from typing import Annotated

from convoy_schema.messages.logs import LogLevel
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from convoy_controller.api.context import Here
from convoy_controller.api.roles import needs
from convoy_controller.api.shapes.base import GivenDate, Name
from convoy_controller.api.shapes.logs import LogLine, LogPage, LogState
from convoy_controller.database import log_records
from convoy_controller.database.records import TokenRole

router = APIRouter(prefix="/boards/{board}", tags=["boards"])
VIEWER = TokenRole.VIEWER


class LogQuery(BaseModel):
    """Which lines are read."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=log_records.KEPT_LINES, description="Lines at most.")] = 100
    after: Annotated[
        int | None, Field(ge=0, lt=2**63, description="Those behind this id, the oldest; else the newest.")
    ] = None
    level: Annotated[LogLevel, Field(description="Those that matter at least so much.")] = LogLevel.DEBUG
    since: Annotated[GivenDate | None, Field(description="From then on.")] = None


@router.get("/log", **needs(VIEWER, "list_board_log", 404))
def list_board_log(here: Here, board: Name, query: Annotated[LogQuery, Query()]) -> LogPage:
    """What is kept of its log, the oldest line first."""
    lines = log_records.log_lines(
        here.database, board, query.limit, after=query.after, level=query.level, since=query.since
    )
    return LogPage(items=[LogLine.of(line) for line in lines], next=None)


@router.get("/log-requests", **needs(VIEWER, "get_board_log_state", 404))
def get_board_log_state(here: Here, board: Name) -> LogState:
    """How far requests for its log have come."""
    return LogState.of(log_records.log_state(here.database, board))


@router.post("/log-requests", **needs(VIEWER, "request_board_log", 404))
def request_board_log(here: Here, board: Name) -> LogState:
    """Have it asked for what it has logged since the last time: answered when `answered` has reached `asked`."""
    log_records.request_log(here.database, board)
    return LogState.of(log_records.log_state(here.database, board))
