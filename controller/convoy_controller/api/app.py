"""The application: every route behind the guard, every error in one form, and an OpenAPI that says all of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from convoy_schema.errors import ConvoyError
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

from convoy_controller.api import (
    board_wishes,
    boards,
    changes,
    clearings,
    deployments,
    events,
    fleet,
    groups,
    imports,
    logs,
    models,
    operations,
    plans,
    status,
    tokens,
)
from convoy_controller.api.access import Access
from convoy_controller.api.book import Book
from convoy_controller.api.context import Context
from convoy_controller.api.guard import Guard
from convoy_controller.api.hub import Hub
from convoy_controller.api.limits import Limits
from convoy_controller.api.problems import Problem, on_convoy_error, on_failure, on_http, on_invalid
from convoy_controller.api.roles import PREFIX, Rule, rules_of
from convoy_controller.api.version import version
from convoy_controller.database.engine import Database
from convoy_controller.home import Home

_ABOUT = (
    "What a fleet is and was, what its owners want of it, and why a board is not where it should be.\n\n"
    "Lists come in pages: `next` is the cursor of the next one. Errors are `application/problem+json` with a stable "
    "`code`. What is wanted carries an ETag, and a write names in If-Match the one it has seen."
)
_TAGS = [
    {"name": "fleet", "description": "The fleet as a whole, and who asks."},
    {"name": "boards", "description": "Devices: where they are and why, and what is asked of them."},
    {"name": "groups", "description": "Named sets of boards."},
    {"name": "models", "description": "What can be deployed."},
    {"name": "artifacts", "description": "The blobs that models consist of, by digest."},
    {"name": "deployments", "description": "What is to be served, and the placements that serve it."},
    {"name": "plan", "description": "How something would be placed."},
    {"name": "clearings", "description": "What nobody refers to any more."},
    {"name": "operations", "description": "Long work, and how far it is."},
    {"name": "events", "description": "History."},
    {"name": "gateways", "description": "Where requests enter."},
    {"name": "access", "description": "Who may ask, and who did what."},
]


ROUTERS = tuple(
    module.router
    for module in (
        fleet,
        boards,
        board_wishes,
        logs,
        groups,
        models,
        imports,
        operations,
        deployments,
        plans,
        clearings,
        events,
        status,
        changes,
        tokens,
    )
)


def rules() -> tuple[Rule, ...]:
    """Every route, and who may call it."""
    return rules_of(ROUTERS)


def create_app(
    database: Database,
    home: Home,
    access: Access,
    *,
    limits: Limits | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """The application over an open `database` and the files of `home`; `access` decides who a caller is.

    The caller closes the database. Its answers are made in threads, so that none holds up another.
    """
    app = FastAPI(
        title="Convoy",
        version=version(),
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,  # both would load scripts from elsewhere
        redoc_url=None,
        exception_handlers={
            ConvoyError: on_convoy_error,
            RequestValidationError: on_invalid,
            HTTPException: on_http,
            Exception: on_failure,
        },
    )
    app.state.context = Context(database, home)
    app.state.hub = Hub(database)
    for router in ROUTERS:
        app.include_router(router, prefix=PREFIX)
    book = Book(database, clock)
    app.add_middleware(Guard, access=access, limits=limits or Limits(), rules=rules(), book=book, clock=clock)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI, with what the framework does not know: the form of errors, and tokens."""
    if app.openapi_schema is None:
        found = get_openapi(title=app.title, version=app.version, description=_ABOUT, routes=app.routes, tags=_TAGS)
        components = found.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= problem.pop("$defs")
        schemas["Problem"] = problem
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        components["securitySchemes"] = {
            "token": {
                "type": "http",
                "scheme": "bearer",
                "description": "A token of `convoy token create`. None is needed where none was ever made.",
            }
        }
        found["security"] = [{"token": []}]
        app.openapi_schema = found
    return app.openapi_schema
