"""The command line over a real database: tables for people, stable JSON for programs, exit codes with a meaning."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import IN_THE_BACKGROUND, Run, in_home
from convoy_controller.cli.exit_codes import ExitCode, exit_code
from convoy_controller.cli.printing import ago, size
from convoy_controller.database.records import DeploymentState, NewEvent, Severity
from convoy_controller.errors import DatabaseBusyError, DatabaseUnreachableError, NotFoundError
from convoy_schema.errors import ConvoyError, LinkError, TopicError
from database_samples import START, Fleet, open_fleet, publish, three_boards
from patience import PATIENCE_S
from typer.testing import Result


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("boards", "--json")` in a home of its own."""
    return in_home(tmp_path, monkeypatch)


@pytest.fixture
def fleet(run: Run, tmp_path: Path) -> Iterator[Fleet]:
    """Three boards, one of them gone; a model, a deployment of it on two of them, and a little history."""
    made = three_boards(tmp_path)
    made.recorder.record_event(NewEvent("board-gone", "board-3 fell silent", Severity.WARNING, board="board-3"))
    made.recorder.record_event(NewEvent("planned", "digits is placed on 2 boards", deployment="digits"))
    yield made
    made.database.close()


def as_json(result: Result) -> Any:
    return json.loads(result.stdout)


# Nothing there yet ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "next_step"),
    [
        ("boards", "convoy-device run --config"),
        ("models", "convoy model import"),
        ("deployments", "convoy model import"),
        ("events", "convoy up"),
    ],
)
def test_empty_lists_say_what_to_do_next(run: Run, command: str, next_step: str):
    assert next_step in run(command).stdout
    assert as_json(run(command, "--json")) == []


def test_with_a_model_the_next_step_is_to_deploy_it(run: Run, tmp_path: Path):
    fleet = open_fleet(tmp_path)
    publish(fleet.database, tmp_path)
    fleet.database.close()
    assert "convoy deploy MODEL" in run("deployments").stdout


# Lists ---------------------------------------------------------------------------------------------------------------


def test_boards(run: Run, fleet: Fleet):
    lines = run("boards").stdout.splitlines()
    (ready,) = [line for line in lines if line.lstrip().startswith("board-1")]
    assert "ready" in ready
    assert "digits 1/2 ready" in ready
    assert any("board-3" in line and "offline" in line for line in lines)
    assert "convoy why BOARD" in lines[-1]
    found = as_json(run("boards", "--json"))
    assert [line["board"] for line in found] == ["board-1", "board-2", "board-3"]
    assert set(found[0]) == {
        "board",
        "presence",
        "condition",
        "sentence",
        "since",
        "last_seen",
        "part",
        "fabric",
        "shell",
        "deployment",
        "generation",
        "stage",
        "stages",
        "phase",
    }
    assert (found[0]["generation"], found[0]["phase"], found[2]["presence"]) == ("1-1", "ready", "offline")


def test_one_board(run: Run, fleet: Fleet):
    shown = run("boards", "board-1").stdout
    assert "board-1 serves stage 1 of 2 of digits" in shown
    assert "p0: conv2d" in shown
    assert as_json(run("boards", "board-1", "--json"))["facts"]["software"] == "0.1.0"
    assert "never seen" in run("boards", "board-9", code=3).stderr


def test_why(run: Run, fleet: Fleet):
    shown = run("why", "board-3").stdout
    assert "offline since 2030-01-01 12:00:00 UTC" in shown
    assert "three pulses missed" in shown
    assert "to do" in shown
    found = as_json(run("why", "board-2", "--json"))
    assert set(found) == {"board", "condition", "wanted", "actual", "since", "blocked_by", "sentence", "action"}
    assert found["condition"] == "preparing"
    unseen = run("why", "board-9", "--json", code=3)
    assert as_json(unseen)["condition"] == "never-seen"


def test_models(run: Run, fleet: Fleet):
    assert "tiny" in run("models").stdout
    (line,) = as_json(run("models", "--json"))
    assert (line["model"], line["version"], line["input_shape"], line["class_names"]) == (
        "tiny",
        "1",
        [4],
        ["no", "yes"],
    )


def test_deployments(run: Run, fleet: Fleet):
    shown = run("deployments").stdout
    assert "1 of 2 boards ready" in shown
    assert "1/2" in shown
    (line,) = as_json(run("deployments", "--json"))
    assert (line["deployment"], line["state"], line["generation"], line["method"]) == (
        "digits",
        "staging",
        "1-1",
        "library",
    )


def test_one_deployment_with_who_runs_what(run: Run, fleet: Fleet):
    shown = run("deployments", "digits").stdout
    assert "generation 1-1 (serving)" in shown
    assert any("board-2" in line and "layer-1" in line for line in shown.splitlines())
    found = as_json(run("deployments", "digits", "--json"))
    assert [stage["replicas"][0]["board"] for stage in found["plan"]["stages"]] == ["board-1", "board-2"]
    assert found["generations"][0]["generation"] == "1-1"
    assert "nowhere" in run("deployments", "nowhere", code=3).stderr


def test_events(run: Run, fleet: Fleet):
    shown = run("events").stdout
    assert "board-gone: board-3 fell silent" in shown
    assert [line["kind"] for line in as_json(run("events", "--json"))] == ["board-gone", "planned"]
    assert [line["kind"] for line in as_json(run("events", "--json", "--limit", "1"))] == ["planned"]
    assert [line["kind"] for line in as_json(run("events", "--json", "--board", "board-3"))] == ["board-gone"]
    run("events", "--limit", "0", code=2)


def test_events_around_a_moment(run: Run, fleet: Fleet):
    fleet.clock.advance(3600)
    fleet.recorder.record_event(NewEvent("noted", "an hour later"))
    around = ("events", "--json", "--around", "2030-01-01 12:30")
    assert [line["kind"] for line in as_json(run(*around))] == ["board-gone", "planned", "noted"]
    assert [line["kind"] for line in as_json(run(*around, "--limit", "1"))] == ["planned", "noted"]
    assert [line["kind"] for line in as_json(run(*around, "--board", "board-3"))] == ["board-gone"]
    assert "give a date such as" in run("events", "--around", "yesterday", code=2).output
    assert "leave --follow out" in run("events", "--around", "2030-01-01", "--follow", code=2).output
    run(*around, "--limit", "10000", code=2)


def test_events_as_they_happen(fleet: Fleet, tmp_path: Path):
    process = subprocess.Popen(
        [
            *IN_THE_BACKGROUND,
            sys.executable,
            "-m",
            "convoy_controller.cli",
            "events",
            "--follow",
            "--json",
            "--home",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert [json.loads(process.stdout.readline())["kind"] for _ in range(2)] == ["board-gone", "planned"]
        fleet.recorder.record_event(NewEvent("serving", "digits serves"))
        assert json.loads(process.stdout.readline())["kind"] == "serving"
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0


# Importing -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    path = tmp_path / "calibration.npz"
    np.savez(path, images=np.random.default_rng(1).integers(0, 256, (64, 1, 28, 28)).astype(np.uint8))
    return path


def test_a_model_is_imported_and_can_be_deployed(run: Run, calibration: Path):
    arguments = ("model", "import", "lenet5", "--calibration", str(calibration))
    first = as_json(run(*arguments, "--json"))
    assert (first["model"], first["version"], first["serial"]) == ("lenet5", "1", 1)
    assert as_json(run(*arguments, "--json")) == first  # the same again changes nothing
    assert "convoy deploy lenet5" in run(*arguments).stdout
    (line,) = as_json(run("models", "--json"))
    assert line["class_names"] == list("0123456789")
    assert line["digest"] == first["digest"]
    run("deploy", "lenet5")


def test_own_class_names_and_scale(run: Run, calibration: Path, tmp_path: Path):
    (tmp_path / "names.txt").write_text("zero\none\n")
    named = ("model", "import", "lenet5", "--calibration", str(calibration), "--name", "mine", "--version", "v2")
    run(*named, "--classes", str(tmp_path / "names.txt"), "--scale", "0.01", "--offset", "-1")
    (line,) = as_json(run("models", "--json"))
    assert (line["model"], line["version"], line["class_names"]) == ("mine", "v2", ["zero", "one"])
    other = run(*named, "--classes", "a, b", "--scale", "0.02", code=1)
    assert "choose another --version" in other.stderr


@pytest.mark.parametrize(
    ("file", "samples", "code", "words"),
    [
        ("nowhere.onnx", "good.npz", 3, "nowhere.onnx"),
        ("lenet5", "nowhere.npz", 3, "nowhere.npz"),
        ("junk.onnx", "good.npz", 1, "not a valid ONNX file"),
        ("lenet5", "junk.npz", 1, "not an .npz file"),
        ("lenet5", "flat.npz", 1, "must be (rows, 1, 28, 28)"),
        ("lenet5", "several.npz", 1, "call the samples `images`"),
        ("lenet5", "words.npz", 1, "must hold numbers"),
    ],
)
def test_what_cannot_be_imported(run: Run, tmp_path: Path, file: str, samples: str, code: int, words: str):
    for junk in ("junk.onnx", "junk.npz"):
        (tmp_path / junk).write_bytes(b"junk" * 100)
    np.savez(tmp_path / "good.npz", images=np.zeros((4, 1, 28, 28), np.uint8))
    np.savez(tmp_path / "flat.npz", np.ones((4, 7), np.float32))
    np.savez(tmp_path / "several.npz", a=np.ones(4), b=np.ones(4))
    np.savez(tmp_path / "words.npz", np.array([["a"]]))
    model = file if file == "lenet5" else str(tmp_path / file)
    result = run("model", "import", model, "--calibration", str(tmp_path / samples), code=code)
    assert words in result.stderr
    assert as_json(run("models", "--json")) == []


def test_bad_names_are_wrong_usage(run: Run, calibration: Path):
    for option in (("--name", "Not A Name"), ("--version", "1.0")):
        result = run("model", "import", "lenet5", "--calibration", str(calibration), *option, code=2)
        assert "must be 1 to 63 of a-z" in result.stderr


# Errors --------------------------------------------------------------------------------------------------------------


def test_an_error_is_one_sentence_and_no_traceback(run: Run):
    result = run("boards", "--database", "sqlite:////proc/nowhere/convoy.db", code=4)
    assert result.stderr.startswith("error: database sqlite:////proc/nowhere/convoy.db cannot be opened")
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFoundError("x"), 3),
        (TopicError("x"), 2),
        (LinkError("x"), 4),
        (DatabaseUnreachableError("x"), 4),
        (DatabaseBusyError("x"), 1),
        (ConvoyError("x"), 1),
    ],
)
def test_exit_codes(error: ConvoyError, code: int):
    assert exit_code(error) is ExitCode(code)


def test_wrong_usage(run: Run):
    run("boards", "--bogus", code=2)
    run("nonsense", code=2)
    run("why", code=2)


def test_options_and_environment_lead_to_the_same_place(run: Run, fleet: Fleet, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    assert as_json(run("boards", "--json", "--home", str(elsewhere))) == []
    url = f"sqlite:///{tmp_path / 'convoy.db'}"
    assert len(as_json(run("boards", "--json", "--home", str(elsewhere), "--database", url))) == 3


def test_starting_is_quick():
    """What is slow to import is imported by the commands that need it."""
    script = "import sys, convoy_controller.cli; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    for slow in ("'sqlalchemy'", "'alembic'", "'onnx'", "'onnxruntime'", "'rich.table'", "'sklearn'"):
        assert slow not in loaded


def test_text_from_outside_is_never_markup(run: Run, fleet: Fleet):
    fleet.recorder.save_deployment_state("digits", DeploymentState.FAILED, "[bold]no[/bold] \\[x]")
    assert "[bold]no[/bold] \\[x]" in run("deployments").stdout


def test_sizes_and_ages():
    assert [size(count) for count in (0, 999, 1000, 12_345, 4_045_564, 2 * 10**9)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "12.3 kB",
        "4.0 MB",
        "2.0 GB",
    ]
    seconds = {0: "now", 5: "5 s ago", 90: "90 s ago", 600: "10 min ago", 7200: "2 h ago", 10**6: "11 d ago", -9: "now"}
    for passed, words in seconds.items():
        clock = Fleet.__dataclass_fields__["clock"].default_factory()  # type: ignore[misc]
        clock.advance(passed)
        assert ago(START, clock.now) == words
    assert ago(None, START) == "-"
