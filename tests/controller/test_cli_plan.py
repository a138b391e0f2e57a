"""`convoy plan` over a real database: for a number of boards, a file of them, and those that are online."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import Run, in_home
from convoy_controller.database import publications
from convoy_controller.database.intents import request_deployment
from convoy_controller.database.records import BoardPresence, GenerationState, SavedGeneration
from convoy_controller.planning.measuring import modelled_seconds
from convoy_controller.planning.profiles import Profile
from convoy_schema.bundle import Method
from convoy_schema.messages.boards import Published, StagePulse
from convoy_schema.messages.desired import Assignment, Intent, Role
from convoy_schema.messages.gateways import FeedReport, GatewayReported
from convoy_schema.names import Generation
from database_samples import Fleet, capability, open_fleet, publish, pulse, tiny_import


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = open_fleet(tmp_path)
    publish(made.database, tmp_path)
    yield made
    made.database.close()


@pytest.fixture
def run(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return in_home(tmp_path, monkeypatch, "plan")


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


TOLD = Assignment(
    Intent("tiny", "tiny", "1", Method.ALLOCATE), Generation(1, 1), Role.SERVING, "0" * 64, 0, 1,
    ("first", "second"), (), (), (), 32, 8,
)  # fmt: skip


def counted(fleet: Fleet, board: str, factor: float, frames: int = 100) -> None:
    """A pulse of a board that runs the whole tiny network, in frames of 8 rows, `factor` times as slow as modelled."""
    model = Profile.of(board, capability()).model(Method.ALLOCATE)
    seconds = modelled_seconds(TOLD, tiny_import().topology, model, 8)
    rows = frames * 8
    stage = StagePulse("tiny", Generation(1, 1), frames, rows, 0, 3, int(factor * seconds * rows * 1e6), 700)
    fleet.recorder.record_pulse(board, replace(pulse(), stages=(stage,)))


def place(fleet: Fleet, *boards: str) -> None:
    """The tiny network, whole, on each of them."""
    told = replace(TOLD, bundle=publications.find_model(fleet.database, "tiny").digest)
    request_deployment(fleet.database, told.intent)
    for board in boards:
        fleet.online(board)
    fleet.recorder.save_generation(
        SavedGeneration("tiny", Generation(1, 1), GenerationState.SERVING, dict.fromkeys(boards, told))
    )


def test_measured_figures_stand_in_place_of_modelled_ones(run: Run, fleet: Fleet, tmp_path: Path) -> None:
    place(fleet, "board-1", "board-2", "board-3", "board-4")
    for board, factor in (("board-1", 3.0), ("board-2", 3.01), ("board-3", 0.5)):
        counted(fleet, board, factor)
    counted(fleet, "board-4", 9.0, frames=2)
    feed = FeedReport("tiny", Generation(1, 1), (), (), hop_us=2000)
    fleet.recorder.record_gateway_presence("gateway", BoardPresence.ONLINE, 1)
    fleet.recorder.record_gateway_reported("gateway", GatewayReported(1, 1, 1, "http://g", (feed,), Published()))
    arguments = ("tiny", "--method", "allocate", "--cut", "replicated", "--exactly")
    modelled = plain(run, *arguments)
    assert [kind["source"] for kind in modelled["figures"].values()] == ["modelled"]
    assert modelled["hop"]["source"] == "modelled"
    saved = tmp_path / "fleet.toml"
    measured = plain(run, *arguments, "--boards", "fleet", "--save-profiles", str(saved))
    figures = measured["figures"]
    assert set(figures) == {"board-1...", "board-3", "board-4"}
    assert figures["board-1..."]["factor"] == pytest.approx(3.0, rel=0.01)
    assert figures["board-1..."]["rows"] == 1600
    assert figures["board-3"]["factor"] == pytest.approx(0.5, rel=0.01)
    assert figures["board-4"] == {"source": "modelled", "factor": None, "rows": 0}
    # 4 bytes in and out of a row, 8 rows a frame: next to nothing of 2 ms.
    assert measured["hop"] == {"source": "measured", "seconds": pytest.approx(2e-3, rel=0.01)}
    for stage in measured["stages"]:
        assert stage["figures"] == figures[stage["boards"]]["source"]
    text = run(*arguments, "--boards", "fleet").stdout
    for words in ("3 times the model's, over 1,600 rows", "board-4: the cycle model's times", "a hop: 1.99"):
        assert words in " ".join(text.split())
    again = plain(run, *arguments, "--boards", str(saved))
    assert (again["boards_there"], {kind["source"] for kind in again["figures"].values()}) == (4, {"stated"})
    seconds = {stage["boards"]: stage["seconds"] for stage in measured["stages"]}
    assert {stage["boards"]: stage["seconds"] for stage in again["stages"]} == pytest.approx(seconds)
    run(*arguments, "--boards", "fleet", "--save-profiles", str(tmp_path), code=2)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("none", "--boards", "1"), 3, "there is no model"),
        (("tiny", "--boards", "many"), 2, "neither a number nor"),
        (("tiny", "--boards", "0"), 2, "not from 1 to"),
        (("tiny", "--boards", "2", "--kind", "vax"), 3, "there is pynq-z2"),
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
