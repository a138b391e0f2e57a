"""A real Chromium over a real server, one of each for the tests of a module."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_client import copied_fleet
from convoy_controller.database.records import NewEvent, Severity
from database_samples import Fleet
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright
from served import PATIENCE_MS, Server, Sight, new_context

expect.set_options(timeout=PATIENCE_MS)
_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: Debian's Chromium, which must look for nothing anywhere but on this machine.
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Ends with the module: while it runs, no test of its process may run a loop of its own."""
    if _CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=list(_ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of the module's server."""
    folder: Path = tmp_path_factory.mktemp("dashboard")
    return folder


@pytest.fixture(scope="module")
def fleet(home: Path) -> Iterator[Fleet]:
    """Three boards, one of them gone, and a deployment on two; a module may have another."""
    made = copied_fleet(home)
    made.recorder.record_event(NewEvent("board-gone", "board-3 fell silent", Severity.WARNING, board="board-3"))
    yield made
    made.database.close()


@pytest.fixture(scope="module")
def server(home: Path, fleet: Fleet) -> Iterator[Server]:
    """The dashboard over it."""
    made = Server(home)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def usual(chromium: Browser) -> Iterator[BrowserContext]:
    """The module's user."""
    made = new_context(chromium)
    yield made
    made.close()


@pytest.fixture
def sight(chromium: Browser, usual: BrowserContext, server: Server) -> Iterator[Sight]:
    """Pages that end with the test, none of which asked another host for anything or had a fault."""
    seen = Sight(chromium, server, usual)
    yield seen
    seen.close()
    strangers = [url for url in seen.requested if not url.startswith((server.address, "data:", "blob:", "ws:"))]
    assert not strangers
    # A test that ends its server, and another test that makes a network of its own meanwhile.
    others = ("ERR_CONNECTION_REFUSED", "ERR_NETWORK_CHANGED")
    assert not [fault for fault in seen.faults if not any(each in fault for each in others)]
