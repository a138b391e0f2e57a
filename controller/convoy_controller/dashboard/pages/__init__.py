"""The pages: a module each."""

from __future__ import annotations

from convoy_controller.dashboard.pages import board, deployment, deployments, events, fleet, missing, models


def register() -> None:
    """Tell NiceGUI of every page."""
    fleet.register()
    board.register()
    deployments.register()
    deployment.register()
    models.register()
    events.register()
    missing.register()
