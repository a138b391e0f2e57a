"""Bodies about groups of boards."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from convoy_controller.api.paging import Page
from convoy_controller.api.shapes.base import Answer, Date, Given, Line, Name


class GroupLine(Answer):
    """A named set of boards. It means those boards when a request names it, and follows no later change."""

    group: str
    site: str
    boards: tuple[str, ...]
    note: str
    revision: int
    changed_at: Date


class GroupPage(Page[GroupLine]):
    """Groups, by name."""


class GivenGroup(Given):
    """What a group is to be."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"site": "hall-3", "boards": ["board-1", "board-2"]}]})

    site: Annotated[Name, Field(description="Boards behind one uplink.")] = "local"
    boards: Annotated[tuple[Name, ...], Field(max_length=256)]
    note: Line = ""
