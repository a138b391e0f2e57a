"""Who may do what: a token of each role against every route, without a token, and what the audit keeps of it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from api_client import UNHURRIED, Api, copied_fleet
from convoy_controller.api.access import Tokens
from convoy_controller.api.app import rules
from convoy_controller.api.book import REFUSALS_AT_ONCE
from convoy_controller.api.limits import Limits
from convoy_controller.api.process import run_api
from convoy_controller.api.roles import table
from convoy_controller.database import audit, tokens
from convoy_controller.database.audit import AuditFilter
from convoy_controller.database.records import TokenRole, utc_now
from convoy_controller.database.views import AuditLine
from convoy_controller.errors import ExposedError, NameUsedError, NotFoundError
from convoy_controller.home import Home
from convoy_controller.listening import Listening
from convoy_schema.errors import TlsError, TopicError
from database_samples import Fleet

ROOT = Path(__file__).parents[2]
ROLES = {"viewer": TokenRole.VIEWER, "operator": TokenRole.OPERATOR, "admin": TokenRole.ADMIN}


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = copied_fleet(tmp_path)
    yield made
    made.database.close()


@pytest.fixture
def api(fleet: Fleet, tmp_path: Path) -> Api:
    """As `convoy api` serves on loopback."""
    return Api(fleet.database, tmp_path, Tokens(fleet.database, is_loopback=True))


def make(fleet: Fleet, name: str, role: TokenRole = TokenRole.ADMIN, seconds: float | None = None) -> dict[str, str]:
    """The headers of a new token's bearer."""
    until = None if seconds is None else utc_now() + timedelta(seconds=seconds)
    return {"Authorization": f"Bearer {tokens.create_token(fleet.database, name, role, utc_now(), until).token}"}


def trail(fleet: Fleet) -> tuple[AuditLine, ...]:
    """The audit, the oldest first."""
    return audit.lines(fleet.database, AuditFilter(), 1000)[::-1]


# Roles ---------------------------------------------------------------------------------------------------------------


def documented() -> dict[tuple[str, str], dict[str, bool]]:
    """The table of the documents: by (method, path), which role may."""
    found = {}
    for line in (ROOT / "docs" / "api.md").read_text(encoding="utf-8").splitlines():
        row = re.fullmatch(r"\| (GET|PUT|POST|PATCH|DELETE) \| `(/\S+)` \| `\w+` \| (\S+) \| (\S+) \| (\S+) \|", line)
        if row:
            found[row[1], f"/api/v1{row[2]}"] = dict(
                zip(ROLES, (cell == "yes" for cell in row.groups()[2:]), strict=True)
            )
    return found


def test_a_token_of_each_role_gives_exactly_the_documented_table(api: Api, fleet: Fleet):
    headers = {name: make(fleet, name, role) for name, role in ROLES.items()}
    described = api.call("GET", "/openapi.json").json()["paths"]
    expected, tried = documented(), 0
    assert set(expected) == {(method.upper(), path) for path, methods in described.items() for method in methods}
    for (method, path), may in expected.items():
        concrete = re.sub(r"\{(digest)\}", "0" * 64, path)
        concrete = re.sub(r"\{generation\}", "9-9", concrete)
        concrete = re.sub(r"\{(operation|clearing)\}", "999999", concrete)
        concrete = re.sub(r"\{\w+\}", "nobody", concrete)
        local = {"host": "localhost"}
        assert api.status(method, concrete, local) == 401, (method, path)
        for role, is_allowed in may.items():
            status = api.status(method, concrete, local | headers[role])
            assert (status == 403) is not is_allowed, (method, path, role, status)
            assert status < 500, (method, path, role, status)
            assert status not in (401, 405), (method, path, role, status)
            tried += 1
    assert tried == 3 * len(rules())


def test_the_documents_have_the_table_of_the_code():
    assert table(rules()) in (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def test_an_unknown_path_needs_no_token_and_tells_nothing(api: Api, fleet: Fleet):
    make(fleet, "one")
    assert api.call("GET", "/secrets").status_code == 404


# Tokens --------------------------------------------------------------------------------------------------------------


def test_without_any_token_this_machine_may_do_everything_and_from_the_first_one_on_nothing(api: Api, fleet: Fleet):
    assert api.get("/about")["role"] == "admin"
    made = api.call("POST", "/tokens", json={"name": "ci", "role": "operator"})
    assert made.status_code == 201
    refused = api.call("GET", "/about")
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
    assert refused.headers["www-authenticate"].startswith("Bearer")
    headers = {"Authorization": f"Bearer {made.json()['token']}"}
    about = api.get("/about", headers=headers)
    assert (about["caller"], about["role"]) == ("ci", "operator")


def test_a_revoked_or_expired_token_does_not_count_and_opens_nothing(api: Api, fleet: Fleet):
    headers, gone = make(fleet, "one"), make(fleet, "two", seconds=-1)
    assert api.call("GET", "/about", headers=gone).status_code == 401
    assert api.call("DELETE", "/tokens/one", headers=headers).status_code == 200
    assert api.call("GET", "/about", headers=headers).status_code == 401
    assert api.call("GET", "/about").status_code == 401  # not open again
    again = Api(fleet.database, api.folder, Tokens(fleet.database, is_loopback=True))
    assert again.call("GET", "/about").status_code == 401  # nor after a restart


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer x", "Basic YTpi", "bearer convoy_0123456789ab_" + "x" * 43, "Bearer \xff" * 50]
)
def test_what_is_no_token_is_refused(api: Api, fleet: Fleet, given: str):
    make(fleet, "one")
    assert api.status("GET", "/api/v1/about", {"host": "localhost", "authorization": given}) == 401


def test_one_wrong_character_is_no_token(api: Api, fleet: Fleet):
    text = make(fleet, "one")["Authorization"]
    for changed in (text[:-1] + ("a" if text[-1] != "a" else "b"), text + "a", text[:-1]):
        assert api.call("GET", "/about", headers={"Authorization": changed}).status_code == 401
    assert api.call("GET", "/about", headers={"Authorization": text}).status_code == 200


def test_the_database_holds_no_secret(fleet: Fleet, tmp_path: Path):
    secret = make(fleet, "one")["Authorization"].split("_", 2)[2]
    fleet.database.close()
    with sqlite3.connect(tmp_path / "convoy.db") as connection:
        dump = "\n".join(connection.iterdump())
    connection.close()
    assert "secret_hash" in dump
    assert secret not in dump


def test_names_are_given_once(fleet: Fleet):
    make(fleet, "one")
    tokens.revoke_token(fleet.database, "one", utc_now())
    with pytest.raises(NameUsedError):
        make(fleet, "one")
    with pytest.raises(NameUsedError):
        make(fleet, "local")
    with pytest.raises(TopicError):
        make(fleet, "No Name")
    with pytest.raises(NotFoundError):
        tokens.revoke_token(fleet.database, "two", utc_now())


def test_the_last_use_is_noted_once_a_minute(fleet: Fleet, tmp_path: Path):
    now = 0.0
    api = Api(fleet.database, tmp_path, Tokens(fleet.database, True, lambda: now))
    headers = make(fleet, "one")
    assert api.call("GET", "/about", headers=headers).status_code == 200
    first = tokens.tokens(fleet.database)[0].last_used_at
    assert first is not None
    api.call("GET", "/about", headers=headers)
    assert tokens.tokens(fleet.database)[0].last_used_at == first
    now = 61.0
    api.call("GET", "/about", headers=headers)
    assert tokens.tokens(fleet.database)[0].last_used_at != first


@pytest.mark.parametrize(
    "headers", [{"host": "evil.example"}, {"host": ""}, {"origin": "https://evil.example"}, {"origin": "null"}]
)
def test_no_page_of_another_site_gets_through_a_browser_without_a_token(
    api: Api, fleet: Fleet, headers: dict[str, str]
):
    assert api.status("GET", "/api/v1/about", {"host": "localhost:8081"} | headers) == 403
    assert api.status("GET", "/api/v1/about", {"host": "localhost:8081", "origin": "http://127.0.0.1:8081"}) == 200
    assert api.status("GET", "/api/v1/about", headers | make(fleet, "one")) == 200


def test_nothing_listens_where_others_reach_it_without_a_token(fleet: Fleet, tmp_path: Path):
    home = Home.locate(tmp_path, environment={})
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        with pytest.raises(ExposedError, match="convoy token create"):
            run_api(home, Listening(host))
    assert Listening("127.0.0.7").is_loopback
    assert Listening("::1").is_loopback
    outside = Api(fleet.database, tmp_path, Tokens(fleet.database, is_loopback=False))
    assert outside.call("GET", "/about").status_code == 401
    with pytest.raises(TlsError, match="a certificate and its key"):
        Listening(certificate=tmp_path / "none.pem").context()


# Limits --------------------------------------------------------------------------------------------------------------


def test_a_body_has_a_bound_whether_it_says_so_or_not(fleet: Fleet, tmp_path: Path):
    api = Api(fleet.database, tmp_path, limits=Limits(body_bytes=100, rate_per_s=1e6, burst=10**6))
    body = b'{"name": "' + b"x" * 200 + b'", "role": "viewer"}'
    announced = api.call("POST", "/tokens", content=body, headers={"content-type": "application/json"})

    async def parts():  # type: ignore[no-untyped-def]
        for start in range(0, len(body), 50):
            yield body[start : start + 50]

    chunked = api.call("POST", "/tokens", content=parts(), headers={"content-type": "application/json"})
    for response in (announced, chunked):
        assert (response.status_code, response.json()["code"]) == (413, "body-too-large")
    other = api.call("POST", "/tokens", content=b"name=a", headers={"content-type": "text/plain"})
    assert (other.status_code, other.json()["code"]) == (415, "media-type")
    assert [line.status for line in trail(fleet)] == [413, 413, 415]


def test_who_asks_too_often_is_told_when_to_come_back(fleet: Fleet, tmp_path: Path):
    api = Api(fleet.database, tmp_path, limits=Limits(rate_per_s=0.001, burst=2))
    assert [api.call("GET", "/about").status_code for _ in range(3)] == [200, 200, 429]
    assert api.call("GET", "/about").headers["retry-after"] == "1"


# Audit ---------------------------------------------------------------------------------------------------------------


def test_every_write_and_every_refused_one_is_written_down(api: Api, fleet: Fleet):
    admin, viewer = make(fleet, "boss"), make(fleet, "guest", TokenRole.VIEWER)
    api.call("GET", "/tokens", headers=admin)
    api.call("POST", "/tokens", headers=admin, json={"name": "new", "role": "viewer"})
    api.call("POST", "/tokens", headers=admin, json={"name": "new", "role": "viewer"})
    api.call("POST", "/tokens", headers=admin, json={"name": "N e w"})
    api.call("POST", "/tokens", headers=viewer, json={"name": "mine", "role": "admin"})
    api.call("DELETE", "/tokens/guest")
    api.call("DELETE", "/tokens/guest", headers=admin)
    found = [(line.actor, line.role, line.operation, line.subject, line.status, line.code) for line in trail(fleet)]
    assert found == [
        ("boss", "admin", "create_token", "/tokens", 201, ""),
        ("boss", "admin", "create_token", "/tokens", 409, "name-used"),
        ("boss", "admin", "create_token", "/tokens", 422, "invalid"),
        ("guest", "viewer", "create_token", "/tokens", 403, "forbidden"),
        ("unknown", "", "revoke_token", "/tokens/guest", 401, "unauthorized"),
        ("boss", "admin", "revoke_token", "/tokens/guest", 200, ""),
    ]
    shown = api.get("/audit?limit=2&actor=boss", headers=admin)
    assert [line["status"] for line in shown["items"]] == [200, 422]
    assert shown["next"] is not None
    assert trail(fleet)[0].peer == "127.0.0.1"


def test_a_flood_of_refusals_is_not_a_flood_of_rows(fleet: Fleet, tmp_path: Path):
    make(fleet, "one")
    api = Api(fleet.database, tmp_path, Tokens(fleet.database, True), UNHURRIED)
    for _ in range(REFUSALS_AT_ONCE + 20):
        assert api.status("DELETE", "/api/v1/tokens/one", {"host": "localhost"}) == 401
    assert REFUSALS_AT_ONCE <= len(trail(fleet)) <= REFUSALS_AT_ONCE + 10


def test_a_write_that_was_never_finished_shows_as_one(fleet: Fleet):
    attempt = audit.Attempt("boss", "admin", "127.0.0.1", "create_token", "/tokens")
    number = audit.begin(fleet.database, utc_now(), attempt)
    assert trail(fleet)[0].status is None
    audit.finish(fleet.database, number, audit.Outcome(200, "", 3, 4))
    line = trail(fleet)[0]
    assert (line.status, line.before, line.after) == (200, 3, 4)


def test_nothing_is_done_that_cannot_be_written_down(api: Api, fleet: Fleet, monkeypatch: pytest.MonkeyPatch):
    from convoy_controller.errors import DatabaseBusyError

    def busy(*_: object) -> None:
        raise DatabaseBusyError("locked")

    monkeypatch.setattr(audit, "begin", busy)
    response = api.call("POST", "/tokens", json={"name": "new", "role": "viewer"})
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert tokens.tokens(fleet.database) == ()
