"""The status routes: the keys of the views, pages that follow each other, and times that are refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_client import Api, copied_fleet
from convoy_controller.api.shapes import status as shapes
from convoy_controller.database import availability, history, pages, spread, status, status_views
from convoy_controller.database.records import BoardPresence, NewEvent
from convoy_controller.plain import plain
from database_samples import Fleet


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = copied_fleet(tmp_path)
    for number in range(4):
        made.clock.advance(10)
        made.recorder.record_event(NewEvent("tick", f"{number}", board="board-1"))
    made.recorder.record_presence("board-2", BoardPresence.OFFLINE, 1, "three pulses missed")
    yield made
    made.database.close()


@pytest.fixture
def api(fleet: Fleet, tmp_path: Path) -> Api:
    return Api(fleet.database, tmp_path)


@pytest.mark.parametrize(
    ("shape", "view"),
    [
        (shapes.StateCounts, status_views.StateCounts),
        (shapes.ProblemLine, status_views.Problem),
        (shapes.Changed, status_views.Changed),
        (shapes.ChangedDeployment, status_views.ChangedDeployment),
        (shapes.NewGeneration, status_views.NewGeneration),
        (shapes.NewModel, status_views.NewModel),
        (shapes.EventCount, status_views.EventCount),
        (shapes.FleetAvailability, status_views.FleetAvailability),
        (shapes.PresenceHour, status_views.PresenceHour),
        (shapes.Availability, availability.Availability),
        (shapes.Absence, availability.Absence),
        (shapes.DeploymentHops, status_views.DeploymentHops),
        (shapes.HopLine, status_views.HopLine),
        (shapes.DeploymentPoint, history.DeploymentPoint),
        (shapes.BoardPoint, history.BoardPoint),
        (shapes.Spread, status_views.Spread),
        (shapes.ArtifactSpread, status_views.ArtifactSpread),
        (shapes.Holder, status_views.Holder),
    ],
)
def test_bodies_have_the_keys_of_the_views(shape: Any, view: Any):
    assert set(shape.model_fields) == {field.name for field in dataclasses.fields(view)}


def test_answers_are_the_json_form_of_the_views(api: Api, fleet: Fleet):
    database = fleet.database
    assert api.get("/fleet/states")["items"] == plain(status.fleet_by_state(database))
    assert api.get("/fleet/problems")["items"] == plain(status.problems(database))
    assert api.get("/fleet/changed?event=1") == plain(status.changed_since(database, event=1))
    assert api.get("/models/tiny/1/spread") == plain(spread.model_spread(database, "tiny", "1"))
    digest = pages.artifacts(database, None, 1)[0].digest
    assert api.get(f"/artifacts/{digest}/spread") == plain(spread.artifact_spread(database, digest))
    around = api.get("/events/around?at=2030-01-01T12:00:25Z&limit=1&board=board-1")["events"]
    assert [event["sentence"] for event in around] == ["1", "2"]


def test_problems_page_by_page(api: Api):
    whole = api.get("/fleet/problems")["items"]
    assert len(whole) == 2
    assert {line["board"] for line in whole if line["condition"] == "offline"} == {"board-2", "board-3"}
    found, following = [], "/fleet/problems?limit=1"
    while True:
        page = api.get(following)
        found += page["items"]
        if page["next"] is None:
            break
        following = f"/fleet/problems?limit=1&cursor={page['next']}"
    assert found == whole


def test_times_are_of_a_board_and_of_the_fleet(api: Api):
    day = "since=2030-01-01T00:00:00Z&until=2030-01-01T13:00:00Z"
    board = api.get(f"/boards/board-1/availability?{day}")
    assert board["board"] == "board-1"
    assert isinstance(board["online"], float)
    assert api.get(f"/fleet/availability?{day}")["hours"] is not None
    assert api.get(f"/boards/board-1/history?{day}")["points"] == []
    assert api.get(f"/deployments/digits/history?{day}")["points"] == []
    assert api.get("/deployments/digits/hops")["bottleneck"] is None


@pytest.mark.parametrize(
    ("path", "status_code", "code"),
    [
        ("/fleet/changed", 422, "invalid"),
        ("/fleet/changed?event=1&since=2030-01-01T12:00:00Z", 422, "invalid"),
        ("/fleet/changed?event=99999", 404, "not-found"),
        ("/fleet/availability?since=2030-01-02T00:00:00Z&until=2030-01-01T00:00:00Z", 422, "invalid"),
        ("/fleet/availability?since=2030-01-01T00:00:00Z&until=2039-01-01T00:00:00Z", 422, "invalid"),
        ("/boards/none/availability", 404, "not-found"),
        ("/deployments/none/history", 404, "not-found"),
        ("/deployments/none/hops", 404, "not-found"),
        ("/models/tiny/9/spread", 404, "not-found"),
        ("/models/tiny/9/holders", 404, "not-found"),
        (f"/artifacts/{'0' * 64}/spread", 404, "not-found"),
        ("/fleet/problems?cursor=nonsense", 400, "cursor"),
    ],
)
def test_what_cannot_be_answered_says_why(api: Api, path: str, status_code: int, code: str):
    assert api.get(path, status_code)["code"] == code
