"""The demonstration as people run it: one command, both methods, both brokers, a board lost, nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

import pytest
from convoy_controller.broker import find_mosquitto
from patience import PATIENCE_S

MOSQUITTO = pytest.param(
    "mosquitto", marks=[pytest.mark.skipif(not find_mosquitto(), reason="Mosquitto is not installed")]
)
AMQTT = pytest.param("amqtt", marks=[pytest.mark.skipif(not find_spec("amqtt"), reason="amqtt is not installed")])
KEYS = {
    *(
        "method",
        "broker",
        "boards",
        "images",
        "correct",
        "accuracy",
        "lost",
        "failed",
        "duplicated",
        "wrong_generation",
    ),
    *("throughput_per_s", "latency_ms", "killed", "recovery_s", "generations", "bytes_published", "plan"),
}
#: Each method and each broker once; the other pairs among the long tests.
KILLED = [
    pytest.param("library", *MOSQUITTO.values, marks=MOSQUITTO.marks),
    pytest.param("allocate", *AMQTT.values, marks=[*AMQTT.marks, pytest.mark.long]),
    pytest.param("library", *AMQTT.values, marks=[*AMQTT.marks, pytest.mark.long]),
    pytest.param("allocate", *MOSQUITTO.values, marks=[*MOSQUITTO.marks, pytest.mark.long]),
]
pytestmark = pytest.mark.skipif(
    not find_spec("sklearn"), reason="scikit-learn, whose digits are shown, is not installed"
)


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "convoy_controller", "demo", *map(str, arguments)]


def environment(temporary: Path) -> dict[str, str]:
    """Every process of the demonstration inherits TMPDIR, and can be told by it."""
    temporary.mkdir()
    return {**os.environ, "TMPDIR": str(temporary), "COLUMNS": "120"}


def processes_of(temporary: Path) -> list[str]:
    """Command lines of living processes that were started with that TMPDIR."""
    needle = f"TMPDIR={temporary}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and needle in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # gone meanwhile, or another user's
            continue
    return found


def assert_nothing_left(temporary: Path) -> None:
    assert processes_of(temporary) == []
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(("method", "broker"), KILLED)
def test_a_board_is_killed_half_way_and_nothing_is_lost(method: str, broker: str, tmp_path: Path) -> None:
    report, temporary = tmp_path / "report.json", tmp_path / "temporary"
    options = ("--once", "--kill", "--images", "300", "--broker", broker, "--method", method, "--report", report)
    done = subprocess.run(
        command(*options),
        env=environment(temporary),
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    account = json.loads(report.read_text())
    assert account.keys() >= KEYS
    assert (account["method"], account["boards"], account["images"]) == (method, 3, 300)
    assert [account[key] for key in ("lost", "failed", "duplicated", "wrong", "wrong_generation")] == [0] * 5
    assert account["accuracy"] >= 0.97
    assert account["killed"].startswith("board-")
    assert 0 < account["recovery_s"] < 10
    assert sum(account["generations"].values()) == 300
    assert account["latency_ms"].keys() == {"p50", "p99"}
    assert all(account["bytes_published"][kind] > 0 for kind in ("control", "artifacts", "activations"))
    first, last = account["plan"][0], account["plan"][-1]
    assert len(first["stages"]) == 3
    assert account["killed"] not in [board for stage in last["stages"] for board in stage["boards"]]
    for generation in account["plan"]:
        layers = [layer for stage in generation["stages"] for layer in stage["layers"]]
        assert layers == ["conv1", "pool1", "conv2", "pool2", "dense1", "dense2", "dense3"]
    assert_nothing_left(temporary)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stays_up_until_it_is_interrupted_and_then_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    temporary, output = tmp_path / "temporary", tmp_path / "output"
    options = ("--boards", "1", "--images", "20", "--broker", "auto", "--stay")
    with output.open("wb") as file:
        # As a script starts it in its background: with SIGINT ignored.
        started = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command(*options)]
        running = subprocess.Popen(started, env=environment(temporary), stdout=file, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 2 * PATIENCE_S
            while "Ctrl-C stops everything" not in output.read_text():
                assert running.poll() is None, output.read_text()
                assert time.monotonic() < deadline, output.read_text()
                time.sleep(0.05)
            assert len(processes_of(temporary)) >= 6  # itself, broker, controller, gateway, API, board
            [dashboard] = re.findall(r"the dashboard is at (\S+),", output.read_text())
            with urlopen(f"{dashboard}boards/board-1", timeout=PATIENCE_S) as answer:
                assert "board-1 serves stage 1 of 1 of lenet5" in answer.read().decode()
            running.send_signal(number)
            assert running.wait(PATIENCE_S) == 0
        finally:
            running.kill()
            running.wait()
    assert_nothing_left(temporary)


def test_an_unknown_method_is_a_usage_error_that_names_those_there_are(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    options = ("--once", "--method", "magic")
    done = subprocess.run(
        command(*options),
        env=environment(temporary),
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )
    assert done.returncode == 2
    assert all(method in done.stderr for method in ("stream", "allocate", "library"))
    assert_nothing_left(temporary)
