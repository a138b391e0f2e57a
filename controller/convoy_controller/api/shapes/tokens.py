"""Bodies about tokens and the audit."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from convoy_controller.api.paging import Page
from convoy_controller.api.shapes.base import Answer, Date, Given, GivenDate, Name
from convoy_controller.database.records import TokenRole


class TokenLine(Answer):
    """A token, without its secret. `last_used_at` is right to a minute; `expires_at` null: it does not expire."""

    name: str
    role: TokenRole
    created_at: Date
    expires_at: Date | None
    last_used_at: Date | None
    revoked_at: Date | None


class TokenPage(Page[TokenLine]):
    """Tokens, by name, those that count no more included."""


class GivenToken(Given):
    """A token to be made."""

    name: Annotated[Name, Field(description="Whom the audit names; given once.", examples=["ci"])]
    role: TokenRole
    expires_at: Annotated[GivenDate | None, Field(description="When it ends to count; null: not by itself.")] = None


class NewToken(Answer):
    """A token that was made. Its text is shown now and never again."""

    line: TokenLine
    token: str = Field(examples=["convoy_0123456789ab_" + "x" * 43])


class AuditLine(Answer):
    """A write that came over the API, done or refused. `status` null: under way, or it was never finished."""

    id: int
    at: Date
    actor: str = Field(description="The token's name; `local` without one; `unknown` where it did not count.")
    role: str
    peer: str = Field(description="The address it came from.")
    operation: str = Field(description="Operation id of the route.", examples=["drain_board"])
    subject: str = Field(description="Path below /api/v1.", examples=["/boards/board-1/drain"])
    before: int | None = Field(description="Revision of what was wanted before.")
    after: int | None = Field(description="Revision of what is wanted since.")
    status: int | None
    code: str = Field(description="Code of the error that it ended in; empty when it was done.")


class AuditPage(Page[AuditLine]):
    """Who did what, the newest first."""
