"""The command line's client of the API: views there and back, an application without a socket, errors by status."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from convoy_controller.api_client.answers import error_of
from convoy_controller.api_client.client import FleetClient
from convoy_controller.api_client.opening import Elsewhere, check_url, open_client
from convoy_controller.api_client.structure import structured
from convoy_controller.api_client.transport import BASE_URL, InProcess
from convoy_controller.cli.exit_codes import ExitCode, exit_code
from convoy_controller.database import queries
from convoy_controller.database.records import NewEvent
from convoy_controller.database.views import BoardDetail, DeploymentLine, FleetLine, PlanView, Why
from convoy_controller.errors import (
    ApiAnswerError,
    ApiRefusedError,
    ApiStaleError,
    ApiUnavailableError,
    ApiUnreachableError,
    ApiUsageError,
    ConfigurationError,
    NotFoundError,
)
from convoy_controller.home import Home
from convoy_controller.plain import plain
from database_samples import Fleet, three_boards
from starlette.types import Receive, Scope, Send


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Fleet, Path]]:
    folder = tmp_path_factory.mktemp("fleet")
    made = three_boards(folder)
    for number in range(3):
        made.recorder.record_event(NewEvent("planned", f"event {number}", deployment="digits"))
    yield made, folder
    made.database.close()


@pytest.fixture(scope="module")
def client(fleet: tuple[Fleet, Path]) -> Iterator[FleetClient]:
    with open_client(Home.locate(fleet[1], environment={})) as made:
        yield made


def test_views_come_back_as_they_went(fleet: tuple[Fleet, Path]) -> None:
    database = fleet[0].database
    for kind, view in (
        (BoardDetail, queries.board(database, "board-1")),
        (Why, queries.why(database, "board-1")),
        (FleetLine, queries.fleet(database)[0]),
        (DeploymentLine, queries.deployment(database, "digits")),
        (PlanView, queries.plan(database, "digits")),
    ):
        text = json.dumps(plain(view))
        back = structured(kind, json.loads(text))
        assert isinstance(back, kind)
        assert json.dumps(plain(back)) == text


def test_a_newer_servers_keys_are_left_out_and_what_does_not_fit_is_named(fleet: tuple[Fleet, Path]) -> None:
    said = plain(queries.why(fleet[0].database, "board-1"))
    assert structured(Why, said | {"mood": "good"}) == structured(Why, said)
    for key, value in (("condition", "bored"), ("sentence", 5), ("since", "yesterday")):
        with pytest.raises(ApiAnswerError, match=r"is no Why .*update"):
            structured(Why, said | {key: value})
    with pytest.raises(ApiAnswerError):
        structured(Why, {"board": "board-1"})


def test_the_client_answers_as_the_queries(fleet: tuple[Fleet, Path], client: FleetClient) -> None:
    database = fleet[0].database
    assert plain(client.boards()) == plain(queries.fleet(database))
    assert plain(client.board("board-2")) == plain(queries.board(database, "board-2"))
    assert plain(client.deployments()) == plain(queries.deployments(database))
    assert plain(client.generations("digits", 10)) == plain(queries.generations(database, "digits", limit=10))
    assert plain(client.plan_of("digits")) == plain(queries.plan(database, "digits"))
    assert plain(client.models()) == plain(queries.models(database))
    assert plain(client.events(2)) == plain(queries.events(database, 2))
    assert plain(client.gateways()) == plain(queries.gateways(database))
    with pytest.raises(NotFoundError, match="x was never seen"):
        client.board("x")
    with pytest.raises(ApiUsageError):
        client.board("Not-A-Name")


def test_lists_are_read_to_their_last_page(client: FleetClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convoy_controller.api_client.client.PAGE", 1)
    assert [line.board for line in client.boards()] == ["board-1", "board-2", "board-3"]
    assert len(client.events(2)) == 2


# Without a socket ----------------------------------------------------------------------------------------------------


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    """Says something for ever, until its caller has gone."""
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 201, "headers": [(b"x-method", scope["method"].encode())]})
    GONE.clear()
    await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": scope["query_string"], "more_body": True})
    assert (await receive())["type"] == "http.disconnect"
    GONE.set()


GONE = threading.Event()


def test_an_endless_answer_comes_as_it_is_made_and_ends_with_its_reader() -> None:
    with (
        httpx.Client(transport=InProcess(endless), base_url=BASE_URL) as http,
        http.stream("POST", "/x?a=1", content=b"hello ") as answer,
    ):
        assert (answer.status_code, answer.headers["x-method"]) == (201, "POST")
        parts = answer.iter_raw()
        assert next(parts) + next(parts) == b"hello a=1"
        assert not GONE.is_set()
        answer.close()
        assert GONE.wait(5)


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("a mistake")


def test_a_mistake_of_the_application_reaches_the_caller() -> None:
    with httpx.Client(transport=InProcess(broken), base_url=BASE_URL) as http, pytest.raises(RuntimeError):
        http.get("/")


async def talkative(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(1000):
        await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def test_a_long_answer_waits_for_its_reader() -> None:
    with httpx.Client(transport=InProcess(talkative), base_url=BASE_URL) as http:
        with http.stream("GET", "/") as answer:
            time.sleep(0.05)
            assert sum(len(part) for part in answer.iter_raw()) == 1_000_000
        with http.stream("GET", "/") as answer:
            next(answer.iter_raw())  # and not the rest: closing must not wait for it


# Errors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "kind", "exits"),
    [
        (401, "unauthenticated", ApiRefusedError, ExitCode.REFUSED),
        (403, "forbidden", ApiRefusedError, ExitCode.REFUSED),
        (404, "not-found", NotFoundError, ExitCode.NOT_FOUND),
        (404, "no-such-path", ApiAnswerError, ExitCode.FAILED),
        (409, "in-use", ApiAnswerError, ExitCode.FAILED),
        (412, "stale", ApiStaleError, ExitCode.CHANGED),
        (422, "topic", ApiUsageError, ExitCode.USAGE),
        (422, "catalogue", ApiAnswerError, ExitCode.FAILED),
        (429, "too-many", ApiAnswerError, ExitCode.FAILED),
        (503, "database-busy", ApiUnavailableError, ExitCode.UNREACHABLE),
    ],
)
def test_an_error_keeps_its_sentence_and_gets_the_exit_code_of_its_kind(
    status: int, code: str, kind: type[Exception], exits: ExitCode
) -> None:
    body = {"detail": "so it is", "code": code}
    request = httpx.Request("GET", "http://h/api/v1/boards")
    error = error_of(httpx.Response(status, json=body, request=request))
    assert type(error) is kind
    assert str(error) == "so it is"
    assert error.data["answered"] == code
    assert exit_code(error) is exits


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"detail": 5', b"[" * 5000])
def test_whoever_is_no_api_is_asked_what_it_is(body: bytes) -> None:
    request = httpx.Request("GET", "http://h/api/v1/boards")
    headers = {"content-type": "application/json"}
    error = error_of(httpx.Response(502, content=body, headers=headers, request=request))
    assert "h answered 502 Bad Gateway: is it a convoy API?" in str(error)


def test_nobody_there_is_said_with_the_address() -> None:
    with (
        open_client(Elsewhere("http://127.0.0.1:9")) as client,
        pytest.raises(ApiUnreachableError, match=r"127\.0\.0\.1:9"),
    ):
        client.boards()


@pytest.mark.parametrize("url", ["", "h:80", "ftp://h", "http://", "http://h:x", "http://h?x=1", "http://u:secret@h"])
def test_what_is_no_address_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as found:
        check_url(url)
    assert "secret" not in str(found.value)


def test_an_address_is_taken_with_what_follows_it() -> None:
    assert check_url("https://h:8081/api/v1/") == "https://h:8081"


def test_a_token_is_never_shown_and_exposed_over_a_network_only() -> None:
    assert "secret" not in repr(Elsewhere("http://h", "secret"))
    assert Elsewhere("http://h", "secret").exposes_token
    for safe in (Elsewhere("https://h", "secret"), Elsewhere("http://127.0.0.1:1", "secret"), Elsewhere("http://h")):
        assert not safe.exposes_token


def test_the_token_goes_with_every_request(fleet: tuple[Fleet, Path]) -> None:
    seen: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(200, json={"items": [], "next": None})

    with open_client(Elsewhere("http://127.0.0.1:9", "secret")) as client:
        client._http._transport = httpx.MockTransport(answer)
        assert client.boards() == ()
    assert seen == ["Bearer secret"]
