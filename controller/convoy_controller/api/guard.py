"""What every request passes first: who calls, whether that role may, how often, and how large the body is.

It stands in front of all routes and lets through only what its rules name, so that none can be forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from convoy_schema.errors import ConvoyError
from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from convoy_controller.api.access import NOBODY, Access, Caller, peer_of
from convoy_controller.api.book import Book
from convoy_controller.api.limits import Limits, TooLargeError, TooManyError
from convoy_controller.api.problems import ApiError, refused
from convoy_controller.api.roles import Rule
from convoy_controller.throttle import Throttle

#: Paths that tell nothing about the fleet.
OPEN_PATHS = frozenset({"/api/v1/openapi.json"})
UPLOAD = "multipart/form-data"
JSON = "application/json"


class ForbiddenError(ApiError):
    """The caller's role does not allow it."""

    code = "forbidden"
    status: ClassVar[int] = 403


class NoPathError(ApiError):
    """There is no such path."""

    code = "no-such-path"
    status: ClassVar[int] = 404


class NoMethodError(ApiError):
    """The path is known, the method is not."""

    code = "no-such-method"
    status: ClassVar[int] = 405

    @property
    def headers(self) -> Mapping[str, str]:
        """Which methods there are."""
        return {"Allow": str(self.data["allow"])}


class MediaTypeError(ApiError):
    """A body is of another type than the route takes."""

    code = "media-type"
    status: ClassVar[int] = 415


@dataclass
class Trail:
    """What a route tells the audit of its write: revisions of what is wanted, and the code of what it ended in."""

    before: int | None = None
    after: int | None = None
    code: str = ""


@dataclass(frozen=True)
class Call:
    """A request that was let through, as routes find it in `request.state.call`."""

    caller: Caller
    rule: Rule
    #: Asked anew while a long answer lasts; raises as the guard does.
    may_still: Callable[[], Awaitable[None]]
    trail: Trail = field(default_factory=Trail)


class Guard:
    """ASGI middleware."""

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        limits: Limits,
        rules: Sequence[Rule],
        book: Book,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._access = access
        self._limits = limits
        self._rules = rules
        self._book = book
        self._clock = clock
        self._buckets = Throttle(limits.burst, limits.rate_per_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        caller, rule = NOBODY, None
        try:
            self._check_rate(f"@{peer_of(scope)}")
            rule = self._rule(scope)
            caller = await self._access.caller(scope)
            _check_role(caller, rule)
            receive = await self._bounded(scope, receive, rule)
            call = scope.setdefault("state", {})["call"] = Call(caller, rule, partial(self._may, scope, rule))
            number = await self._book.begin(scope, call) if rule.writes else 0
        except ConvoyError as error:
            if rule is not None and rule.writes:
                await self._book.refused(scope, caller, rule, error)
            await refused(error, scope["path"])(scope, receive, send)
            return
        if not number:
            await self._app(scope, receive, send)
            return
        status = 0

        async def note(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            await self._book.finish(number, status or 500, call.trail.code, call.trail.before, call.trail.after)

    async def _may(self, scope: Scope, rule: Rule) -> None:
        _check_role(await self._access.caller(scope), rule)

    def _check_rate(self, caller: str) -> None:
        if self._buckets.wait_s(caller, self._clock()):
            rate = self._limits.rate_per_s
            raise TooManyError(f"more than {rate:g} requests a second came: come back in a second")

    def _rule(self, scope: Scope) -> Rule:
        """Raises `NoPathError` or `NoMethodError` where there is none."""
        found = [rule for rule in self._rules if rule.pattern.match(scope["path"])]
        for rule in found:
            if rule.method == scope["method"]:
                return rule
        if not found:
            raise NoPathError("there is no such path: /api/v1/openapi.json lists those there are")
        allowed = ", ".join(rule.method for rule in found)
        method = scope["method"][:20]
        raise NoMethodError(f"{method} is not known here: use {allowed}", expected=allowed, came=method, allow=allowed)

    async def _bounded(self, scope: Scope, receive: Receive, rule: Rule) -> Receive:
        headers = Headers(scope=scope)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        most = self._limits.upload_bytes if rule.uploads else self._limits.body_bytes
        announced = headers.get("content-length", "0")
        if announced.isascii() and announced.isdigit() and int(announced) > most:
            raise _too_large(most)
        has_body = announced != "0" or "transfer-encoding" in headers
        if has_body and rule.has_body:
            wanted = UPLOAD if rule.uploads else JSON
            if kind != wanted:
                raise MediaTypeError(
                    f"the body must be {wanted}, {kind[:60]!r} came: say so in Content-Type",
                    expected=wanted,
                    came=kind[:60],
                )
        return _counted(receive, most) if rule.uploads else await _read(receive, most)


def _check_role(caller: Caller, rule: Rule) -> None:
    if caller.role is None or not caller.role.includes(rule.role):
        has = "nobody" if caller.role is None else caller.role.value
        raise ForbiddenError(
            f"{rule.method} {rule.path} needs role {rule.role.value}, {caller.name} is {has}: use a token of that role",
            expected=f"role {rule.role.value}",
            came=f"role {has}",
            action="use a token of that role",
        )


def _too_large(most: int) -> TooLargeError:
    return TooLargeError(
        f"a body has at most {most} bytes here, more came: send less",
        expected=f"at most {most} bytes",
        came="more",
        action="send less",
    )


async def _read(receive: Receive, most: int) -> Receive:
    """The whole body, read before anything is done, and handed out again."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return _again([message], receive)
        parts.append(message.get("body", b""))
        size, more = size + len(parts[-1]), message.get("more_body", False)
        if size > most:
            raise _too_large(most)
    return _again([{"type": "http.request", "body": b"".join(parts), "more_body": False}], receive)


def _again(messages: list[Message], receive: Receive) -> Receive:
    async def replay() -> Message:
        return messages.pop(0) if messages else await receive()

    return replay


def _counted(receive: Receive, most: int) -> Receive:
    """A body too large to be held, cut off where it exceeds its bound."""
    size = 0

    async def count() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > most:
            # Of all errors the one that FastAPI lets through while it reads a form.
            raise HTTPException(413, str(_too_large(most)))
        return message

    return count
