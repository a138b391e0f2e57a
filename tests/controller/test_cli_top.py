"""`convoy top`: what is shown of a fleet, that it fits, and the live screen in a real terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from command_line import in_home
from convoy_controller.cli.overview import Look, Overview, overview
from convoy_controller.cli.screen import milliseconds, rate, screen
from convoy_controller.database import queries
from convoy_controller.database.activity import activity
from convoy_controller.database.records import BoardPresence
from convoy_controller.database.views import Activity, BoardActivity, Condition, FeedActivity, FleetLine
from convoy_schema.messages.boards import Published
from convoy_schema.messages.gateways import FeedReport, GatewayReported, InFlight
from convoy_schema.names import Generation
from database_samples import START, Fleet, pulse, three_boards
from patience import PATIENCE_S
from rich.console import Console


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Three boards, one of them gone, and a gateway that feeds their deployment."""
    made = three_boards(tmp_path)
    made.recorder.record_gateway_presence("gateway", BoardPresence.ONLINE, 5)
    beat(made, 100)
    yield made
    made.database.close()


def beat(fleet: Fleet, count: int) -> None:
    """Counters that stand at `count`."""
    fleet.recorder.record_pulse("board-1", replace(pulse(frames=count), temperature_c=41.5))
    feed = FeedReport(
        "digits",
        Generation(1, 1),
        (InFlight(Generation(1, 1), 3),),
        (),
        waiting_rows=7,
        answered=count * 2,
        latency_p50_us=1500,
        latency_p99_us=9000,
    )
    fleet.recorder.record_gateway_reported("gateway", GatewayReported(5, 1, 1, "http://g:8080", (feed,), Published()))


def look(fleet: Fleet) -> Look:
    database = fleet.database
    return Look(queries.fleet(database), queries.deployments(database), queries.gateways(database), activity(database))


def test_rates_come_of_two_looks(fleet: Fleet) -> None:
    before = look(fleet)
    fleet.clock.now += timedelta(seconds=2)
    beat(fleet, 300)
    found = overview("here", before, look(fleet))
    boards = {board.board: board for board in found.boards}
    assert boards["board-1"].rows_per_s == 200 * 32 / 2
    assert boards["board-1"].temperature_c == 41.5
    (deployment,) = found.deployments
    assert (deployment.answered_per_s, deployment.in_flight, deployment.waiting_rows) == (200.0, 3, 7)
    assert (deployment.latency_p50_us, deployment.latency_p99_us) == (1500, 9000)
    assert found.gateways[0].answered_per_s == 200.0


def test_without_two_reports_of_one_session_there_is_no_rate(fleet: Fleet) -> None:
    now = look(fleet)
    assert overview("here", None, now).boards[0].rows_per_s is None
    assert overview("here", now, now).deployments[0].answered_per_s is None
    fleet.clock.now += timedelta(seconds=1)
    fleet.recorder.record_pulse("board-1", pulse(session=2, frames=900))
    boards = {board.board: board for board in overview("here", now, look(fleet)).boards}
    assert boards["board-1"].rows_per_s is None


def test_problems_come_first_the_worst_before_the_others(fleet: Fleet) -> None:
    found = overview("here", None, look(fleet))
    assert found.boards[0].is_problem
    conditions = [board.condition for board in found.boards if board.is_problem]
    order = [condition.value for condition in Condition]
    assert conditions == sorted(conditions, key=order.index)
    assert sum(found.conditions.values()) == 3


def crowd(count: int) -> Overview:
    """Many boards, one in ten of them gone."""
    lines = tuple(
        FleetLine(
            f"board-{number}",
            BoardPresence.ONLINE,
            Condition.OFFLINE if number % 10 == 0 else Condition.READY,
            f"board-{number} is not there [bold]and says so[/bold]",
            START,
            START,
            "part",
            "emulated",
            "layers",
            None,
            None,
            None,
            None,
            None,
        )
        for number in range(count)
    )
    boards = tuple(BoardActivity(line.board, 1, START, 1, 1, 0, 0, None) for line in lines)
    feeds = (FeedActivity("gateway", 1, START, "net", None, 0, 0, 0, 0, 0, 0, 0),)
    return overview("here", None, Look(lines, (), (), Activity(START, boards, feeds)))


@pytest.mark.parametrize("height", [3, 8, 24, 200])
@pytest.mark.parametrize("width", [20, 80, 300])
def test_a_thousand_boards_fit_any_window(height: int, width: int) -> None:
    found = crowd(1000)
    made = Console(width=width, height=height, record=True, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
    with made.file:
        made.print(screen(found, height, "the API cannot be reached"))
        shown = made.export_text().splitlines()
    assert len(shown) <= max(height, 5) + 1
    if height >= 24 and width >= 80:
        assert "1,000 boards" in shown[1]
        assert "offline 100" in shown[1]
        assert "boards more" in shown[-1]
        assert "board-0" in "\n".join(shown)


def test_what_boards_say_is_no_markup() -> None:
    made = Console(width=200, record=True, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
    with made.file:
        made.print(screen(crowd(10), 40))
        assert "[bold]and says so[/bold]" in made.export_text()


def test_numbers_for_people() -> None:
    assert [rate(None), rate(0.0), rate(0.123), rate(12345.6)] == ["-", "0", "0.12", "12,346"]
    assert [milliseconds(0), milliseconds(1500)] == ["-", "1.5 ms"]


def test_a_snapshot_without_a_terminal(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    run = in_home(tmp_path, monkeypatch)
    found = json.loads(run("top", "--json").stdout)
    assert {board["board"] for board in found["boards"]} == {"board-1", "board-2", "board-3"}
    assert set(found) == {"at", "fleet", "conditions", "deployments", "gateways", "boards"}
    text = run("top").stdout
    assert "3 boards" in text
    assert "\x1b" not in text


class Terminal:
    """`convoy top` in a terminal of its own."""

    def __init__(self, folder: Path) -> None:
        self.master, slave = pty.openpty()
        self.resize(24, 100)
        environment = {**os.environ, "CONVOY_HOME": str(folder), "TERM": "xterm", "COLUMNS": "", "LINES": ""}
        for name in ("COLUMNS", "LINES"):
            environment.pop(name)
        command = [sys.executable, "-m", "convoy_controller", "top", "--interval", "0.5"]
        self.process = subprocess.Popen(command, env=environment, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self.text = ""

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def shows(self, text: str, seconds: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < deadline, self.text
            if select.select([self.master], [], [], 0.1)[0]:
                self.text += os.read(self.master, 65536).decode(errors="replace")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


def test_the_live_screen_follows_the_fleet_and_its_window_and_ends_at_q(fleet: Fleet, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    try:
        terminal.shows("3 boards")
        terminal.shows("offline 1")
        terminal.text = ""
        fleet.recorder.record_presence("board-2", BoardPresence.OFFLINE, 1, "it was switched off")
        terminal.shows("offline 2")
        terminal.text = ""
        terminal.resize(12, 60)
        terminal.shows("boards more")
        os.write(terminal.master, b"xq")
        assert terminal.process.wait(PATIENCE_S) == 0
    finally:
        terminal.close()
