"""Roles, and what a route says of itself: who may call it, whether it writes, which errors it answers with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from re import Pattern
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.routing import compile_path

from convoy_controller.api.problems import PROBLEM, described
from convoy_controller.database.records import TokenRole

#: Where a route's role and its being a write are in the OpenAPI, and in `openapi_extra`.
ROLE_KEY = "x-convoy-role"
WRITE_KEY = "x-convoy-write"
UPLOAD_KEY = "x-convoy-upload"
#: Answers that every route may give, whoever calls.
ALWAYS = (400, 401, 403, 422, 429, 503)
PREFIX = "/api/v1"
REFERENCE = "#/components/schemas/Problem"


def needs(
    role: TokenRole,
    operation: str,
    *errors: int,
    writes: bool = False,
    uploads: bool = False,
    answer: dict[int, tuple[str, type[BaseModel]]] | None = None,
) -> dict[str, Any]:
    """Arguments of a route's decorator: its role, operation id, errors, and further answers with their bodies."""
    statuses = sorted({*ALWAYS, *errors, *((413, 415) if writes else ())})
    responses: dict[int | str, dict[str, Any]] = {
        status: {"description": described(status), "content": {PROBLEM: {"schema": {"$ref": REFERENCE}}}}
        for status in statuses
    }
    responses |= {status: {"description": text, "model": body} for status, (text, body) in (answer or {}).items()}
    return {
        "operation_id": operation,
        "responses": responses,
        "openapi_extra": {ROLE_KEY: role.value, WRITE_KEY: writes, UPLOAD_KEY: uploads},
    }


@dataclass(frozen=True)
class Rule:
    """What the guard knows of one route: `path` as the OpenAPI has it, whether it takes a body, files or neither."""

    method: str
    path: str
    operation: str
    role: TokenRole
    writes: bool
    has_body: bool
    uploads: bool
    pattern: Pattern[str]


def table(rules: Iterable[Rule]) -> str:
    """Which role may call which route, as Markdown: the documents' table, which a test compares with this."""
    lines = ["| method | path | operation | viewer | operator | admin |", "|---|---|---|---|---|---|"]
    for rule in sorted(rules, key=lambda rule: (rule.path, rule.method)):
        marks = " | ".join("yes" if role.includes(rule.role) else "-" for role in TokenRole)
        lines.append(f"| {rule.method} | `{rule.path.removeprefix(PREFIX)}` | `{rule.operation}` | {marks} |")
    return "\n".join(lines) + "\n"


def rules_of(routers: Iterable[APIRouter]) -> tuple[Rule, ...]:
    """The rules of every route, in order; raises `ValueError` for a route that does not say who may call it."""
    rules = []
    for route in (route for router in routers for route in router.routes):
        said = getattr(route, "openapi_extra", None) or {}
        if not isinstance(route, APIRoute) or ROLE_KEY not in said:
            raise ValueError(f"route {route} does not say which role it needs: declare it by `needs`")
        path = PREFIX + route.path
        for method in sorted(route.methods or ()):
            rules.append(
                Rule(
                    method,
                    path,
                    route.operation_id or "",
                    TokenRole(said[ROLE_KEY]),
                    bool(said[WRITE_KEY]),
                    route.body_field is not None,
                    bool(said[UPLOAD_KEY]),
                    compile_path(path)[0],
                )
            )
    return tuple(rules)
