"""`/changes`: told as it happens, resumed without a hole, bounded, and ended for those who may no longer listen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from api_client import Api, Told, copied_fleet
from convoy_controller.api import changes, hub
from convoy_controller.api.access import Tokens
from convoy_controller.database import tokens
from convoy_controller.database.records import BoardPresence, NewEvent, Severity, TokenRole, utc_now
from convoy_controller.database.retention import sweep
from database_samples import Fleet
from patience import PATIENCE_S


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    monkeypatch.setattr(hub, "POLL_S", 0.02)
    made = copied_fleet(tmp_path)
    yield made
    made.database.close()


@pytest.fixture
def api(fleet: Fleet, tmp_path: Path) -> Api:
    return Api(fleet.database, tmp_path)


def note(fleet: Fleet, *sentences: str, severity: Severity = Severity.INFO) -> list[int]:
    return [fleet.recorder.record_event(NewEvent("noted", sentence, severity)) for sentence in sentences]


def of(kind: str, told: list[Told]) -> list[Told]:
    return [each for each in told if each.kind == kind]


def test_what_happens_is_told_with_its_number(api: Api, fleet: Fleet):
    note(fleet, "before")
    numbers: list[int] = []
    told = api.follow(
        "/changes", lambda told: len(of("event", told)) == 2, act=lambda: numbers.extend(note(fleet, "one", "two"))
    )
    assert told[0].kind == "hello"
    assert [(each.data["sentence"], each.id) for each in of("event", told)] == [
        ("one", str(numbers[0])),
        ("two", str(numbers[1])),
    ]
    assert of("event", told)[0].data == api.get("/events?limit=2")["items"][1]


def test_a_connection_is_resumed_without_a_hole_and_without_a_repeat(api: Api, fleet: Fleet):
    numbers = note(fleet, *map(str, range(changes.BATCH + 20)))
    told = api.follow("/changes", lambda told: len(of("event", told)) == 10, {"last-event-id": str(numbers[4])})
    assert [each.data["id"] for each in of("event", told)][:10] == numbers[5:15]
    place = of("event", told)[9].id
    rest = api.follow(f"/changes?after={place}", lambda told: told[-1].id == str(numbers[-1]))
    assert [each.data["id"] for each in of("event", rest)] == numbers[15:]


def test_events_are_filtered_and_changes_are_not(api: Api, fleet: Fleet):
    def act() -> None:
        note(fleet, "quiet")
        note(fleet, "loud", severity=Severity.ERROR)
        fleet.recorder.record_presence("board-2", BoardPresence.OFFLINE, 1, "gone")

    told = api.follow("/changes?severity=error", lambda told: bool(of("event", told) and of("change", told)), act=act)
    assert [each.data["sentence"] for each in of("event", told)] == ["loud"]
    assert {kind for each in of("change", told) for kind in each.data["resources"]} == {"boards"}


def test_what_is_not_kept_any_more_is_a_gap(api: Api, fleet: Fleet):
    first, *_ = note(fleet, "old", "old", "old")
    fleet.clock.advance(40 * 86400)
    kept = note(fleet, "new")
    sweep(fleet.database, fleet.clock(), keep_rows=0)
    told = api.follow("/changes", lambda told: bool(of("event", told)), {"last-event-id": str(first)})
    assert of("gap", told)[0].data == {"after": first, "oldest": kept[0], "newest": kept[0]}
    assert [each.data["sentence"] for each in of("event", told)] == ["new"]
    ahead = api.follow("/changes", lambda told: bool(of("gap", told)), {"last-event-id": "999999"})
    assert of("gap", ahead)[0].data["newest"] == kept[0]


def test_silence_is_broken_by_comments(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(changes, "HEARTBEAT_S", 0.05)
    told = api.follow("/changes", lambda told: len(told) == 3)
    assert [each.kind for each in told] == ["hello", "", ""]


def test_who_may_no_longer_listen_is_let_go(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(changes, "HEARTBEAT_S", 0.05)
    made = tokens.create_token(fleet.database, "one", TokenRole.VIEWER, utc_now(), None)
    api = Api(fleet.database, tmp_path, Tokens(fleet.database, is_loopback=True))
    told = api.follow(
        "/changes",
        lambda told: False,  # it is the server that ends it
        {"authorization": f"Bearer {made.token}"},
        act=lambda: tokens.revoke_token(fleet.database, "one", utc_now()),
    )
    assert told[0].kind == "hello"


@pytest.mark.parametrize(
    ("query", "header"),
    [
        ("", "x"),
        ("", "-1"),
        ("", str(2**63)),
        ("?after=-1", ""),
        ("?after=1e3", ""),
        ("?severity=loud", ""),
        ("?board=No%00", ""),
        ("?kind=", ""),
        ("?colour=red", ""),
    ],
)
def test_what_cannot_be_followed_is_refused(api: Api, query: str, header: str):
    response = api.call("GET", f"/changes{query}", headers={"Last-Event-ID": header} if header else {})
    assert (response.status_code, response.json()["code"]) == (422, "invalid")


def test_followers_are_bounded(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub, "MOST_FOLLOWERS", 0)
    refused = api.call("GET", "/changes")
    assert (refused.status_code, refused.json()["code"]) == (429, "too-many-requests")


def test_who_does_not_read_holds_up_nobody_and_is_let_go(api: Api, fleet: Fleet, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(changes, "SEND_S", 8 * PATIENCE_S)
    read: list[bytes] = []

    async def play() -> None:
        stuck = asyncio.Event()

        async def never(_: object = None) -> dict[str, object]:
            stuck.set()
            await asyncio.Event().wait()
            return {}

        async def silent(message: dict[str, object]) -> None:
            if message.get("body"):
                await never()

        async def reads(message: dict[str, object]) -> None:
            if message.get("body"):
                read.append(message["body"])  # type: ignore[arg-type]

        slow = asyncio.create_task(api.app(scope(), asked(), silent))  # type: ignore[arg-type]
        quick = asyncio.create_task(api.app(scope(), asked(), reads))  # type: ignore[arg-type]
        await asyncio.wait_for(stuck.wait(), PATIENCE_S)
        while not read:  # what happens before its greeting is not told to it
            await asyncio.sleep(0.01)
        await asyncio.to_thread(note, fleet, "one", "two")
        while len([text for text in read if b"event: event" in text]) < 2:
            await asyncio.sleep(0.01)
        assert not slow.done()
        monkeypatch.setattr(changes, "SEND_S", 0.1)
        await asyncio.wait_for(api.app(scope(), asked(), silent), PATIENCE_S)  # type: ignore[arg-type]
        for task in (slow, quick):
            task.cancel()
        await asyncio.gather(slow, quick, return_exceptions=True)

    asyncio.run(asyncio.wait_for(play(), 4 * PATIENCE_S))
    assert api.app.state.hub._followers == 0


def asked() -> Callable[[], Awaitable[dict[str, object]]]:
    """A request without a body, whose caller stays."""
    requests: list[dict[str, object]] = [{"type": "http.request"}]

    async def receive() -> dict[str, object]:
        if not requests:
            await asyncio.Event().wait()
        return requests.pop()

    return receive


def scope() -> dict[str, object]:
    return {
        "type": "http",
        "method": "GET",
        "path": "/api/v1/changes",
        "raw_path": b"/api/v1/changes",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
    }
