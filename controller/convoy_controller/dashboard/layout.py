"""What every page has round it: head, header with navigation, skip link, the one heading, and what is said of the
connection.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlencode

from nicegui import Client, ui
from starlette.requests import Request

from convoy_controller.api.version import version
from convoy_controller.dashboard.door import LOGOUT
from convoy_controller.dashboard.live import Live, Reading
from convoy_controller.dashboard.parts import text
from convoy_controller.dashboard.visit import Visit
from convoy_controller.database.engine import Database

T = TypeVar("T")

#: The pages that the header leads to, in its order.
NAVIGATION = (("Fleet", "/"), ("Deployments", "/deployments"), ("Models", "/models"), ("Events", "/events"))
#: The cookie of a choice between light and dark, which the page's own script sets.
THEME_COOKIE = "convoy_theme"
_THEMES: dict[str, bool | None] = {"auto": None, "light": False, "dark": True}

HEAD = f"""\
<link rel="stylesheet" href="/assets/style.css?{version()}">
<script defer src="/assets/page.js?{version()}"></script>"""


@dataclass
class View:
    """One page as it is being built, and as long as it is open."""

    client: Client
    visit: Visit
    live: Live
    _path: str
    _asked: dict[str, str] = field(default_factory=dict)

    @property
    def database(self) -> Database:
        """For the named queries; only within what is given to `keep`, which runs in a thread."""
        return self.visit.database

    async def keep(
        self, read: Callable[[], T], show: Callable[[T], None], on: Collection[str] = (), every_s: float | None = None
    ) -> Reading[T]:
        """See `Live.keep`."""
        return await self.live.keep(read, show, on, every_s)

    async def again(self, reading: Reading[T]) -> None:
        """See `Live.again`."""
        await self.live.again(reading)

    def remember(self, **asked: object) -> None:
        """Put what is asked for into the address, so that a reload or a link shows the same; None leaves it out."""
        for name, value in asked.items():
            self._asked.pop(name, None)
            if value is not None and value != "":
                self._asked[name] = str(value)
        ui.navigate.history.replace(self._path + (f"?{urlencode(self._asked)}" if self._asked else ""))


@contextmanager
def frame(request: Request, title: str, path: str) -> Iterator[View]:
    """The page round what is built within; `path` is its own, with which the navigation marks where one is."""
    client = ui.context.client
    client.title = f"{title} · Convoy"
    visit = Visit.of(request)
    main = client.content.classes("convoy-page")
    _header(request, visit, path)
    ui.skip_link("Skip to the content", target=main)  # moves itself before the header
    with main:
        text("h1", title)
        status = ui.label().props('role="status" aria-live="polite"').classes("convoy-status")

        def say(words: str) -> None:
            status.text = words

        view = View(client, visit, Live(client, visit, say), path)
        view._asked.update(request.query_params)
        yield view


def _header(request: Request, visit: Visit, path: str) -> None:
    with ui.header(fixed=False).classes("convoy-header"):
        ui.link("Convoy", "/").classes("convoy-brand")
        with ui.element("nav").props('aria-label="Pages"').classes("convoy-nav"):
            for name, target in NAVIGATION:
                link = ui.link(name, target)
                if target == path:
                    link.props('aria-current="page"')
        with ui.element("div").classes("convoy-tools"):
            _theme(request)
            caller = visit.caller
            role = "nobody" if caller.role is None else caller.role.value
            ui.label(f"{caller.name} ({role})").classes("convoy-caller")
            if visit.has_token:
                ui.html(
                    f'<form method="post" action="{html.escape(LOGOUT)}"><button type="submit">Log out</button></form>',
                    sanitize=False,
                )


def _theme(request: Request) -> None:
    chosen = request.cookies.get(THEME_COOKIE, "auto")
    chosen = chosen if chosen in _THEMES else "auto"
    mode = ui.dark_mode(_THEMES[chosen])
    names = list(_THEMES)

    def told(name: str) -> str:
        return f"Theme: {name}"

    def change() -> None:
        name = names[(names.index(button.text.rpartition(" ")[2]) + 1) % len(names)]
        mode.value = _THEMES[name]
        button.text = told(name)
        ui.run_javascript(f'document.cookie = "{THEME_COOKIE}={name}; path=/; max-age=31536000; samesite=lax"')

    button = ui.button(told(chosen), on_click=change, color=None).props("flat dense no-caps").classes("convoy-theme")
