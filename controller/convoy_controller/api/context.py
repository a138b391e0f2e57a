"""What routes work on: one database and one home, handed to every request by the application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from convoy_controller.api.guard import Call
from convoy_controller.database.engine import Database
from convoy_controller.home import Home


@dataclass(frozen=True)
class Context:
    """An application's."""

    database: Database
    home: Home


async def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


async def _call(request: Request) -> Call:
    call: Call = request.state.call
    return call


#: Parameters of routes.
Here = Annotated[Context, Depends(_context)]
Calling = Annotated[Call, Depends(_call)]
