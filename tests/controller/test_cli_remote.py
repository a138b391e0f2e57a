"""Every command about a fleet says the same over the socket of a real `convoy api` as in its own process."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from convoy_controller.cli import app, deploying
from convoy_controller.composing import Network
from convoy_controller.database.records import NewEvent
from database_samples import Fleet, publish, three_boards
from own_ports import own_port
from patience import PATIENCE_S
from typer.testing import CliRunner, Result

#: What neither knows beforehand.
MOMENTS = {"changed_at", "created_at", "last_used_at", "revoked_at", "expires_at", "intent_revision", "token"}
MOMENTS |= {"revision", "drained_at"}


class Place:
    """A fleet with an API process over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fleet: Fleet = three_boards(folder)
        publish(self.fleet.database, folder, name="other")
        self.fleet.recorder.record_event(NewEvent("planned", "digits is placed", deployment="digits"))
        self.url = f"http://127.0.0.1:{own_port()}"
        command = [sys.executable, "-m", "convoy_controller", "api", "--listen", self.url.removeprefix("http://")]
        self.process = subprocess.Popen(
            [*command, "--home", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        assert "the API listens" in self.process.stdout.readline()

    def run(self, *arguments: object, remote: bool, code: int = 0) -> Result:
        where = ("--api", self.url) if remote else ("--home", self.folder)
        result = CliRunner().invoke(app, [*map(str, arguments), *map(str, where)])
        assert result.exit_code == code, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.fleet.database.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    patch = pytest.MonkeyPatch()
    for name in ("CONVOY_API", "CONVOY_TOKEN", "CONVOY_PROFILE", "CONVOY_HOME", "CONVOY_DATABASE"):
        patch.delenv(name, raising=False)
    patch.setenv("CONVOY_CONFIG", "/nowhere/config.toml")
    patch.setenv("COLUMNS", "200")
    made = Place(tmp_path_factory.mktemp("fleet"))
    boss = made.run("token", "create", "boss", "--role", "admin", "--json", remote=False)
    patch.setenv("CONVOY_TOKEN", json.loads(boss.stdout)["token"])
    yield made
    made.close()
    patch.undo()


def timeless(value: Any) -> Any:
    """Without moments, and without numbers that only count."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in MOMENTS}
    return [timeless(item) for item in value] if isinstance(value, list) else value


#: What is said of moments in tables.
ages = re.compile(r"\b(now|[0-9]+ (s|min|h|d) ago)\b|-")
READS = [
    ("boards",),
    ("boards", "board-1"),
    ("why", "board-3"),
    ("deployments",),
    ("deployments", "--removed"),
    ("deployments", "digits"),
    ("models",),
    ("events",),
    ("events", "--board", "board-1", "--limit", "1"),
    ("token", "list"),
    ("audit",),
    ("groups",),
    ("groups", "--board", "board-1"),
    ("plan", "other", "--boards", "2"),
]
REFUSALS = [
    (("boards", "nobody"), 3),
    (("boards", "Not_A_Name"), 2),
    (("why", "nobody"), 3),
    (("deployments", "nothing"), 3),
    (("deploy", "nothing"), 3),
    (("deploy", "other", "--boards", "nobody"), 3),
    (("scale", "nothing", "--boards", "1"), 3),
    (("undeploy", "nothing"), 3),
    (("board", "forget", "board-1"), 1),
    (("model", "remove", "nothing"), 3),
    (("logs", "nobody"), 3),
    (("token", "revoke", "nobody"), 3),
    (("board", "drain", "nobody"), 3),
    (("board", "restart", "nobody"), 3),
    (("board", "label", "board-1", "hall"), 2),
    (("group", "set", "all", "nobody"), 3),
    (("group", "remove", "nothing"), 3),
    (("plan", "nothing"), 3),
    (("gc", "--dry-run", "--wait", "0"), 1),
    (("plan", "other", "--boards", "2", "--kind", "vax"), 3),
    (("token", "create", "Not A Name"), 2),
]


@pytest.mark.parametrize("arguments", READS)
def test_reads_are_the_same(place: Place, arguments: tuple[str, ...]) -> None:
    here, there = (place.run(*arguments, "--json", remote=remote) for remote in (False, True))
    assert timeless(json.loads(there.stdout)) == timeless(json.loads(here.stdout))
    shown = [ages.sub("", place.run(*arguments, remote=remote).stdout).split() for remote in (False, True)]
    assert shown[0] == shown[1]


@pytest.mark.parametrize(("arguments", "code"), REFUSALS)
def test_refusals_are_the_same(place: Place, arguments: tuple[str, ...], code: int) -> None:
    here, there = (place.run(*arguments, remote=remote, code=code) for remote in (False, True))
    assert there.stderr == here.stderr
    assert there.stdout == here.stdout


def test_writes_are_the_same(place: Place) -> None:
    answers: dict[bool, list[Any]] = {}
    for remote, name in ((False, "near"), (True, "far")):
        said = [
            place.run("deploy", "other", "--name", name, "--boards", "2", "--json", remote=remote),
            place.run("deploy", "other", "--name", name, "--replicas", "2", "--json", remote=remote),
            place.run("scale", name, "--boards", "board-1,board-2", "--json", remote=remote),
            place.run("undeploy", name, "--json", remote=remote),
            place.run("group", "set", name, "board-1", "board-2", "--json", remote=remote),
            place.run("group", "set", name, "board-1", "--note", "fewer", "--json", remote=remote),
            place.run("group", "remove", name, "--json", remote=remote),
            place.run("board", "drain", "board-2", "--json", remote=remote),
            place.run("board", "undrain", "board-2", "--json", remote=remote),
            place.run("board", "label", "board-2", "hall=3", "--json", remote=remote),
            place.run("board", "label", "board-2", "--json", remote=remote),
            place.run("token", "create", f"token-{name}", "--days", "1", "--json", remote=remote),
            place.run("token", "revoke", f"token-{name}", "--json", remote=remote),
        ]
        answers[remote] = [timeless(json.loads(each.stdout)) for each in said]
        assert answers[remote][0]["deployment"] == name
        assert json.loads(said[-2].stdout)["token"].startswith("convoy_")
    texts = [json.dumps(answer).replace("far", "near") for answer in answers[True]]
    assert [timeless(json.loads(text)) for text in texts] == answers[False]
    audit = json.loads(place.run("audit", "--json", remote=True).stdout)
    done = [(line["actor"], line["operation"]) for line in audit if line["subject"].endswith("/far")]
    assert done == [
        ("boss", "put_deployment"),
        ("boss", "put_deployment"),
        ("boss", "scale_deployment"),
        ("boss", "withdraw_deployment"),
        ("boss", "put_group"),
        ("boss", "put_group"),
        ("boss", "remove_group"),
    ]
    assert {line["actor"] for line in audit if line["subject"].endswith("/near")} == {"local"}


def test_a_model_is_imported_alike(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "small.toml"
    file.write_text(Network("small", input=(1, 8, 8)).conv2d(2, 3).relu().dense(3).to_toml())
    options = ("--parameters", "seeded", "--calibration", "seeded", "--json")
    here, there = (
        json.loads(place.run("model", "import", file, *options, "--name", name, remote=remote).stdout)
        for remote, name in ((False, "small-here"), (True, "small-there"))
    )
    for which in ("model", "digest", "serial"):
        here.pop(which), there.pop(which)
    assert there == here
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model at all")
    np.savez(tmp_path / "samples.npz", np.zeros((4, 1, 8, 8), np.uint8))
    given = ("model", "import", broken, "--calibration", tmp_path / "samples.npz")
    refusals = [place.run(*given, remote=remote, code=1).stderr for remote in (False, True)]
    assert all("ONNX" in refusal for refusal in refusals), refusals


def test_whoever_may_not_has_an_exit_code_of_his_own(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    made = place.run("token", "create", "looker", "--json", remote=False)
    monkeypatch.setenv("CONVOY_TOKEN", json.loads(made.stdout)["token"])
    assert json.loads(place.run("boards", "--json", remote=True).stdout)
    assert "viewer" in place.run("deploy", "other", remote=True, code=5).stderr
    monkeypatch.setenv("CONVOY_TOKEN", "convoy_nothing_at_all")
    place.run("boards", remote=True, code=5)
    monkeypatch.delenv("CONVOY_TOKEN")
    assert "a token is needed" in place.run("boards", remote=True, code=5).stderr


def test_somebody_elses_change_is_noticed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.run("deploy", "other", "--name", "contested", remote=False)
    seen = deploying._seen

    def and_then_another(fleet: Any, deployment: str) -> Any:
        found = seen(fleet, deployment)
        monkeypatch.setattr(deploying, "_seen", seen)
        place.run("scale", deployment, "--replicas", "2", remote=False)
        return found

    monkeypatch.setattr(deploying, "_seen", and_then_another)
    refused = place.run("deploy", "other", "--name", "contested", "--boards", "1", remote=False, code=6)
    assert "read it again" in refused.stderr


@pytest.mark.parametrize("remote", [False, True])
def test_events_are_followed_as_they_happen(place: Place, remote: bool) -> None:
    where = ("--api", place.url) if remote else ("--home", str(place.folder))
    command = [sys.executable, "-m", "convoy_controller", "events", "--follow", "--json", "--board", "board-2", *where]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    stopping = threading.Event()
    telling = threading.Thread(target=_tell, args=(place, stopping))
    telling.start()
    try:
        lines = (json.loads(text) for text in process.stdout)
        numbers = [line["data"]["number"] for line in islice((each for each in lines if each["kind"] == "noted"), 3)]
        assert numbers == list(range(numbers[0], numbers[0] + 3))
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    finally:
        stopping.set()
        telling.join()
        process.kill()
        process.wait()
        process.stdout.close()


def _tell(place: Place, stopping: threading.Event) -> None:
    """An event of board-2 every quarter of a second, and one of another board."""
    number = 0
    while not stopping.wait(0.25):
        number += 1
        place.fleet.recorder.record_event(NewEvent("noted", "so it is", board="board-2", data={"number": number}))
        place.fleet.recorder.record_event(NewEvent("noted", "and here", board="board-1"))
