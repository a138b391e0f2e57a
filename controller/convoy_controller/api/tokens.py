"""Routes of tokens and of the audit: who may ask, and who did what. For admins alone."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from convoy_controller.api.context import Here
from convoy_controller.api.paging import PageQuery, cut, shortened
from convoy_controller.api.roles import needs
from convoy_controller.api.shapes.base import GivenDate, Line, Name
from convoy_controller.api.shapes.tokens import AuditLine, AuditPage, GivenToken, NewToken, TokenLine, TokenPage
from convoy_controller.database import audit, tokens
from convoy_controller.database.audit import AuditFilter
from convoy_controller.database.records import TokenRole, utc_now

router = APIRouter(tags=["access"])
ADMIN = TokenRole.ADMIN


class AuditQuery(PageQuery):
    """Which lines of the audit are listed."""

    actor: Annotated[Name | None, Field(description="A token's name, `local` or `unknown`.")] = None
    subject: Annotated[Line | None, Field(description="Path below /api/v1.", examples=["/boards/board-1/drain"])] = None
    operation: Annotated[str | None, Field(pattern="^[a-z_]{1,60}$")] = None
    since: GivenDate | None = None
    until: GivenDate | None = None


@router.get("/tokens", **needs(ADMIN, "list_tokens"))
def list_tokens(here: Here, query: Annotated[PageQuery, Query()]) -> TokenPage:
    """Every token that ever was, by name."""
    found = tokens.tokens(here.database)
    items, following = cut("tokens", query, found, lambda line: (line.name,), (str,))
    return TokenPage(items=[TokenLine.of(line) for line in items], next=following)


@router.post("/tokens", status_code=201, **needs(ADMIN, "create_token", 409, writes=True))
def create_token(here: Here, body: GivenToken) -> NewToken:
    """Make a token. From the first one on nobody comes without one, from this machine neither."""
    return NewToken.of(tokens.create_token(here.database, body.name, body.role, utc_now(), body.expires_at))


@router.delete("/tokens/{token}", **needs(ADMIN, "revoke_token", 404, writes=True))
def revoke_token(here: Here, token: Name) -> TokenLine:
    """Let a token count no more, from the next request on."""
    return TokenLine.of(tokens.revoke_token(here.database, token, utc_now()))


@router.get("/audit", **needs(ADMIN, "list_audit"))
def list_audit(here: Here, query: Annotated[AuditQuery, Query()]) -> AuditPage:
    """Every write that came over the API, and every one that was refused, the newest first."""
    key = query.after("audit", int)
    wanted = AuditFilter(query.actor, query.subject, query.operation, query.since, query.until)
    found = audit.lines(here.database, wanted, query.limit + 1, None if key is None else int(key[0]))
    items, following = shortened("audit", query, found, lambda line: (line.id,))
    return AuditPage(items=[AuditLine.of(line) for line in items], next=following)
