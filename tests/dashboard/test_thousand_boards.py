"""A real fleet of a thousand emulated boards: what the dashboard takes to tell of a change, and that it stays calm."""

from __future__ import annotations

import os
import random
import re
import statistics
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from convoy_controller.database.engine import Database, open_database
from convoy_controller.database.queries import why
from convoy_controller.database.recorder import Recorder
from convoy_controller.database.records import NewEvent
from convoy_controller.database.views import Condition
from convoy_controller.home import Home
from convoy_controller.local_fleet import LocalFleet, wait_until
from convoy_controller.processes import Child
from patience import PATIENCE_S
from served import PHONE, Server, Sight, grave_faults, seconds_until_seen

pytestmark = pytest.mark.long

PROCESSES, BOARDS = 10, 100
#: Boards with a process of their own, which are killed one after the other.
LONE = 5
#: Seconds for a thousand boards to come on a busy machine.
JOINING_S = 300.0
WRITES = 20

_NOTE_UPDATES = """() => {
    window.updates = [];
    new MutationObserver(() => window.updates.push(Date.now())).observe(
        document.querySelector("main"), { subtree: true, childList: true, characterData: true });
}"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("thousand")


@pytest.fixture(scope="module")
def thousand(home: Path) -> Iterator[LocalFleet]:
    with LocalFleet(Home.locate(home, f"sqlite:///{home / 'convoy.db'}"), home / "run") as fleet:
        fleet.start_broker("auto")
        fleet.start_controller()
        yield fleet


@pytest.fixture(scope="module")
def server(home: Path, thousand: LocalFleet) -> Iterator[Server]:
    made = Server(home)
    made.start()
    yield made
    made.stop()


def bursts(moments: list[int], apart_ms: int = 300) -> int:
    """How often something changed, changes close to each other counting as one."""
    return sum(later - earlier > apart_ms for earlier, later in zip([0, *moments], moments, strict=False))


def resident_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])


def lost(database: Database, board: Child, took_s: list[float]) -> None:
    """Kill it, and wait until the database knows; notes how many seconds that took."""
    board.process.kill()
    began = time.monotonic()
    assert wait_until(lambda: why(database, board.name).condition is Condition.OFFLINE, PATIENCE_S, every_s=0.01)
    took_s.append(time.monotonic() - began)


def test_a_thousand_boards(sight: Sight, thousand: LocalFleet, home: Path) -> None:
    page = sight.open("/")
    page.get_by_text("No board has joined this fleet yet.").wait_for()
    page.evaluate(_NOTE_UPDATES)
    began = time.monotonic()
    for number in range(PROCESSES):
        thousand.start_boards(f"rack-{number}", BOARDS, {"fabric": "processor"})
    lone = [thousand.start_board(f"lone-{number}", fabric="processor") for number in range(LONE)]
    total = f"{PROCESSES * BOARDS + LONE:,}"
    page.get_by_text(f"{total} boards, and none has a problem.").wait_for(timeout=JOINING_S * 1000)
    joined_s = time.monotonic() - began
    updates = bursts(page.evaluate("window.updates"))
    assert updates <= joined_s + 2, "one update a second at most, while a thousand boards come"

    database = open_database(Home.locate(home, f"sqlite:///{home / 'convoy.db'}").database_url)
    events, noted = sight.open("/events"), []
    recorder = Recorder(database)
    for number in range(WRITES):
        time.sleep(random.Random(number).uniform(1.0, 2.0))
        words = f"moment number {number:03}"
        noted.append(seconds_until_seen(events, words, partial(recorder.record_event, NewEvent("x", words))))
    written: list[float] = []
    killed: list[float] = []
    for number, board in enumerate(lone):
        time.sleep(random.Random(number).uniform(1.0, 2.0))
        killed.append(
            seconds_until_seen(page, f"{board.name} has been offline", partial(lost, database, board, written))
        )
    database.close()
    print(f"{total} boards joined in {joined_s:.0f} s, {updates} updates of the page")
    print(f"an event's row to the page: median {statistics.median(noted):.2f} s, at most {max(noted):.2f} s")
    print(f"a board's SIGKILL to its row: median {statistics.median(written):.2f} s, at most {max(written):.2f} s")
    print(f"from there to the page: median {statistics.median(killed):.2f} s, at most {max(killed):.2f} s")
    print(f"the API with the dashboard holds {resident_kb(sight.server.pid) / 1e3:.0f} MB")
    print(f"while {os.getloadavg()[0]:.1f} processes wanted to run on {os.cpu_count()} cores")
    assert statistics.median(noted) < 1.0, noted
    assert statistics.median(killed) < 1.0, killed

    assert grave_faults(page) == []
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]
