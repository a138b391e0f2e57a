"""`convoy plan` over a real database: for a number of boards, a file of them, and those that are online."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from convoy_controller.cli import app
from database_samples import Fleet, open_fleet, publish
from typer.testing import CliRunner, Result

Run = Callable[..., Result]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = open_fleet(tmp_path)
    publish(made.database, tmp_path)
    yield made
    made.database.close()


@pytest.fixture
def run(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("CONVOY_HOME", str(tmp_path))
    monkeypatch.delenv("CONVOY_DATABASE", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def run_it(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, ["plan", *arguments])
        assert result.exit_code == code, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return run_it


def plain(run: Run, *arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run(*arguments, "--json").stdout)
    return answer


def test_a_number_of_boards_gives_plan_bound_gap_and_what_one_more_buys(run: Run) -> None:
    answer = plain(run, "tiny", "--boards", "3", "--cut", "replicated")
    assert (answer["model"], answer["boards_there"], answer["exact"]) == ("tiny", 3, True)
    assert answer["period_s"] >= answer["bound_s"] > 0
    assert answer["gap"] <= 0.0102
    assert [layer for stage in answer["stages"] for layer in stage["layers"]]
    assert [more["kind"] for more in answer["one_more"]] == ["pynq-z2"]
    text = run("tiny", "--boards", "3", "--cut", "replicated").stdout
    for word in ("bottleneck", "bound", "one more", "samples/s", "pynq-z2"):
        assert word in text


def test_exactly_so_many_boards_or_spares(run: Run) -> None:
    assert plain(run, "tiny", "--boards", "3", "--spare", "2")["boards"] == 1
    assert plain(run, "tiny", "--boards", "4", "--cut", "replicated", "--exactly")["boards"] == 4
    assert plain(run, "tiny", "--boards", "2", "--method", "stream")["stages"][0]["replicas"] <= 2


def test_latency_takes_one_board_and_says_why(run: Run) -> None:
    answer = plain(run, "tiny", "--boards", "2", "--objective", "latency")
    assert answer["boards"] == 1
    assert answer["notes"][0].startswith("1 board is used: ")


def test_a_file_of_boards_and_a_picture(run: Run, tmp_path: Path) -> None:
    boards = tmp_path / "boards.toml"
    boards.write_text(
        "[[boards]]\nprofile = 'pynq-z2'\ncount = 2\n[[boards]]\nprofile = 'pynq-z2'\nname = 'fast'\nclock_hz = 2e8\n",
        encoding="utf-8",
    )
    answer = plain(run, "tiny", "--boards", str(boards), "--plot", str(tmp_path / "plan.png"))
    assert answer["boards_there"] == 3
    assert {stage["boards"] for stage in answer["stages"]} <= {"pynq-z2", "fast"}
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_boards_that_are_online_are_planned_for(run: Run, fleet: Fleet) -> None:
    result = run("tiny", code=3)
    assert "--boards 3" in result.output
    fleet.online("board-1")
    fleet.online("board-2")
    assert plain(run, "tiny")["boards_there"] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("none", "--boards", "1"), 3, "there is no model"),
        (("tiny", "--boards", "many"), 2, "neither a number nor"),
        (("tiny", "--boards", "0"), 2, "not from 1 to"),
        (("tiny", "--boards", "2", "--profile", "vax"), 3, "there is pynq-z2"),
        (("tiny", "--boards", "1", "--spare", "1"), 1, "at least one is needed"),
        (("tiny", "--boards", "2", "--plot", "/none/plan.png"), 2, "cannot be written"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_an_exit_code(
    run: Run, arguments: tuple[str, ...], code: int, message: str
) -> None:
    assert message in " ".join(run(*arguments, code=code).output.split())


def test_a_refusal_names_board_need_and_have(run: Run, tmp_path: Path) -> None:
    boards = tmp_path / "boards.toml"
    boards.write_text("[[boards]]\nprofile = 'pynq-z2'\nname = 'toy'\nmemory_bytes = 10\n", encoding="utf-8")
    output = " ".join(run("tiny", "--boards", str(boards), code=1).output.split())
    assert "on board toy that has 10" in output
    boards.write_text("[[boards]]\nprofile = 'toy'\n", encoding="utf-8")
    assert "profile 'toy' is not one of" in run("tiny", "--boards", str(boards), code=2).output
