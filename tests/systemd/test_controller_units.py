"""The units of controller, gateway and API, with this tree's programs: they come up, come back, and end in order."""

from __future__ import annotations

import contextlib
import os
import signal
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from convoy_schema import codec
from convoy_schema.link import parse_url
from convoy_schema.messages.boards import Presence
from convoy_schema.messages.gateways import ControllerState
from convoy_schema.topics import Topics
from machine import SOURCE, Machine
from own_ports import own_port
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

UNITS = ("convoy-controller.service", "convoy-gateway.service", "convoy-api.service")
SITE = "units"


def program(machine: Machine) -> None:
    """`/opt/convoy-controller`, an environment of the machine's Python with what this one has."""
    site = Path(sysconfig.get_path("purelib")).relative_to(SOURCE)
    if f"python{machine.run('python3', '-c', 'import sys; print(sys.version[:4])').strip()}" != site.parts[-2]:
        pytest.skip(f"what is installed here is for {site.parts[-2]}, which the machine's Python is not")
    folder = "/opt/convoy-controller"
    machine.run("python3", "-m", "venv", "--without-pip", folder)
    ours = [
        f"/source/{site}",
        *(f"/source/{name}" for name in ("schema", "controller", "client", "bitstreams", "models")),
    ]
    inside = machine.run(f"{folder}/bin/python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    machine.write(f"{inside}/source.pth", "\n".join([*ours, ""]))
    script = f"#!{folder}/bin/python\nfrom convoy_controller.cli import main\nmain()\n"
    machine.write(f"{folder}/bin/convoy", script)
    machine.run("chmod", "755", f"{folder}/bin/convoy")


@pytest.fixture
def units(machine: Machine, broker: Any) -> Iterator[tuple[str, str]]:
    """All started on a broker outside; where the gateway and the API say that they live."""
    program(machine)
    port, api_port = own_port(), own_port()
    for unit in UNITS:
        machine.write(f"/etc/systemd/system/{unit}", (SOURCE / "controller" / "systemd" / unit).read_text())
    for name in ("controller", "gateway", "api"):
        settings = f"CONVOY_BROKER={broker.url}\nCONVOY_SITE={SITE}\nCONVOY_HTTP_PORT={port}\n"
        settings += f"CONVOY_API_LISTEN=127.0.0.1:{api_port}\n"
        machine.write(f"/etc/convoy/{name}.env", settings)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", *UNITS)
    try:
        yield f"http://127.0.0.1:{port}/v2/health/live", f"http://127.0.0.1:{api_port}/api/v1/about"
    finally:
        machine.run("systemctl", "stop", *UNITS, check=False)


def restarts_of(machine: Machine, unit: str) -> int:
    return int(machine.show("NRestarts", unit=unit)["NRestarts"])


@contextlib.contextmanager
def subscribed(url: str, topic: str) -> Iterator[list[ControllerState]]:
    """What is said there meanwhile, by a client that is none of ours."""
    heard: list[ControllerState] = []
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda *said: heard.append(codec.decode(ControllerState, said[2].payload))
    client.on_connect = lambda *_: client.subscribe(topic, 1)
    client.connect(*parse_url(url))
    client.loop_start()
    try:
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()


def until(machine: Machine, happened: Callable[[], object], what: str) -> None:
    try:
        machine.wait(happened, what)
    except AssertionError as error:
        units = [f"--unit={unit}" for unit in UNITS]
        said = machine.run("journalctl", "--no-pager", "-n", "60", *units, check=False)
        raise AssertionError(f"not in time: {what}\n{said}") from error


def pid_of(machine: Machine, unit: str) -> int:
    return int(machine.show("MainPID", unit=unit)["MainPID"])


def test_they_come_up_and_back_and_end_in_order(machine: Machine, broker: Any, units: tuple[str, str]) -> None:
    with subscribed(broker.url, Topics(SITE).controller_state()) as heard:

        def in_charge(besides: int = 0) -> int:
            found = [state.session for state in heard if state.presence is Presence.ONLINE and state.epoch]
            return next((session for session in reversed(found) if session != besides), 0)

        until(machine, in_charge, "a controller in charge")
        until(machine, lambda: all(map(answers, units)), "gateway and API answer")
        first, restarts = in_charge(), {unit: restarts_of(machine, unit) for unit in UNITS}
        for unit in UNITS:
            os.kill(machine.outside(pid_of(machine, unit)), signal.SIGKILL)
        until(machine, lambda: in_charge(first), "another controller in charge")
        until(machine, lambda: all(map(answers, units)), "gateway and API answer again")
        assert {unit: restarts_of(machine, unit) - count for unit, count in restarts.items()} == dict.fromkeys(UNITS, 1)
        began = time.monotonic()
        machine.run("systemctl", "stop", *UNITS)
        assert time.monotonic() - began < 20
        until(machine, lambda: heard[-1].presence is Presence.OFFLINE, "it said that it left")
        assert {machine.show("Result", unit=unit)["Result"] for unit in UNITS} == {"success"}
    owner = machine.run("stat", "-c", "%U %a", "/var/lib/convoy-controller", "/var/lib/convoy-controller/convoy.db")
    assert owner.splitlines() == ["convoy 750", "convoy 640"]


def answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=2.0).status_code == 200
    except httpx.TransportError:
        return False
