"""Routes of groups: named sets of boards, for requests that mean all of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from convoy_controller.api.context import Calling, Here
from convoy_controller.api.paging import PageQuery, cut
from convoy_controller.api.preconditions import IfMatch, IfNoneMatch, etag, expected
from convoy_controller.api.roles import needs
from convoy_controller.api.shapes.base import Name
from convoy_controller.api.shapes.groups import GivenGroup, GroupLine, GroupPage
from convoy_controller.database import groups
from convoy_controller.database.records import TokenRole, utc_now

router = APIRouter(prefix="/groups", tags=["groups"])
VIEWER, OPERATOR = TokenRole.VIEWER, TokenRole.OPERATOR


class GroupQuery(PageQuery):
    """Which groups are listed."""

    site: Name | None = None
    board: Annotated[Name | None, Field(description="Groups with that board.")] = None


@router.get("", **needs(VIEWER, "list_groups"))
def list_groups(here: Here, query: Annotated[GroupQuery, Query()]) -> GroupPage:
    """Every group, by name."""
    found = [
        line
        for line in groups.groups(here.database)
        if query.site in (None, line.site) and (query.board is None or query.board in line.boards)
    ]
    items, following = cut("groups", query, found, lambda line: (line.group,), (str,))
    return GroupPage(items=[GroupLine.of(line) for line in items], next=following)


@router.get("/{group}", **needs(VIEWER, "get_group", 404))
def get_group(here: Here, group: Name, response: Response) -> GroupLine:
    """One group; its ETag is its revision."""
    found = groups.group(here.database, group)
    response.headers["ETag"] = etag(found.revision)
    return GroupLine.of(found)


@router.put(
    "/{group}",
    **needs(OPERATOR, "put_group", 404, 412, 428, writes=True, answer={201: ("It was not there.", GroupLine)}),
)
def put_group(
    here: Here,
    call: Calling,
    group: Name,
    body: GivenGroup,
    response: Response,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> GroupLine:
    """Make a group, or replace one, which If-Match must name."""
    condition = expected(if_match, if_none_match, must_say=True)
    change = groups.put_group(here.database, group, body.site, body.boards, body.note, utc_now(), condition)
    call.trail.before, call.trail.after = change.before, change.after
    response.status_code = 201 if change.created else 200
    return get_group(here, group, response)


@router.delete("/{group}", **needs(OPERATOR, "remove_group", 404, 412, writes=True))
def remove_group(here: Here, call: Calling, group: Name, if_match: IfMatch = None) -> GroupLine:
    """Remove a group; its boards, and what was deployed on them, stay."""
    removed = groups.remove_group(here.database, group, expected(if_match))
    call.trail.before = removed.revision
    return GroupLine.of(removed)
