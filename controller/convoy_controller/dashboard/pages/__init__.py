"""The pages: a module each."""

from __future__ import annotations

from nicegui import app
from starlette.responses import RedirectResponse

from convoy_controller.dashboard.pages import events


def register() -> None:
    """Tell NiceGUI of every page."""
    app.add_route("/", lambda request: RedirectResponse(events.PATH, 303))
    events.register()
