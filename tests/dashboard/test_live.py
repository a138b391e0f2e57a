"""A page stays live, says when it is not, heals, and leaves nothing behind."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from convoy_controller.api.hub import MOST_FOLLOWERS
from convoy_controller.database.records import NewEvent
from database_samples import Fleet
from playwright.sync_api import expect
from served import Server, Sight, seconds_until_seen
from websockets.sync.client import connect


def test_a_lost_connection_is_said_and_heals_when_the_server_is_back(sight: Sight, fleet: Fleet):
    page = sight.open("/events")
    sight.server.stop()
    expect(page.get_by_role("alert")).to_contain_text("Connection lost")
    fleet.recorder.record_event(NewEvent("noted", "while it was away"))
    sight.server.start()
    page.get_by_text("while it was away").wait_for()
    sight.faults.clear()  # the browser notes each connection that was refused


def test_nothing_lands_where_the_server_was_started(server: Server, home: Path):
    found = {entry.name for entry in Path(f"/proc/{server.pid}/cwd").readlink().iterdir()}
    assert found <= {"api.log", "blobs", "convoy.db", "convoy.db-shm", "convoy.db-wal", "convoy.db.lock", "keys"}


def vanish(server: Server, count: int) -> None:
    """Open the page as a browser does, until its socket stands, and go without a word."""
    for number in range(count):
        client_id = re.findall(r"client_id\W+([0-9a-f-]{36})", httpx.get(f"{server.address}/events").text)[0]
        about = {"EIO": "4", "transport": "websocket", "client_id": client_id, "document_id": client_id}
        query = urlencode({**about, "tab_id": f"tab-{number}", "next_message_id": "0", "implicit_handshake": "true"})
        socket = connect(f"{server.address.replace('http', 'ws')}/_nicegui_ws/socket.io/?{query}")
        assert str(socket.recv()).startswith("0")
        socket.send("40")
        assert str(socket.recv()).startswith("40")
        socket.socket.close()


@pytest.mark.long
def test_browsers_that_vanish_leave_no_follower_behind(sight: Sight):
    """A hundred may follow at once."""
    vanish(sight.server, MOST_FOLLOWERS + 10)
    page = sight.open("/events")
    page.wait_for_timeout(500)
    expect(page.get_by_text("This page is not live")).to_have_count(0)
    expect(page.locator("#popup")).to_have_attribute("aria-hidden", "true")


def test_a_change_is_seen_within_a_second(sight: Sight, fleet: Fleet):
    """As fast as a calm machine lets it be: the best of a few, since others may be at work on this one."""
    page = sight.open("/events")
    took_s = [
        seconds_until_seen(
            page, f"change {number}", partial(fleet.recorder.record_event, NewEvent("x", f"change {number}"))
        )
        for number in range(5)
    ]
    assert min(took_s) < 1.0, took_s
