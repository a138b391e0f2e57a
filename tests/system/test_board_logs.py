"""`convoy logs BOARD` over real processes: what the daemon says comes, and what is new; a dead board is said so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from convoy_controller.cli import app
from convoy_controller.cli import logs as logs_command
from convoy_controller.local_fleet import wait_until
from system_fleet import PATIENCE_S, SystemFleet
from typer.testing import CliRunner, Result


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemFleet]:
    with SystemFleet(tmp_path_factory.mktemp("logs")) as made:
        made.start(2)
        made.wait_boards("board-1", "board-2")
        yield made


def logs(fleet: SystemFleet, *arguments: str, answer_s: float = PATIENCE_S) -> Result:
    """As people see it, but for how long the board may take to answer."""
    home: Path = fleet.home.root
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs_command, "ANSWER_S", answer_s)
        result = CliRunner().invoke(app, ["logs", *arguments, "--home", str(home)])
    assert result.exit_code == 0, result.output
    return result


def test_what_a_daemon_says_is_fetched_and_only_what_is_new_after_that(fleet: SystemFleet) -> None:
    lines = json.loads(logs(fleet, "board-1", "--json").stdout)
    assert any("fabric emulated, broker" in line["sentence"] for line in lines)
    assert [line["number"] for line in lines] == list(range(1, len(lines) + 1))
    again = json.loads(logs(fleet, "board-1", "--json").stdout)
    assert again[: len(lines)] == lines
    assert json.loads(logs(fleet, "board-1", "--json", "--level", "error").stdout) == []
    assert "board board-1" in logs(fleet, "board-1").stdout
    assert "board-1" not in logs(fleet, "board-2").stdout


def test_a_board_that_is_gone_shows_what_is_kept_and_says_so(fleet: SystemFleet) -> None:
    before = logs(fleet, "board-2")
    assert before.stderr == ""
    fleet.local.processes.stop_one("board-2")
    assert wait_until(lambda: "board-2" not in fleet.online(), PATIENCE_S)
    after = logs(fleet, "board-2", answer_s=1.0)
    assert after.stderr.startswith("board-2 is offline: this is what is kept of its log")
    assert after.stdout.startswith(before.stdout)
