"""The REST API's reads: the same keys as the database's views, in pages, filtered, and refused in one form."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from api_client import Api, copied_fleet
from convoy_controller.api.app import rules
from convoy_controller.api.paging import decode, encode
from convoy_controller.api.problems import CursorError, Problem
from convoy_controller.api.roles import rules_of
from convoy_controller.api.shapes import boards, deployments, events, groups, models, tokens
from convoy_controller.database import pages, queries, views
from convoy_controller.database.records import BoardPresence, NewEvent, Severity
from convoy_controller.plain import plain
from convoy_schema.names import Generation
from database_samples import Fleet, pulse
from fastapi import APIRouter
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = copied_fleet(tmp_path)
    for number in range(5):
        made.clock.advance(10)
        severity = Severity.ERROR if number == 2 else Severity.INFO
        made.recorder.record_event(NewEvent(f"kind-{number % 2}", f"{number}", severity, board=f"board-{number % 2}"))
    yield made
    made.database.close()


@pytest.fixture
def api(fleet: Fleet, tmp_path: Path) -> Api:
    return Api(fleet.database, tmp_path)


@pytest.mark.parametrize(
    ("shape", "view"),
    [
        (boards.BoardLine, views.FleetLine),
        (boards.Why, views.Why),
        (boards.BoardFacts, views.BoardFacts),
        (boards.Assigned, views.Assigned),
        (boards.SessionLine, views.SessionLine),
        (boards.BoardWishes, views.BoardWishes),
        (groups.GroupLine, views.GroupLine),
        (tokens.TokenLine, views.TokenLine),
        (tokens.AuditLine, views.AuditLine),
        (boards.BoardStatistics, views.BoardStatistics),
        (boards.BoardDetail, views.BoardDetail),
        (deployments.DeploymentLine, views.DeploymentLine),
        (deployments.GenerationLine, views.GenerationLine),
        (deployments.PlanView, views.PlanView),
        (deployments.StageLine, views.StageLine),
        (deployments.ReplicaLine, views.ReplicaLine),
        (models.ModelLine, views.ModelLine),
        (models.ArtifactDetail, views.ArtifactLine),
        (events.EventLine, views.EventLine),
        (events.GatewayLine, views.GatewayLine),
    ],
)
def test_bodies_have_the_keys_of_the_views(shape: Any, view: Any):
    assert set(shape.model_fields) == {field.name for field in dataclasses.fields(view)}


def test_answers_are_the_json_form_of_the_views(api: Api, fleet: Fleet):
    fleet.recorder.record_pulse("board-1", pulse())
    database = fleet.database
    assert api.get("/boards")["items"] == plain(queries.fleet(database))
    assert api.get("/boards/board-1") == plain(queries.board(database, "board-1"))
    assert api.get("/boards/board-9/why") == plain(queries.why(database, "board-9"))
    assert api.get("/deployments")["items"] == plain(queries.deployments(database))
    assert api.get("/deployments/digits") == plain(queries.deployment(database, "digits"))
    assert api.get("/deployments/digits/plan") == plain(queries.plan(database, "digits"))
    assert api.get("/deployments/digits/generations/1-1") == plain(queries.plan(database, "digits", Generation(1, 1)))
    assert api.get("/models")["items"] == plain(queries.models(database))
    assert api.get("/models/tiny/1") == plain(queries.models(database))[0]
    assert api.get("/events?order=oldest")["items"] == plain(queries.events(database))
    digest = api.get("/artifacts")["items"][0]["digest"]
    assert api.get(f"/artifacts/{digest}") == plain(pages.artifact(database, digest))
    assert api.get(f"/artifacts/{digest}")["models"] == ["tiny:1"]
    assert api.get("/about")["caller"] == "local"


def test_every_list_comes_in_pages(api: Api, fleet: Fleet):
    for session in (2, 3, 4):
        fleet.recorder.record_presence("board-1", BoardPresence.ONLINE, session)
        fleet.place(("board-1",), session)
    for path, count in (
        ("/boards", 3),
        ("/boards/board-1/sessions", 4),
        ("/boards/board-1/events", 2),
        ("/events", 5),
        ("/deployments", 1),
        ("/deployments/digits/generations", 4),
        ("/models", 1),
        ("/artifacts", len(api.get("/artifacts")["items"])),
    ):
        whole = api.get(path)
        assert (len(whole["items"]), whole["next"]) == (count, None), path
        assert api.all_of(path) == whole["items"], path
    assert [line["session"] for line in api.get("/boards/board-1/sessions")["items"]] == [4, 3, 2, 1]


def test_filters(api: Api, fleet: Fleet):
    assert [line["board"] for line in api.get("/boards?presence=offline")["items"]] == ["board-3"]
    assert [line["board"] for line in api.get("/boards?deployment=digits&condition=ready")["items"]] == ["board-1"]
    assert [line["sentence"] for line in api.all_of("/events", severity="error")] == ["2"]
    assert [line["sentence"] for line in api.all_of("/events", kind="kind-1")] == ["3", "1"]
    assert [line["sentence"] for line in api.all_of("/events", board="board-1", order="oldest")] == ["1", "3"]
    since, until = (fleet.clock.now - timedelta(seconds=30)), (fleet.clock.now - timedelta(seconds=10))
    between = {"since": since.isoformat(), "until": until.isoformat()}
    assert [line["sentence"] for line in api.all_of("/events", **between)] == ["2", "1"]
    assert api.get("/deployments?state=failed")["items"] == []


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/boards/board-9", 404, "not-found"),
        ("/boards/board-9/sessions", 404, "not-found"),
        ("/deployments/none", 404, "not-found"),
        ("/deployments/none/generations", 404, "not-found"),
        ("/deployments/digits/generations/9-9", 404, "not-found"),
        ("/models/tiny/9", 404, "not-found"),
        ("/gateways/none", 404, "not-found"),
        (f"/artifacts/{'0' * 64}", 404, "not-found"),
        ("/nothing", 404, "no-such-path"),
        ("/boards/", 404, "no-such-path"),
        ("//docs", 404, "no-such-path"),
        ("/boards/Not+A+Name", 422, "invalid"),
        ("/boards?limit=0", 422, "invalid"),
        ("/boards?limit=1001", 422, "invalid"),
        ("/boards?colour=red", 422, "invalid"),
        ("/events?since=0001-01-01T00:00:00Z", 422, "invalid"),
        ("/events?since=2030-01-01T00:00:00", 422, "invalid"),
        ("/events?until=9999-12-31T23:59:59-23:59", 422, "invalid"),
        ("/events?kind=%00", 422, "invalid"),
        ("/boards?cursor=x", 400, "cursor"),
        (f"/boards?cursor={encode('events-newest', (3,))}", 400, "cursor"),
        (f"/events?cursor={encode('events-newest', (2**70,))}", 400, "cursor"),
        ("/deployments/digits/generations/99999999999999999999-1", 422, "invalid"),
        ("/deployments/digits/generations/9999999999999999999-1", 422, "topic"),
    ],
)
def test_what_cannot_be_answered_is_a_problem(api: Api, path: str, status: int, code: str):
    response = api.call("GET", path)
    assert response.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate_json(response.content)
    assert (response.status_code, problem.status, problem.code) == (status, status, code)
    assert problem.detail
    assert problem.type == f"urn:convoy:problem:{code}"
    if code == "invalid":
        assert problem.errors[0].expected
        assert problem.errors[0].where


def test_another_method_is_told_which_there_are(api: Api):
    response = api.call("POST", "/boards")
    assert (response.status_code, response.headers["allow"]) == (405, "GET")
    assert response.json()["code"] == "no-such-method"


def test_the_description_is_complete(api: Api):
    found = api.get("/openapi.json")
    operations = [(path, method, said) for path, methods in found["paths"].items() for method, said in methods.items()]
    assert {(method.upper(), path) for path, method, _ in operations} == {(rule.method, rule.path) for rule in rules()}
    assert len({said["operationId"] for _, _, said in operations}) == len(operations)
    for path, method, said in operations:
        where = f"{method} {path}"
        assert said["tags"], where
        assert said["description"], where
        assert said["x-convoy-role"] in ("viewer", "operator", "admin"), where
        assert {"401", "403", "422", "429", "503"} <= set(said["responses"]), where
        for status, response in said["responses"].items():
            content = response.get("content", {})
            assert "{}" not in str(content.get("application/json", {}).get("schema", "x")), where
            if status >= "400":
                assert content == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert found["security"] == [{"token": []}]
    assert "HTTPValidationError" not in found["components"]["schemas"]
    assert found["components"]["schemas"]["Problem"]["examples"]


def test_a_route_that_says_nothing_of_roles_is_a_mistake():
    router = APIRouter()
    router.get("/open")(lambda: {})
    with pytest.raises(ValueError, match="which role"):
        rules_of([router])


@given(st.text(max_size=60), st.integers(-(2**63), 2**63 - 1))
def test_a_cursor_leads_back_to_its_key(text: str, number: int):
    assert decode("list", encode("list", (text, number)), (str, int)) == (text, number)


@given(st.text(max_size=200))
def test_no_text_breaks_a_cursor(text: str):
    with contextlib.suppress(CursorError):
        decode("list", text, (str, int))
