"""The pages: a module each."""

from __future__ import annotations

from convoy_controller.dashboard.pages import events, fleet


def register() -> None:
    """Tell NiceGUI of every page."""
    fleet.register()
    events.register()
