"""Calls of the REST API that its own OpenAPI brings about: what it allows, and what it does not.

`Trial` makes them by schemathesis, half of them valid, with names that are there in half of those, and has every
answer checked against what is documented.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import schemathesis
from api_client import UNHURRIED, Api
from convoy_controller.api.access import Tokens
from convoy_controller.database import tokens
from convoy_controller.database.records import TokenRole, utc_now
from database_samples import Fleet
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import openapi
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

#: The one route whose answer does not end; its parameters are tried by hand.
ENDLESS = "follow_changes"
#: Names that are there, by the path's parameter.
THERE = {
    "board": ("board-1", "board-2", "board-3"),
    "deployment": ("digits",),
    "generation": ("1-1",),
    "model": ("tiny",),
    "version": ("1",),
}
CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def _name_what_is_there(case: Any, chance: random.Random) -> None:
    """Put names that are known into the path and the body, and a condition that holds into the headers."""
    for key in THERE.keys() & (case.path_parameters or {}).keys():
        case.path_parameters[key] = chance.choice(THERE[key])
    if isinstance(case.body, dict) and "model" in case.body:
        case.body["model"] = "tiny"
        for key in ("version", "group"):
            case.body.pop(key, None)
        if "board_names" in case.body:
            case.body["board_names"] = chance.choice([[], ["board-1"], ["board-2", "board-1"]])
        if case.body.get("profile"):
            case.body["profile"].pop("name", None)
    if isinstance(case.body, dict) and "model" not in case.body and "boards" in case.body and case.method == "PUT":
        case.body["boards"] = ["board-3"]
    if case.method in ("PUT", "PATCH", "DELETE") and "If-Match" in (case.headers or {}):
        case.headers["If-Match"] = "*"
        case.headers.pop("If-None-Match", None)


@dataclass
class Trial:
    """Tries the API over `fleet` and the home `folder`; `statuses` counts what was answered, by operation."""

    fleet: Fleet
    folder: Path
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        api = Api(self.fleet.database, self.folder, Tokens(self.fleet.database, is_loopback=False), UNHURRIED)
        made = tokens.create_token(self.fleet.database, "trial", TokenRole.ADMIN, utc_now(), None)
        self.headers = {"Authorization": f"Bearer {made.token}"}
        schema = openapi.from_asgi("/api/v1/openapi.json", api.app)
        found = [result.ok() for result in schema.get_all_operations()]
        self.operations = [each for each in found if each.definition.raw["operationId"] != ENDLESS]

    @property
    def cases(self) -> int:
        """Calls so far."""
        return sum(self.statuses.values())

    def run(self, cases: int, number: int) -> None:
        """At least `cases` calls, spread over the operations, the same ones for the same seed `number`."""
        each = -(-cases // (2 * len(self.operations)))
        for operation in self.operations:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                self._try(operation, mode, each, number)

    def _try(self, operation: Any, mode: GenerationMode, cases: int, number: int) -> None:
        said = operation.definition.raw
        parameters = {each["name"] for each in said.get("parameters", ())}
        if mode is GenerationMode.NEGATIVE and not parameters and "requestBody" not in said:
            mode = GenerationMode.POSITIVE  # there is nothing that could be wrong

        @seed(number)
        @settings(
            max_examples=cases,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(case=operation.as_strategy(generation_mode=mode), chance=st.integers(0, 2**32))
        def call(case: Any, chance: int) -> None:
            if mode is GenerationMode.POSITIVE and chance % 2:
                _name_what_is_there(case, random.Random(chance))
            response = case.call(headers=self.headers)
            self.statuses[said["operationId"], response.status_code] += 1
            case.validate_response(response, checks=CHECKS)

        call()
