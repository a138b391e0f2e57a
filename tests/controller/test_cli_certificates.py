"""`convoy ca`, `convoy board invite | revoke`, `convoy up --tls`, as their owner uses them."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest
from convoy_controller.broker import find_mosquitto
from convoy_controller.cli import app
from convoy_controller.enrollment.reloading import PID_FILE, reload_broker
from convoy_controller.errors import BrokerError
from convoy_schema.claims import parse_claim
from own_ports import own_port
from patience import PATIENCE_S
from test_cli_running import Command
from typer.testing import CliRunner

RUNNER = CliRunner()


def convoy(home: Path, *arguments: str, code: int = 0) -> str:
    found = RUNNER.invoke(app, [*arguments, "--home", str(home)])
    assert found.exit_code == code, found.output
    return found.output


@pytest.fixture
def home(tmp_path: Path) -> Path:
    convoy(tmp_path, "ca", "init", "--host", "10.0.0.1", "--host", "fleet.example", "--site", "north")
    return tmp_path


def test_init_makes_everything_once(home: Path) -> None:
    tls = home / "tls"
    names = {
        "ca.pem",
        "ca.key",
        "crl.pem",
        "acl",
        "fleet.json",
        "broker.pem",
        "enrollment.pem",
        "controller.pem",
        "gateway.pem",
    }
    assert {one.name for one in tls.iterdir()} == names
    assert all(stat.S_IMODE(one.stat().st_mode) == 0o600 for one in tls.iterdir())
    assert "convoy/1/north/boards/%u/state" in (tls / "acl").read_text()
    before = (tls / "ca.key").read_bytes()
    assert "there is a CA in" in convoy(home, "ca", "init", code=1)
    assert (tls / "ca.key").read_bytes() == before


def test_the_list_says_what_was_issued(home: Path) -> None:
    lines = json.loads(convoy(home, "ca", "list", "--json"))
    assert {line["name"]: line["way"] for line in lines} == dict.fromkeys(
        ("broker", "enrollment", "controller", "gateway"), "service"
    )
    assert "controller" in convoy(home, "ca", "list")


def test_a_new_gateway_gets_its_section(home: Path) -> None:
    convoy(home, "ca", "issue", "gateway-2")
    assert (home / "tls" / "gateway-2.pem").exists()
    rules = (home / "tls" / "acl").read_text()
    assert "\nuser gateway-2\n" in rules
    assert "\nuser gateway\n" in rules
    assert "a board's name" in convoy(home, "ca", "issue", "board-1", code=1)


def test_an_invitation_is_one_line(home: Path) -> None:
    found = RUNNER.invoke(app, ["board", "invite", "board-1", "--home", str(home)])
    claim = parse_claim(found.stdout)
    assert (claim.name, claim.host, claim.port) == ("board-1", "10.0.0.1", 8884)
    other = RUNNER.invoke(app, ["board", "invite", "board-1", "--address", "[::1]:99", "--home", str(home)])
    assert (parse_claim(other.stdout).host, parse_claim(other.stdout).port) == ("::1", 99)
    assert "cannot be called 'gateway'" in convoy(home, "board", "invite", "gateway", code=1)


def test_without_a_ca_each_command_says_so(tmp_path: Path) -> None:
    for arguments in (("board", "invite", "board-1"), ("ca", "issue", "broker"), ("enroll-server",)):
        assert "make one with `convoy ca init`" in convoy(tmp_path, *arguments, code=1)


def test_a_revocation_says_when_the_broker_is_still_to_be_told(home: Path) -> None:
    assert "has no certificate" in convoy(home, "board", "revoke", "board-1", code=3)
    convoy(home, "ca", "issue", "gateway-2")
    assert "now give the broker" in convoy(home, "board", "revoke", "gateway-2", "--reason", "sold")
    assert "user gateway-2\ntopic deny #" in (home / "tls" / "acl").read_text()
    told = home / "told"
    convoy(home, "ca", "issue", "gateway-3")
    assert "now give" not in convoy(home, "board", "revoke", "gateway-3", "--reload", f"touch {told}")
    assert told.exists()
    convoy(home, "ca", "issue", "gateway-4")
    assert "was not reloaded" in convoy(home, "board", "revoke", "gateway-4", "--reload", "false", code=4)
    assert "revoked name is not used again" in convoy(home, "ca", "issue", "gateway-2", code=1)


def test_only_a_mosquitto_is_signalled(tmp_path: Path) -> None:
    assert not reload_broker(tmp_path)
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        (tmp_path / PID_FILE).write_text(f"{sleeper.pid}\n")
        assert not reload_broker(tmp_path)
        time.sleep(0.05)
        assert sleeper.poll() is None, "SIGHUP would have ended it"
    finally:
        sleeper.kill()
        sleeper.wait()
    with pytest.raises(BrokerError, match="no-such-program"):
        reload_broker(tmp_path, "no-such-program")


def test_one_command_starts_a_fleet_on_certificates(tmp_path: Path) -> None:
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    ports = ("--broker-port", str(own_port()), "--port", str(own_port()))
    up = Command(tmp_path, "up", "--tls", *ports, "--metrics-port", "0", "--enrollment-port", str(own_port()))
    try:
        said = up.says("boards join with")
        assert f"mqtts://127.0.0.1:{ports[1]}  (Mosquitto, TLS)" in said
        assert (tmp_path / "home" / "tls" / "ca.pem").exists()
        log = tmp_path / "home" / "run" / "logs" / "controller.log"
        deadline = time.monotonic() + PATIENCE_S
        while "in charge" not in log.read_text(errors="replace"):
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.1)
        pid = int((tmp_path / "home" / "tls" / PID_FILE).read_text())
        assert Path(f"/proc/{pid}/comm").read_text().strip() == "mosquitto"
    finally:
        os.kill(up.process.pid, signal.SIGTERM)
        up.process.wait(PATIENCE_S)
