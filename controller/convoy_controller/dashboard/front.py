"""One address for both: the API's own paths go to it as if nothing stood before it, all others to the dashboard."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send


class Front:
    """ASGI application. The first segments of the API's routes are the API's, whatever pages there may be."""

    def __init__(self, api: FastAPI, dashboard: ASGIApp) -> None:
        self._api = api
        self._dashboard = dashboard
        self._segments = frozenset(_segment(route.path) for route in api.routes if isinstance(route, Route))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http" and _segment(scope["path"]) in self._segments:
            await self._api(scope, receive, send)
        else:
            await self._dashboard(scope, receive, send)


def _segment(path: str) -> str:
    return path.split("/", 2)[1] if path.startswith("/") else ""
