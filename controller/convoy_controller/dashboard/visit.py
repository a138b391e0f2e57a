"""One visit of a page: who looks, and at what. The door leaves it in the request, pages find it there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request

from convoy_controller.api.access import Caller
from convoy_controller.api.context import Context
from convoy_controller.api.hub import Hub
from convoy_controller.database.engine import Database


@dataclass(frozen=True)
class Visit:
    """A request that was let through. `may_still` asks again while the page is open, and raises as the door does."""

    context: Context
    hub: Hub
    caller: Caller
    has_token: bool
    may_still: Callable[[], Awaitable[object]]

    @property
    def database(self) -> Database:
        """What every page reads from, in threads."""
        return self.context.database

    @staticmethod
    def of(request: Request) -> Visit:
        """The visit that the door let through."""
        visit: Visit = request.state.visit
        return visit
