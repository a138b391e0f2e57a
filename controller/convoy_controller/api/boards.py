"""Routes of boards: what they are, where they are and why, what happened to them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from convoy_controller.api.context import Here
from convoy_controller.api.events import Direction, event_page
from convoy_controller.api.paging import PageQuery, shortened
from convoy_controller.api.roles import needs
from convoy_controller.api.shapes.base import Name
from convoy_controller.api.shapes.boards import (
    BoardDetail,
    BoardLine,
    BoardPage,
    ForgottenBoard,
    SessionLine,
    SessionPage,
    Why,
)
from convoy_controller.api.shapes.events import EventPage
from convoy_controller.database import groups, pages, queries, removals
from convoy_controller.database.pages import EventFilter
from convoy_controller.database.queries import BoardFilter
from convoy_controller.database.records import BoardPresence, TokenRole
from convoy_controller.database.views import Condition

router = APIRouter(prefix="/boards", tags=["boards"])
VIEWER, ADMIN = TokenRole.VIEWER, TokenRole.ADMIN


class BoardQuery(PageQuery):
    """Which boards are listed."""

    presence: BoardPresence | None = None
    condition: Condition | None = None
    deployment: Annotated[Name | None, Field(description="Boards that hold something of it.")] = None
    group: Annotated[Name | None, Field(description="Boards of that group.")] = None
    label: Annotated[
        str | None,
        Field(max_length=300, pattern=r"^[a-z0-9-]{1,63}=[^\x00-\x1f\x7f]*$", description="KEY=VALUE that they carry."),
    ] = None


class BoardEventQuery(PageQuery):
    """Which events of a board are listed."""

    order: Direction = Direction.NEWEST


@router.get("", **needs(VIEWER, "list_boards", 404))
def list_boards(here: Here, query: Annotated[BoardQuery, Query()]) -> BoardPage:
    """Every board with its condition, by name."""
    if query.group is not None:
        groups.group(here.database, query.group)
    key, _, value = (query.label or "").partition("=")
    label = None if query.label is None else (key, value)
    wanted = BoardFilter(query.presence, query.condition, query.deployment, query.group, label)
    after = query.after("boards", str)
    found = queries.fleet(here.database, wanted, query.limit + 1, "" if after is None else str(after[0]))
    items, following = shortened("boards", query, found, lambda line: (line.board,))
    return BoardPage(items=[BoardLine.of(line) for line in items], next=following)


@router.get("/{board}", **needs(VIEWER, "get_board", 404))
def get_board(here: Here, board: Name) -> BoardDetail:
    """Everything known of one board."""
    return BoardDetail.of(queries.board(here.database, board))


@router.delete("/{board}", **needs(ADMIN, "forget_board", 404, 409, writes=True))
def forget_board(here: Here, board: Name) -> ForgottenBoard:
    """Forget a board that is gone for good; refused while it is online or counted on."""
    return ForgottenBoard(board=board, last_seen=removals.forget_board(here.database, board))


@router.get("/{board}/why", **needs(VIEWER, "why_board"))
def why_board(here: Here, board: Name) -> Why:
    """Why it is where it is, and what to do; a name that was never heard of is answered too."""
    return Why.of(queries.why(here.database, board))


@router.get("/{board}/events", **needs(VIEWER, "list_board_events"))
def list_board_events(here: Here, board: Name, query: Annotated[BoardEventQuery, Query()]) -> EventPage:
    """Its history, which outlives it."""
    return event_page(here, query, EventFilter(board=board), query.order)


@router.get("/{board}/sessions", **needs(VIEWER, "list_board_sessions", 404))
def list_board_sessions(here: Here, board: Name, query: Annotated[PageQuery, Query()]) -> SessionPage:
    """Every run of its daemon, the newest first."""
    after = query.after("sessions", int)
    before = None if after is None else int(after[0])
    found = pages.sessions(here.database, board, query.limit + 1, before)
    items, following = shortened("sessions", query, found, lambda each: (each[0],))
    return SessionPage(items=[SessionLine.of(line) for _, line in items], next=following)
