"""The dashboard as an application beside the API. Imported only by whoever serves it: NiceGUI takes a second."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.types import ASGIApp

from convoy_controller.api.access import Access
from convoy_controller.api.context import Context
from convoy_controller.api.hub import Hub
from convoy_controller.dashboard.front import Front

#: Seconds that a page is kept for a browser that has lost its connection.
RECONNECT_S = 5.0
#: Messages kept for it; whoever missed more loads the page anew.
KEPT_MESSAGES = 200


@asynccontextmanager
async def with_dashboard(api: FastAPI, access: Access) -> AsyncIterator[ASGIApp]:
    """`api` and the dashboard over its database under one address, as long as the context lasts.

    NiceGUI keeps its state by process, so that there is one in a process. Nothing is stored on disk: what it would keep
    were it asked to lies in the home, never where the user happens to stand.
    """
    context: Context = api.state.context
    hub: Hub = api.state.hub
    os.environ["NICEGUI_STORAGE_PATH"] = str(context.home.root / "dashboard")
    os.environ.pop("NICEGUI_REDIS_URL", None)

    from nicegui import app as pages
    from nicegui import ui

    from convoy_controller.dashboard.door import ASSETS, Door
    from convoy_controller.dashboard.layout import HEAD
    from convoy_controller.dashboard.pages import register

    register()
    pages.add_static_files(ASSETS.rstrip("/"), Path(__file__).with_name("assets"))
    ui.add_head_html(HEAD, shared=True)
    pages.config.quasar_config["loadingBar"] = {"skipHijack": True}  # it has no name, and runs while nothing is awaited
    host = FastAPI(openapi_url=None)
    ui.run_with(
        host,
        title="Convoy",
        favicon=Path(__file__).with_name("assets") / "convoy.svg",
        dark=None,
        language="en-US",
        binding_refresh_interval=None,  # nothing is bound: what changes is set
        reconnect_timeout=RECONNECT_S,
        message_history_length=KEPT_MESSAGES,
        tailwind=False,
        show_welcome_message=False,
    )
    async with host.router.lifespan_context(host):
        yield Front(api, Door(host, access, context, hub))
