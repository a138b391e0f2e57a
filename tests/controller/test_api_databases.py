"""The REST API over both databases: every table of its own is written and read once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_client import Api
from convoy_controller.api.access import Tokens
from convoy_controller.database import board_wishes, groups, marks, operations, pages, tokens
from convoy_controller.database.expectations import Expected
from convoy_controller.database.pages import EventFilter
from convoy_controller.database.records import NewEvent, Severity, TokenRole, utc_now
from convoy_controller.errors import StaleError
from database_samples import START, Fleet, open_fleet, publish


@pytest.fixture
def fleet(tmp_path: Path, database_url: str) -> Iterator[Fleet]:
    made = open_fleet(tmp_path, database_url)
    made.online("board-1")
    yield made
    made.database.close()


def test_a_tour_of_everything(fleet: Fleet, tmp_path: Path):
    database, now = fleet.database, utc_now()
    publish(database, tmp_path)
    made = tokens.create_token(database, "boss", TokenRole.ADMIN, now, None)
    headers = {"Authorization": f"Bearer {made.token}"}
    api = Api(database, tmp_path, Tokens(database, is_loopback=True))
    before = marks.marks(database)
    assert api.call("PUT", "/boards/board-1/drain", headers=headers).status_code == 200
    assert api.call("POST", "/boards/board-1/restart", headers=headers, json={"token": "t"}).status_code == 202
    body = {"labels": {"hall": "3"}}
    assert api.call("PUT", "/boards/board-1/labels", headers=headers, json=body).status_code == 200
    assert api.call("PUT", "/groups/all", headers=headers, json={"boards": ["board-1"]}).status_code == 201
    wanted = {"model": "tiny", "group": "all"}
    assert api.call("PUT", "/deployments/shop", headers=headers, json=wanted).status_code == 201
    after = marks.marks(database)
    assert {kind for kind in after if after[kind] != before[kind]} == {"boards", "groups", "deployments"}
    assert api.get("/boards?label=hall%3D3&group=all", headers=headers)["items"][0]["condition"] == "drained"
    assert [line["operation"] for line in api.get("/audit", headers=headers)["items"]] == [
        "put_deployment",
        "put_group",
        "label_board",
        "restart_board",
        "drain_board",
    ]
    with pytest.raises(StaleError):
        groups.put_group(database, "all", "local", [], "", now, Expected(revisions=frozenset({0})))
    assert fleet.recorder.load_state().wishes[0].restart_token == "t"
    assert board_wishes.board_wishes(database, "board-1").labels == {"hall": "3"}
    number = operations.begin(database, "import-model", "x:1", "boss", now)
    operations.beat(database, number, now, "storing", 1, 2)
    operations.succeed(database, number, now, {"layers": 2})
    assert api.get(f"/operations/{number}", headers=headers)["result"] == {"layers": 2}


def test_events_by_every_filter(fleet: Fleet):
    fleet.recorder.record_event(NewEvent("noted", "one", Severity.ERROR, board="board-1", deployment="digits"))
    fleet.clock.advance(60)
    fleet.recorder.record_event(NewEvent("noted", "two"))
    every = EventFilter("board-1", "digits", Severity.ERROR, "noted", START, fleet.clock())
    assert [line.sentence for line in pages.events(fleet.database, every, 10)] == ["one"]
    assert [line.sentence for line in pages.events(fleet.database, EventFilter(since=fleet.clock()), 10)] == ["two"]
    assert marks.event_ends(fleet.database)[1] == pages.events(fleet.database, EventFilter(), 1)[0].id
