"""The status commands over a real database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Run, in_home
from convoy_controller.cli.exit_codes import ExitCode
from database_samples import Fleet, three_boards


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return in_home(tmp_path, monkeypatch)


@pytest.fixture
def fleet(run: Run, tmp_path: Path) -> Iterator[Fleet]:
    made = three_boards(tmp_path)
    yield made
    made.database.close()


def test_the_fleet_at_a_glance(run: Run, fleet: Fleet):
    shown = run("fleet").stdout
    assert "1 offline" in shown
    assert "board-3 has been offline" in shown
    found = json.loads(run("fleet", "--json").stdout)
    assert found["states"][0]["boards"] == 3
    assert found["problems"][0]["board"] == "board-3"
    assert "into groups" in run("fleet", "--by", "group").stdout


def test_what_changed(run: Run, fleet: Fleet):
    assert json.loads(run("fleet", "--since", "1h", "--json").stdout)["events_more"] is False
    assert "events:" in run("fleet", "--since", "7d").stdout
    run("fleet", "--since", "soon", code=ExitCode.USAGE)


def test_availability_of_a_board_and_of_the_fleet(run: Run, fleet: Fleet):
    assert "there" in run("availability").stdout
    assert json.loads(run("availability", "board-1", "--last", "7d", "--json").stdout)["board"] == "board-1"
    run("availability", "none", code=ExitCode.NOT_FOUND)


def test_hops_of_a_deployment(run: Run, fleet: Fleet):
    assert "predicted" in run("hops", "digits").stdout
    assert len(json.loads(run("hops", "digits", "--json").stdout)["hops"]) == 2
    run("hops", "none", code=ExitCode.NOT_FOUND)


def test_how_far_a_model_is(run: Run, fleet: Fleet):
    assert "boards" in run("spread", "tiny").stdout
    assert json.loads(run("spread", "tiny:1", "--json").stdout)["spread"]["model"] == "tiny"
    run("spread", "none", code=ExitCode.NOT_FOUND)
