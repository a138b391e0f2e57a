"""Every target takes its seeds and some inputs made of them; and the fuzzer finds, saves and shows again what is wrong.

`make fuzz` runs the same targets for longer.
"""

from __future__ import annotations

import importlib.util
import random
import subprocess
import tracemalloc
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import faulty_targets  # noqa: F401 - makes its targets
import pytest
from fuzz import Plan, line, main, shares
from patience import PATIENCE_S
from target import TARGETS, BoundError
from worker import blind

FAULTY = [name for name in TARGETS if name.startswith("faulty-")]
SOUND = [name for name in TARGETS if name not in FAULTY]
#: Inputs of each target; those of these few take long.
INPUTS = 100
SLOW_INPUTS = {
    "onnx-import": 3,
    "onnx-file": 72,
    "bitstream-checker": 30,
    "bitstream-reader": 30,
    "composed-network": 30,
}
SLOW_INPUTS |= dict.fromkeys(("bitstream-rules", "device-config", "boards-profiles", "floorplan", "image-manifest"), 40)
ENGINES = ["blind", *(["atheris"] if importlib.util.find_spec("atheris") else [])]


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    """Tracing of memory slows down whatever runs in this process afterwards."""
    yield
    tracemalloc.stop()


@pytest.mark.parametrize("name", SOUND)
def test_a_decoder_takes_or_refuses_whatever_comes(name: str) -> None:
    target = TARGETS[name]
    outcomes: set[str] = set()
    for data, learn in islice(blind(target, random.Random(7)), SLOW_INPUTS.get(name, INPUTS)):
        outcome = target(data)
        outcomes.add(outcome)
        learn(outcome)
    assert "taken" in outcomes or name in NEVER_TAKEN


#: Targets whose inputs are all refused: the one network whose parameters are looked for has none of those names.
NEVER_TAKEN = {"network-weights"}


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("faulty-crash", KeyError),
        ("faulty-memory", BoundError),
        ("faulty-slow", BoundError),
        ("faulty-wordy", BoundError),
    ],
)
def test_what_is_not_documented_or_beyond_bounds_is_raised(name: str, error: type[Exception]) -> None:
    target = TARGETS[name]
    target(b"harmless")
    with pytest.raises(error):
        target(b"!")


def test_the_same_seed_gives_the_same_inputs() -> None:
    target = TARGETS["board-inbox"]

    def inputs(seed: int) -> list[bytes]:
        return [data for data, _ in islice(blind(target, random.Random(seed)), 60)]

    assert inputs(3) == inputs(3) != inputs(4)


def test_the_time_is_shared_out() -> None:
    times = shares(SOUND, 100, 2)
    assert sum(times.values()) == pytest.approx(200)
    assert times["onnx-import"] == pytest.approx(2 * times["topic"])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_fault_is_found_saved_and_shown_again(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--engine", engine, "--seconds", "2", "--inputs", "2000", "--jobs", "1", "--module", "faulty_targets"]
    assert main(["faulty-crash", *options, "--faults", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    (file,) = (path for path in tmp_path.iterdir() if not path.suffix)
    assert file.read_bytes().startswith(b"!")
    assert "KeyError: 'undocumented'" in file.with_suffix(".txt").read_text(encoding="utf-8")
    assert f"--replay faulty-crash {file}" in said
    command = said.strip().splitlines()[-1].split()
    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=2 * PATIENCE_S)
    assert again.returncode == 1
    assert "KeyError: 'undocumented'" in again.stderr


@pytest.mark.parametrize(("name", "reason"), [("faulty-death", "code -11"), ("faulty-hang", "did not return")])
def test_an_input_that_ends_or_stops_the_process_is_found(name: str, reason: str, tmp_path: Path) -> None:
    plan = Plan("blind", 1, tmp_path, inputs=2000, patience_s=2.0)
    ran = plan.run(TARGETS[name], 20.0)  # it ends with the fault
    assert ran.faults == 1
    assert ran.inputs == 2  # the second one is the fault
    (file,) = plan.faults_of(name)
    assert file.read_bytes() == b"!"
    assert reason in file.with_suffix(".txt").read_text(encoding="utf-8")
    assert name in line(ran)


def test_all_is_well_where_nothing_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topic", "--engine", "blind", "--seconds", "1", "--jobs", "1", "--faults", str(tmp_path)]) == 0
    assert "Faults" not in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
