"""The pages: a module each."""

from __future__ import annotations

from convoy_controller.dashboard.pages import board, events, fleet


def register() -> None:
    """Tell NiceGUI of every page."""
    fleet.register()
    board.register()
    events.register()
