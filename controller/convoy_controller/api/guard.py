"""What every request passes first: who calls, whether that role may, how often, and how large the body is.

It stands in front of all routes and lets through only what its rules name, so that none can be forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from convoy_schema.errors import ConvoyError
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from convoy_controller.api.access import Access, Caller
from convoy_controller.api.limits import Buckets, Limits, TooLargeError, TooManyError
from convoy_controller.api.problems import ApiError, refused
from convoy_controller.api.roles import Rule

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


@dataclass(frozen=True)
class Call:
    """A request that was let through, as routes find it in `request.state.call`."""

    caller: Caller
    rule: Rule


class Guard:
    """ASGI middleware."""

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        limits: Limits,
        rules: Sequence[Rule],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._access = access
        self._limits = limits
        self._rules = rules
        self._clock = clock
        self._buckets = Buckets(limits.rate_per_s, limits.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            receive = await self._let_in(scope, receive)
        except ConvoyError as error:
            await refused(error, scope["path"])(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _let_in(self, scope: Scope, receive: Receive) -> Receive:
        """Raises what the request is refused for; else what the body is read from."""
        peer = scope["client"][0] if scope.get("client") else ""
        if scope["path"] in OPEN_PATHS:
            self._check_rate(f"@{peer}")
            return receive
        caller = await self._access.caller(scope)
        self._check_rate(caller.name if caller.name != "local" else f"@{peer}")
        rule = self._rule(scope)
        _check_role(caller, rule)
        scope.setdefault("state", {})["call"] = Call(caller, rule)
        return await self._bounded(scope, receive, rule)

    def _check_rate(self, caller: str) -> None:
        if not self._buckets.take(caller, self._clock()):
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
    if not caller.role.includes(rule.role):
        raise ForbiddenError(
            f"{rule.method} {rule.path} needs role {rule.role.value}, {caller.name} is {caller.role.value}: "
            "use a token of that role",
            expected=f"role {rule.role.value}",
            came=f"role {caller.role.value}",
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
            raise _too_large(most)
        return message

    return count
