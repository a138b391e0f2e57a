"""What everyone passes who comes to a page: the tokens and roles of the API, carried by a cookie.

It stands before everything of the dashboard, files and sockets too, so that no page can be forgotten; open are the form
that asks for a token and the style sheet that it is drawn with.
"""

from __future__ import annotations

import contextlib
from functools import partial
from http.cookies import CookieError, SimpleCookie
from time import monotonic
from urllib.parse import parse_qs, urlsplit

from convoy_schema.errors import ConvoyError
from starlette.datastructures import URL, Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from convoy_controller.api.access import Access, Caller, ForeignOriginError, UnauthorizedError, peer_of
from convoy_controller.api.context import Context
from convoy_controller.api.guard import ForbiddenError
from convoy_controller.api.hub import Hub
from convoy_controller.api.problems import ApiError
from convoy_controller.dashboard import login
from convoy_controller.dashboard.visit import Visit
from convoy_controller.errors import DatabaseError
from convoy_controller.throttle import Throttle

ASSETS = "/assets/"
LOGOUT = "/logout"
#: Bytes of a form that holds a token; tries to log in at once, and a second.
MOST_FORM_BYTES = 8192
TRIES = 10
TRIES_PER_S = 1.0
#: Nothing may be loaded from elsewhere, whatever a page says. Vue compiles templates, hence the evaluation.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'self'; "
        "form-action 'self'; object-src 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class Door:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, access: Access, context: Context, hub: Hub) -> None:
        self._app = app
        self._access = access
        self._context = context
        self._hub = hub
        self._tries = Throttle(TRIES, TRIES_PER_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, _guarded(send))

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path.startswith(ASSETS):
            await self._app(scope, receive, send)
            return
        try:
            _check_origin(scope)
            if path == login.PATH:
                answer: Response | None = await self._login(scope, receive)
            elif path == LOGOUT:
                answer = _forget(scope)
            else:
                answer = None
                await self._let_in(scope)
        except UnauthorizedError as error:
            answer = _to_login(scope) if _is_page(scope) else _refused(error)
        except (ApiError, DatabaseError) as error:
            answer = _refused(error)
        await (answer or self._app)(scope, receive, send)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            _check_origin(scope)
            await self._let_in(scope)
        except ConvoyError:
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        await self._app(scope, receive, send)

    async def _let_in(self, scope: Scope) -> None:
        token = token_of(scope)
        caller = await self._caller(scope, token)
        visit = Visit(self._context, self._hub, caller, token is not None, partial(self._caller, scope, token))
        scope.setdefault("state", {})["visit"] = visit

    async def _caller(self, scope: Scope, token: str | None) -> Caller:
        """Raises `ApiError` and `DatabaseError`."""
        headers = [(name, value) for name, value in scope["headers"] if name != b"authorization"]
        if token is not None:
            headers.append((b"authorization", f"Bearer {token}".encode("latin-1", "replace")))
        caller = await self._access.caller({**scope, "headers": headers})
        if caller.role is None:
            raise ForbiddenError(f"{caller.name} has no role here: use another token")
        return caller

    async def _login(self, scope: Scope, receive: Receive) -> Response:
        request = Request(scope, receive)
        if request.method != "POST":
            return await self._form(scope, request.query_params.get("next", "/"))
        fields = parse_qs(await _form_of(request), max_num_fields=10)
        token = fields.get("token", [""])[0].strip()
        following = login.local_path(fields.get("next", ["/"])[0])
        if self._tries.wait_s(peer_of(scope), monotonic()):
            return login.login_page(following, "Too many tries: wait a few seconds.", 429)
        try:
            await self._caller(scope, token)
        except UnauthorizedError:
            fault = "This token is not known, has expired or was revoked."
            return login.login_page(following, fault, 401)
        answer = RedirectResponse(following, 303)
        answer.set_cookie(
            login.COOKIE,
            token,
            max_age=login.COOKIE_S,
            httponly=True,
            samesite="lax",  # with "strict" a link in a chat would ask for the token again
            secure=scope["scheme"] == "https",
        )
        return answer

    async def _form(self, scope: Scope, following: str) -> Response:
        """Nobody is asked for a token who needs none."""
        with contextlib.suppress(ApiError):
            await self._caller(scope, token_of(scope))
            return RedirectResponse(login.local_path(following), 303)
        return login.login_page(following)


def token_of(scope: Scope) -> str | None:
    """The token that a request carries: in the cookie, or as programs send it."""
    headers = Headers(scope=scope)
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(login.COOKIE)
    except CookieError:
        return None
    return None if morsel is None or not morsel.value else morsel.value


def _check_origin(scope: Scope) -> None:
    """A page of another site may neither open a socket nor send a form, cookie or not."""
    headers = Headers(scope=scope)
    origin = headers.get("origin")
    is_read = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
    if origin is not None and not is_read and urlsplit(origin).netloc != headers.get("host", ""):
        raise ForeignOriginError(
            f"no page of another site may speak to this one, {origin[:80]!r} did: open the dashboard itself",
            came=origin[:80],
        )


def _is_page(scope: Scope) -> bool:
    """Whether a person asks, and not one of the page's own files."""
    return scope["method"] == "GET" and "text/html" in Headers(scope=scope).get("accept", "")


def _to_login(scope: Scope) -> Response:
    return RedirectResponse(login.address(URL(scope=scope)), 303)


def _forget(scope: Scope) -> Response:
    if scope["method"] != "POST":
        return PlainTextResponse("use the button", 405, {"Allow": "POST"})
    answer = RedirectResponse(login.PATH, 303)
    answer.delete_cookie(login.COOKIE, httponly=True, samesite="lax")
    return answer


def _refused(error: ConvoyError) -> Response:
    status = error.status if isinstance(error, ApiError) else 503
    return PlainTextResponse(f"{error}\n", status, {"Cache-Control": "no-store"})


async def _form_of(request: Request) -> str:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_FORM_BYTES:
            return ""
    return body.decode("latin-1")


def _guarded(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(_HEADERS)
        await send(message)

    return guarded
