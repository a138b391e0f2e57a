"""Who calls: the bearer of a token, or whoever may speak without one."""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import Scope

from convoy_controller.api.problems import ApiError
from convoy_controller.database import tokens
from convoy_controller.database.engine import Database
from convoy_controller.database.records import TokenRole, utc_now
from convoy_controller.database.views import TokenLine
from convoy_controller.errors import DatabaseError

#: Names under which this machine speaks to itself.
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
#: What callers without a token are called.
LOCAL = "local"
#: What those are called who are not known.
UNKNOWN = "unknown"
#: Seconds between two notes that a token was used.
NOTE_S = 60.0
MOST_NOTED = 1000
_HOW = "make a token with `convoy token create NAME`, and send it as `Authorization: Bearer TOKEN`"


@dataclass(frozen=True)
class Caller:
    """Who calls, as the audit trail names it, and what that role may do."""

    name: str
    role: TokenRole | None


NOBODY = Caller(UNKNOWN, None)


class UnauthorizedError(ApiError):
    """No token came, or one that does not count."""

    code = "unauthorized"
    status: ClassVar[int] = 401

    @property
    def headers(self) -> Mapping[str, str]:
        """How to say who one is."""
        return {"WWW-Authenticate": 'Bearer realm="convoy"'}


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


class Tokens:
    """For a socket: a token is needed, but for a loopback socket as long as none was ever made.

    Nothing leads back from there: when every token has expired or was revoked, none counts, and `convoy token create`
    on the machine of the database makes another.
    """

    def __init__(self, database: Database, is_loopback: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._is_loopback = is_loopback
        self._clock = clock
        self._is_closed = not is_loopback
        self._noted: OrderedDict[str, float] = OrderedDict()

    async def caller(self, scope: Scope) -> Caller:
        """See `Access`. Raises `DatabaseError` as well."""
        headers = Headers(scope=scope)
        given = headers.get("authorization")
        if given is not None:
            return await self._bearer(given)
        if not self._is_closed:
            self._is_closed = await run_in_threadpool(tokens.has_tokens, self._database)
        if self._is_closed:
            raise UnauthorizedError(f"a token is needed here, and none came: {_HOW}", expected="a token", action=_HOW)
        check_is_local(headers)
        return Caller(LOCAL, TokenRole.ADMIN)

    async def _bearer(self, given: str) -> Caller:
        scheme, _, text = given.partition(" ")
        found = await run_in_threadpool(self._look_up, text.strip()) if scheme.lower() == "bearer" else None
        if found is None:
            raise UnauthorizedError(
                f"this token is not known, has expired or was revoked: {_HOW}", expected="a token", action=_HOW
            )
        return Caller(found.name, found.role)

    def _look_up(self, text: str) -> TokenLine | None:
        """In a thread."""
        date = utc_now()
        found = tokens.bearer(self._database, text[:200], date)
        if found is not None and self._is_to_be_noted(found.name):
            with contextlib.suppress(DatabaseError):  # whoever looks at last uses can wait for the next one
                tokens.note_use(self._database, found.name, date)
        return found

    def _is_to_be_noted(self, name: str) -> bool:
        now = self._clock()
        if now - self._noted.get(name, float("-inf")) < NOTE_S:
            return False
        self._noted[name] = now
        self._noted.move_to_end(name)
        if len(self._noted) > MOST_NOTED:
            self._noted.popitem(last=False)
        return True


def peer_of(scope: Scope) -> str:
    """The address that a request comes from; '' where there is none."""
    client = scope.get("client")
    return str(client[0]) if client else ""


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
