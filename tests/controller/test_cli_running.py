"""`convoy up`, `convoy controller`, `convoy gateway` as processes: they start, say where they are, stop in order."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
from convoy_controller.cli import app
from convoy_controller.home import Home
from convoy_controller.keys import signing_key
from convoy_controller.local_fleet import LocalFleet
from own_ports import own_port
from patience import PATIENCE_S
from typer.testing import CliRunner

RUNNER = CliRunner()


class BrokerProcess(Protocol):
    url: str


class Command:
    """`convoy ...` under way, with its output in a file."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.output = folder / "output"
        command = [sys.executable, "-m", "convoy_controller", *arguments]
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                command, env={**os.environ, "CONVOY_HOME": str(folder / "home")}, stdout=file, stderr=subprocess.STDOUT
            )

    def says(self, text: str, seconds: float = PATIENCE_S) -> str:
        deadline = time.monotonic() + seconds
        while text not in self.output.read_text():
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.02)
        return self.output.read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Command]]:
    commands: list[Command] = []
    yield commands
    for command in commands:
        command.process.kill()
        command.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_controller_runs_until_it_is_told_to_stop(
    tmp_path: Path, broker: BrokerProcess, started: list[Command], number: signal.Signals
) -> None:
    command = Command(tmp_path, "controller", "--broker", broker.url)
    started.append(command)
    command.says("in charge")
    assert command.stop(number) == 0
    assert (tmp_path / "home" / "keys" / "trusted.pem").exists()
    assert (tmp_path / "home" / "convoy.db").exists()


def test_the_api_says_where_it_listens(tmp_path: Path, started: list[Command]) -> None:
    command = Command(tmp_path, "api", "--listen", "127.0.0.1:0")
    started.append(command)
    address = command.says("the API listens on ").partition("listens on ")[2].split()[0]
    with urlopen(f"{address}/api/v1/boards", timeout=PATIENCE_S) as answer:
        assert json.load(answer) == {"items": [], "next": None}
    assert command.stop() == 0


def test_the_api_over_tls_wants_a_token_once_there_is_one(tmp_path: Path, started: list[Command]) -> None:
    make = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2"]
    make += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*make, "-keyout", tmp_path / "key", "-out", tmp_path / "pem"], check=True, capture_output=True)
    token = RUNNER.invoke(app, ["token", "create", "me", "--home", str(tmp_path / "home")]).stdout.split()[0]
    files = ("--tls-cert", str(tmp_path / "pem"), "--tls-key", str(tmp_path / "key"))
    command = Command(tmp_path, "api", "--listen", "127.0.0.1:0", *files)
    started.append(command)
    address = command.says("the API listens on ").partition("listens on ")[2].split()[0]
    assert address.startswith("https://")
    context = ssl.create_default_context(cafile=str(tmp_path / "pem"))
    with pytest.raises(HTTPError) as refused:
        urlopen(f"{address}/api/v1/about", timeout=10, context=context)
    refused.value.close()
    assert refused.value.code == 401
    request = Request(f"{address}/api/v1/about", headers={"Authorization": f"Bearer {token}"})
    with urlopen(request, timeout=10, context=context) as answer:
        assert json.load(answer)["role"] == "viewer"
    assert command.stop() == 0


def test_a_gateway_says_where_it_listens(tmp_path: Path, broker: BrokerProcess, started: list[Command]) -> None:
    signing_key(tmp_path / "home" / "keys")
    command = Command(tmp_path, "gateway", "--broker", broker.url, "--port", "0")
    started.append(command)
    address = command.says("listens on ").partition("listens on ")[2].split()[0]
    with urlopen(f"{address}/v2/health/live", timeout=PATIENCE_S) as answer:
        assert answer.status == 200
    assert command.stop() == 0


def test_a_gateway_without_a_key_ends_with_a_sentence(tmp_path: Path, broker: BrokerProcess) -> None:
    done = RUNNER.invoke(app, ["gateway", "--broker", broker.url, "--home", str(tmp_path), "--port", "0"])
    assert done.exit_code == 1
    assert "trusted.pem" in done.output


def await_page(address: str, words: str) -> None:
    """Whoever prints an address may yet be starting who listens there."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urlopen(address, timeout=PATIENCE_S) as answer:
                assert words in answer.read().decode()
                return
        except URLError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_up_starts_everything_starts_again_what_dies_and_leaves_nothing(tmp_path: Path, started: list[Command]) -> None:
    port = own_port()
    arguments = ("up", "--broker", "auto", "--broker-port", str(own_port()), "--port", str(port))
    arguments += ("--api-port", "0", "--metrics-port", "0")
    command = Command(tmp_path, *arguments)
    started.append(command)
    said = command.says("Ctrl-C stops what was started here")
    assert f"http://127.0.0.1:{port}" in said
    assert "API         http://127.0.0.1:" in said
    [dashboard] = [line.split()[1] for line in said.splitlines() if line.startswith("dashboard ")]
    await_page(dashboard, "<title>Fleet · Convoy</title>")
    metrics = said.partition("metrics     ")[2].split()[0]
    assert f"http://127.0.0.1:{port}/metrics" in said
    deadline = time.monotonic() + PATIENCE_S
    while b"convoy_controller_in_charge 1" not in read(metrics):
        assert time.monotonic() < deadline, said
        time.sleep(0.1)
    children = {name: pid for pid, name in descendants(command.process.pid).items()}
    gateway = next(pid for name, pid in children.items() if " gateway " in name)
    os.kill(gateway, signal.SIGKILL)
    command.says("was ended by SIGKILL, starts again in 1 s")
    deadline = time.monotonic() + PATIENCE_S
    while gateway in (now := descendants(command.process.pid)) or not any(" gateway " in name for name in now.values()):
        assert time.monotonic() < deadline, now
        time.sleep(0.05)
    left = set(descendants(command.process.pid))
    assert len(left) >= 4
    assert command.stop() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in left)
    assert "stopping" in command.output.read_text()


@pytest.mark.parametrize("option", ["--port", "--api-port", "--metrics-port"])
def test_up_does_not_begin_where_somebody_else_listens(tmp_path: Path, option: str) -> None:
    ports = {"--broker-port": own_port(), "--port": 0, "--api-port": 0, "--metrics-port": 0}
    with socket.create_server(("127.0.0.1", 0)) as other:
        ports[option] = other.getsockname()[1]
        arguments = [text for pair in ports.items() for text in map(str, pair)]
        done = RUNNER.invoke(app, ["up", "--home", str(tmp_path), *arguments])
    assert done.exit_code == 1
    assert f"cannot listen on 127.0.0.1:{ports[option]}" in done.output
    assert "Ctrl-C" not in done.output


def test_up_runs_once_from_a_home_and_only_where_it_can_write(tmp_path: Path) -> None:
    home = Home.locate(tmp_path / "home")
    with LocalFleet(home, home.root / "run"):
        done = RUNNER.invoke(app, ["up", "--home", str(home.root), "--broker-port", str(own_port())])
        assert done.exit_code == 1
        assert "already" in done.output
    (tmp_path / "file").write_text("no folder")
    done = RUNNER.invoke(app, ["up", "--home", str(tmp_path / "file"), "--broker-port", str(own_port())])
    assert (done.exit_code, isinstance(done.exception, SystemExit)) == (1, True)
    assert "cannot be used" in done.output


def read(address: str) -> bytes:
    """What is there; nothing while nobody listens."""
    try:
        with urlopen(address, timeout=PATIENCE_S) as answer:
            content: bytes = answer.read()
            return content
    except OSError:
        return b""


def descendants(pid: int) -> dict[int, str]:
    """Command lines of living children."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"PPid:\t{pid}\n" in (entry / "status").read_text():
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("controller", "--log-level", "loud"), 2, "loud"),
        (("controller", "--broker", "nowhere"), 4, "mqtt://host:port"),
        (("controller", "--site", "Not A Site"), 2, "Not A Site"),
        (("controller", "--metrics-cert", "metrics.pem"), 2, "where metrics are read"),
        (("controller", "--metrics", "127.0.0.1:0", "--metrics-key", "metrics.key"), 2, "--metrics-cert"),
        (("controller", "--metrics", "127.0.0.1:0", "--metrics-cert", "/proc/nowhere"), 4, "cannot be used"),
        (("gateway", "--name", "Not A Name"), 2, "Not A Name"),
        (("api", "--listen", "8081"), 2, "is not HOST:PORT"),
        (("api", "--listen", "0.0.0.0:0"), 1, "convoy token create"),
        (("api", "--tls-key", "key.pem"), 2, "--tls-cert"),
        (("api", "--database", "sqlite:////proc/nowhere/convoy.db"), 4, "cannot be opened"),
        (("up", "--broker", "mqtts://127.0.0.1"), 4, "is encrypted: start it with --tls"),
        (("controller", "--broker", "mqtts://127.0.0.1"), 4, "controller.pem holds no certificate"),
        (("gateway", "--ca", "ca.pem"), 4, "is not encrypted, but there are certificates"),
        (("up", "--broker", "magic"), 4, "must be auto, mosquitto, amqtt or a URL"),
        (("controller", "--database", "sqlite:////proc/nowhere/convoy.db"), 4, "cannot be opened"),
    ],
)
def test_what_cannot_be_is_said_at_once(tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    signing_key(tmp_path / "keys")
    done = RUNNER.invoke(app, [*arguments, "--home", str(tmp_path)])
    assert (done.exit_code, done.exception is None or isinstance(done.exception, SystemExit)) == (code, True)
    assert words in done.output
