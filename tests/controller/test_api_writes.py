"""What owners ask for over the REST API: kept, conditional on what they have seen, and in the audit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_client import Api, copied_fleet
from convoy_controller.database import audit, queries, removals
from convoy_controller.database.audit import AuditFilter
from convoy_controller.database.recorder import Recorder
from convoy_controller.database.records import BoardWish, DeploymentState
from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Intent
from database_samples import Fleet, reported

WANTED = {"model": "tiny", "method": "library", "boards": 1}


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = copied_fleet(tmp_path)
    yield made
    made.database.close()


@pytest.fixture
def api(fleet: Fleet, tmp_path: Path) -> Api:
    return Api(fleet.database, tmp_path)


def put(api: Api, name: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    return api.call(
        "PUT", f"/deployments/{name}", json=body, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def problem(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def test_a_deployment_is_asked_for_and_the_controller_finds_it(api: Api, fleet: Fleet):
    made = put(api, "shop", WANTED | {"board_names": ["board-2", "board-1", "board-2"], "boards": 9})
    assert made.status_code == 201, made.text
    assert made.headers["etag"] == f'"{made.json()["intent_revision"]}"'
    asked = Recorder(fleet.database).intents_since(made.json()["intent_revision"] - 1)
    assert asked[0].intent == Intent("shop", "tiny", "1", Method.LIBRARY, boards=2, board_names=("board-2", "board-1"))
    assert api.get("/deployments/shop") == made.json()


def test_a_stale_write_gets_412_and_one_that_says_nothing_428(api: Api, fleet: Fleet):
    seen = api.call("GET", "/deployments/digits").headers["etag"]
    assert problem(put(api, "digits", WANTED)) == (428, "precondition-required")
    first = put(api, "digits", WANTED | {"batch": 4}, If_Match=seen)
    assert first.status_code == 200
    second = put(api, "digits", WANTED | {"batch": 8}, If_Match=seen)
    assert problem(second) == (412, "stale")
    assert "read it again" in second.json()["detail"]
    assert api.get("/deployments/digits")["batch"] == 4
    assert put(api, "digits", WANTED | {"batch": 8}, If_Match=f'"x", {first.headers["etag"]}').status_code == 200
    assert put(api, "digits", WANTED | {"batch": 16}, If_Match="*").status_code == 200
    assert problem(put(api, "digits", WANTED, If_Match=f"W/{seen}")) == (412, "stale")
    assert problem(put(api, "digits", WANTED, If_None_Match="*")) == (412, "stale")
    assert problem(put(api, "none", WANTED, If_Match="*")) == (412, "stale")
    assert put(api, "none", WANTED, If_None_Match="*").status_code == 201
    assert problem(put(api, "digits", WANTED, If_Match="17")) == (400, "precondition")
    assert problem(put(api, "digits", WANTED, If_None_Match='"17"')) == (400, "precondition")


def test_scaling_names_what_was_seen_too(api: Api):
    seen = api.call("GET", "/deployments/digits").headers["etag"]
    path = "/deployments/digits"
    assert problem(api.call("PATCH", path, json={"boards": 2})) == (428, "precondition-required")
    scaled = api.call("PATCH", path, json={"boards": 2, "replicas": 3}, headers={"If-Match": seen})
    assert (scaled.status_code, scaled.json()["boards"], scaled.json()["replicas"]) == (200, 2, 3)
    assert problem(api.call("PATCH", path, json={"boards": 1}, headers={"If-Match": seen})) == (412, "stale")
    named = api.call("PATCH", path, json={"board_names": ["board-3"]}, headers={"If-Match": scaled.headers["etag"]})
    assert (named.json()["boards"], named.json()["board_names"], named.json()["replicas"]) == (1, ["board-3"], 3)
    same = api.call("PATCH", path, json={}, headers={"If-Match": named.headers["etag"]})
    assert same.headers["etag"] == named.headers["etag"]
    assert problem(api.call("PATCH", "/deployments/none", json={}, headers={"If-Match": "*"})) == (404, "not-found")


def test_a_deployment_ends(api: Api):
    seen = api.call("GET", "/deployments/digits").headers["etag"]
    assert problem(api.call("DELETE", "/deployments/digits", headers={"If-Match": '"999"'})) == (412, "stale")
    ended = api.call("DELETE", "/deployments/digits", headers={"If-Match": seen})
    assert (ended.status_code, ended.json()["state"]) == (202, DeploymentState.REMOVING.value)
    assert problem(api.call("DELETE", "/deployments/digits")) == (404, "not-found")
    assert put(api, "digits", WANTED).status_code == 201  # nothing is there that would have to be named


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "nothing"}, 404, "not-found"),
        ({"model": "tiny", "version": "9"}, 404, "not-found"),
        ({"model": "tiny", "board_names": ["board-9"]}, 404, "not-found"),
        ({"model": "tiny", "method": "magic"}, 422, "invalid"),
        ({"model": "tiny", "boards": -1}, 422, "invalid"),
        ({"model": "tiny", "boards": 2**70}, 422, "invalid"),
        ({"model": "tiny", "colour": "red"}, 422, "invalid"),
        ({"model": "tiny\u0000"}, 422, "invalid"),
        ({"model": "tiny", "method": "stream"}, 422, "catalogue"),
        ([], 422, "invalid"),
    ],
)
def test_what_cannot_be_wanted_is_refused(api: Api, body: Any, status: int, code: str):
    assert problem(put(api, "shop", body)) == (status, code)
    assert api.call("GET", "/deployments/shop").status_code == 404


@pytest.mark.parametrize("text", ["", "{", "nul", '{"model": 1e999}', "[" * 5000, '{"model": "\\ud800"}', "\xff"])
def test_no_body_breaks_it(api: Api, text: str):
    for path, method in (("/deployments/shop", "PUT"), ("/tokens", "POST")):
        headers = {"content-type": "application/json"}
        assert api.call(method, path, content=text.encode("latin-1"), headers=headers).status_code in (400, 422)


def test_a_board_is_drained_and_put_back(api: Api, fleet: Fleet):
    drained = api.call("PUT", "/boards/board-1/drain")
    assert (drained.status_code, drained.json()["drained"]) == (200, True)
    assert api.call("PUT", "/boards/board-1/drain").json() == drained.json()  # a repeat changes nothing
    wish = Recorder(fleet.database).wishes_since(drained.json()["revision"] - 1)
    assert wish == (BoardWish("board-1", True, "", False, drained.json()["revision"]),)
    assert api.get("/boards/board-1/why")["condition"] == "drained"
    assert "still serves stage 1 of 2" in api.get("/boards/board-1/why")["sentence"]
    assert not api.call("DELETE", "/boards/board-1/drain").json()["drained"]
    assert api.get("/boards/board-1/why")["condition"] == "ready"
    assert Recorder(fleet.database).load_state().wishes[0].drained is False
    assert problem(api.call("PUT", "/boards/board-9/drain")) == (404, "not-found")
    kinds = [line["kind"] for line in api.get("/boards/board-1/events")["items"]]
    assert kinds == ["board-undrained", "board-drained"]


def test_a_restart_is_asked_for_once_a_token(api: Api, fleet: Fleet):
    first = api.call("POST", "/boards/board-1/restart", json={"token": "t-1"})
    assert (first.status_code, first.json()["restart_pending"]) == (202, True)
    assert api.call("POST", "/boards/board-1/restart", json={"token": "t-1"}).json() == first.json()
    assert api.get("/boards/board-1/why")["condition"] == "restarting"
    fleet.recorder.record_reported("board-1", replace(reported(), restarted="t-1"))
    assert not api.get("/boards/board-1/wishes")["restart_pending"]
    drawn = api.call("POST", "/boards/board-1/restart", json={"forced": True}).json()
    assert drawn["restart_forced"]
    assert drawn["restart_token"] not in ("", "t-1")
    assert problem(api.call("POST", "/boards/board-1/restart", json={"token": "No!"})) == (422, "invalid")


def test_boards_are_found_by_label_and_by_group(api: Api):
    assert api.call("PUT", "/boards/board-1/labels", json={"labels": {"hall": "3"}}).json()["labels"] == {"hall": "3"}
    api.call("PUT", "/boards/board-2/labels", json={"labels": {"hall": "4"}})
    assert [line["board"] for line in api.get("/boards?label=hall%3D3")["items"]] == ["board-1"]
    body = {"site": "hall-3", "boards": ["board-2", "board-1", "board-2"]}
    made = api.call("PUT", "/groups/left", json=body)
    assert (made.status_code, made.json()["boards"]) == (201, ["board-1", "board-2"])
    assert [line["board"] for line in api.get("/boards?group=left&label=hall%3D4")["items"]] == ["board-2"]
    assert api.get("/boards?group=none", 404)["code"] == "not-found"
    assert problem(api.call("PUT", "/boards/board-1/labels", json={"labels": {"hall": "\u0000"}})) == (422, "invalid")


def test_a_group_is_changed_by_whom_has_seen_it_and_means_its_boards_when_named(api: Api):
    made = api.call("PUT", "/groups/left", json={"boards": ["board-1"]})
    assert problem(api.call("PUT", "/groups/left", json={"boards": []})) == (428, "precondition-required")
    assert problem(api.call("PUT", "/groups/left", json={"boards": ["board-9"]})) == (404, "not-found")
    assert put(api, "shop", {"model": "tiny", "group": "left"}).json()["board_names"] == ["board-1"]
    etag = {"If-Match": made.headers["etag"]}
    assert api.call("PUT", "/groups/left", json={"boards": ["board-1", "board-2"]}, headers=etag).status_code == 200
    assert problem(api.call("PUT", "/groups/left", json={"boards": []}, headers=etag)) == (412, "stale")
    assert api.get("/deployments/shop")["board_names"] == ["board-1"]  # it follows no later change
    scaled = api.call("PATCH", "/deployments/shop", json={"group": "left"}, headers={"If-Match": "*"})
    assert scaled.json()["board_names"] == ["board-1", "board-2"]
    both = {"model": "tiny", "group": "left", "board_names": ["board-3"]}
    assert problem(put(api, "other", both)) == (422, "invalid")
    assert [line["group"] for line in api.get("/groups?board=board-2")["items"]] == ["left"]
    assert problem(api.call("DELETE", "/groups/left", headers=etag)) == (412, "stale")
    assert api.call("DELETE", "/groups/left").status_code == 200
    assert problem(put(api, "other", {"model": "tiny", "group": "left"})) == (404, "not-found")


def test_a_clearing_is_asked_for_and_its_findings_are_read(api: Api, fleet: Fleet):
    asked = api.call("POST", "/clearings", json={"dry_run": True})
    assert (asked.status_code, asked.json()["done_at"]) == (202, None)
    (pending,) = removals.pending_collections(fleet.database)
    removals.finish_collection(fleet.database, pending.number, [{"kind": "model"}])
    found = api.get(asked.headers["location"].removeprefix("/api/v1"))
    assert found["findings"] == [{"kind": "model"}]
    assert found["done_at"]
    assert api.get("/clearings/99", 404)["code"] == "not-found"


def test_models_and_boards_go_when_nobody_needs_them(api: Api):
    assert problem(api.call("DELETE", "/models/tiny/1")) == (409, "in-use")
    assert problem(api.call("DELETE", "/models/tiny/9")) == (404, "not-found")
    assert problem(api.call("DELETE", "/boards/board-1")) == (409, "in-use")
    gone = api.call("DELETE", "/boards/board-3")
    assert (gone.status_code, gone.json()["board"]) == (200, "board-3")
    assert problem(api.call("DELETE", "/boards/board-3")) == (404, "not-found")


def test_the_audit_has_the_revisions(api: Api, fleet: Fleet):
    seen = queries.deployment(fleet.database, "digits").intent_revision
    put(api, "digits", WANTED, If_Match=f'"{seen}"')
    put(api, "digits", WANTED, If_Match=f'"{seen}"')
    refused, done = audit.lines(fleet.database, AuditFilter(), 10)
    assert (done.before, done.after, done.status, done.subject) == (seen, seen + 1, 200, "/deployments/digits")
    assert (refused.after, refused.status, refused.code) == (None, 412, "stale")
