"""Who is let in to the dashboard, as what, and what is open to everyone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from api_client import copied_fleet
from convoy_controller.dashboard.login import COOKIE, local_path
from convoy_controller.database import tokens
from convoy_controller.database.records import TokenRole, utc_now
from database_samples import Fleet
from playwright.sync_api import expect
from served import Server, Sight, grave_faults


@pytest.fixture(scope="module")
def fleet(home: Path) -> Iterator[Fleet]:
    """A fleet with a token, so that everyone needs one."""
    made = copied_fleet(home)
    tokens.create_token(made.database, "first", TokenRole.ADMIN, utc_now(), None)
    yield made
    made.database.close()


def make(fleet: Fleet, name: str, role: TokenRole = TokenRole.VIEWER) -> str:
    return tokens.create_token(fleet.database, name, role, utc_now(), None).token


@pytest.mark.parametrize("path", ["/", "/events", "/nowhere", "/_nicegui_ws/socket.io/?EIO=4&transport=polling"])
def test_without_a_token_every_page_is_refused(server: Server, path: str):
    assert httpx.get(f"{server.address}{path}").status_code == 401
    answer = httpx.get(f"{server.address}{path}", headers={"Accept": "text/html"})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login?next=%2F")


def test_the_api_is_as_if_there_were_no_dashboard(server: Server, fleet: Fleet):
    about = f"{server.address}/api/v1/about"
    assert httpx.get(about).json()["code"] == "unauthorized"
    token = make(fleet, "for-the-api")
    assert httpx.get(about, headers={"Cookie": f"convoy_token={token}"}).status_code == 401
    assert httpx.get(about, headers={"Authorization": f"Bearer {token}"}).json()["role"] == "viewer"
    assert httpx.get(f"{server.address}/api/v1/nowhere").json()["code"] == "no-such-path"


def test_logging_in_leads_where_one_wanted_and_logging_out_ends_it(sight: Sight, fleet: Fleet):
    token = make(fleet, "someone")
    context = sight.context()
    page = sight.page(context)
    page.goto(f"{sight.server.address}/events?board=board-1")
    assert grave_faults(page) == []
    page.get_by_label("Token").fill("convoy_no_token")
    sight.faults.clear()
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("not known")
    assert grave_faults(page) == []
    sight.faults.clear()  # the browser notes the answer 401
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/events?board=board-1")
    page.get_by_text("someone (viewer)").wait_for()
    [cookie] = [each for each in context.cookies() if each["name"] == "convoy_token"]
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    page.goto(f"{sight.server.address}/events")
    page.wait_for_url("**/login?next=*")


def test_a_revoked_token_ends_an_open_page(sight: Sight, fleet: Fleet):
    # As the login leaves it: not every Chromium sends a context's own headers when it opens a WebSocket.
    context = sight.context()
    context.add_cookies([{"name": COOKIE, "value": make(fleet, "leaving"), "url": sight.server.address}])
    page = sight.open("/events", context)
    tokens.revoke_token(fleet.database, "leaving", utc_now())
    page.wait_for_url(re.compile(r"/login\?next=%2Fevents$"))
    sight.faults.clear()


def test_a_page_of_another_site_opens_no_socket_and_sends_no_form(server: Server, fleet: Fleet):
    headers = {"Authorization": f"Bearer {make(fleet, 'lured')}", "Origin": "http://elsewhere.example"}
    posted = httpx.post(f"{server.address}/login", headers=headers, data={"token": "x"})
    assert posted.status_code == 403
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    socket = f"{server.address}/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    assert httpx.get(socket, headers={**headers, **upgrade, **key}).status_code == 403


def test_guessing_is_slowed_down(server: Server):
    found = [httpx.post(f"{server.address}/login", data={"token": "x"}).status_code for _ in range(30)]
    assert 429 in found
    assert set(found) == {401, 429}


@pytest.mark.parametrize(
    ("wanted", "led"),
    [
        ("/events?board=b", "/events?board=b"),
        ("https://elsewhere.example/", "/"),
        ("//elsewhere.example", "/"),
        ("/\\elsewhere.example", "/"),
        ("/x\r\nSet-Cookie: a=b", "/"),
        ("javascript:alert(1)", "/"),
        ("/login?next=/login", "/"),
    ],
)
def test_nobody_is_led_to_another_host(wanted: str, led: str):
    assert local_path(wanted) == led
