"""What is shown where there is no page: in the frame of all pages, so that one finds the way on."""

from __future__ import annotations

from fastapi.exception_handlers import http_exception_handler
from nicegui import Client, app, ui
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from convoy_controller.dashboard.layout import frame
from convoy_controller.dashboard.parts import text


async def missing(request: Request, error: Exception) -> Response:
    """A page for people, and a plain answer for what fetches a page's files."""
    wants_page = "text/html" in request.headers.get("accept", "") and hasattr(request.state, "visit")
    if not wants_page:
        refusal = error if isinstance(error, HTTPException) else HTTPException(404)
        return await http_exception_handler(request, refusal)
    with Client(ui.page(""), request=request) as client, frame(request, "No such page", ""):
        text("p", "There is no page at this address. The navigation above leads to those there are.")
    return client.build_response(request, 404)


def register() -> None:
    """Tell NiceGUI of it."""
    app.add_exception_handler(404, missing)
