"""A way through a list that is read page by page, each from the last key of the one before it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from nicegui import ui

from convoy_controller.dashboard.parts import button

K = TypeVar("K")


class Pager(Generic[K]):
    """Two buttons and what is shown, in words. `place` is the key behind which the page begins, None at the start.

    It only remembers the way; `turned` is awaited once `place` is another.
    """

    def __init__(self, things: str, turned: Callable[[], Awaitable[None]], place: K | None = None) -> None:
        self._places: list[K | None] = [None] if place is None else [None, place]
        self._next: K | None = None
        self._turned = turned
        with ui.row().classes("convoy-line"):
            self._back = button(f"Previous {things}", self._go_back)
            self._on = button(f"Next {things}", self._go_on)
            self._told = ui.label().classes("convoy-quiet")

    @property
    def place(self) -> K | None:
        """Where the page begins."""
        return self._places[-1]

    def restart(self) -> None:
        """Begin at the start, because something else is asked for."""
        self._places = [None]

    def show(self, place: K | None, following: K | None, told: str) -> None:
        """The page shown begins at `place`, and another one at `following`, None for none."""
        if place is None:
            self.restart()
        self._next = following
        self._told.text = told
        for each, is_there in ((self._back, place is not None), (self._on, following is not None)):
            each.set_enabled(is_there)
            each.set_visibility(place is not None or following is not None)

    async def _go_back(self) -> None:
        if len(self._places) > 1:
            self._places.pop()
            await self._turned()

    async def _go_on(self) -> None:
        if self._next is not None:
            self._places.append(self._next)
            await self._turned()
