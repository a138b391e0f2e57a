"""Who calls: the bearer of a token, or whoever may speak without one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from convoy_controller.api.problems import ApiError
from convoy_controller.database.records import TokenRole

#: Names under which this machine speaks to itself.
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
#: What callers without a token are called.
LOCAL = "local"


@dataclass(frozen=True)
class Caller:
    """Who calls, as the audit trail names it, and what that role may do."""

    name: str
    role: TokenRole


class ForeignOriginError(ApiError):
    """A page of another site calls through the user's browser, where no token is asked for."""

    code = "foreign-origin"
    status: ClassVar[int] = 403


class Access(Protocol):
    """Decides who a caller is."""

    async def caller(self, scope: Scope) -> Caller:
        """Who sent this request; raises `ApiError` with status 401 or 403."""


class InProcess:
    """For the command line, which holds the database's files itself and could write to them without us."""

    async def caller(self, scope: Scope) -> Caller:
        """Always the owner of the files."""
        return Caller(LOCAL, TokenRole.ADMIN)


class Loopback:
    """For a socket that only this machine reaches: everyone on it may do everything, but for pages in a browser."""

    async def caller(self, scope: Scope) -> Caller:
        """The owner of the machine; raises `ForeignOriginError` for a page from elsewhere."""
        headers = Headers(scope=scope)
        check_is_local(headers)
        return Caller(LOCAL, TokenRole.ADMIN)


def check_is_local(headers: Headers) -> None:
    """Refuse what a browser sends for a page of another site, which may know our address or take it for its own."""
    host = _host(f"//{headers.get('host', '')}")
    if host not in LOOPBACK:
        raise ForeignOriginError(
            f"without a token this API answers to localhost only, it was called {headers.get('host', '')[:80]!r}: "
            "make a token with `convoy token create NAME`",
            expected="Host: localhost or 127.0.0.1",
            came=headers.get("host", "")[:80],
            action="make a token with `convoy token create NAME`",
        )
    origin = headers.get("origin")
    if origin is not None and _host(origin) not in LOOPBACK:
        raise ForeignOriginError(
            f"without a token no page of another site may call this API, {origin[:80]!r} did: "
            "make a token with `convoy token create NAME`",
            expected="no Origin, or one of this machine",
            came=origin[:80],
            action="make a token with `convoy token create NAME`",
        )


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
