"""One machine for all tests of this folder, with Convoy installed as its owner would; a broker outside for each."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

import board_models as models
import pytest
import wheelhouse
from convoy_schema.bundle import public_pem
from machine import QUICK, Machine, clean, drop_in

ROOT = Path(__file__).resolve().parents[2]
#: The Python of the machine's Debian.
PYTHON = "3.11"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`make test` leaves them out, `make test-systemd` runs them."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.systemd)


@pytest.fixture(scope="session")
def base() -> Path:
    """The root of a Debian with systemd; skips with the reason where there cannot be one."""
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        [str(ROOT / ".ci" / "setup-root"), "systemd"], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode == 3:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheelhouse for the machine, which has numpy itself, and the key that the tests' bundles are signed with."""
    folder = tmp_path_factory.mktemp("wheelhouse") / "wheels"
    wheelhouse.build(wheelhouse.Target(platform.machine(), PYTHON), folder, image=("numpy",))
    (folder / "trusted.pem").write_bytes(public_pem(models.KEY))
    return folder


@pytest.fixture(scope="session")
def bare(base: Path, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine on which nothing has been done."""
    machine = Machine(base, wheels, tmp_path_factory.mktemp("machine") / "boot.log")
    try:
        machine.boot()
        yield machine
    finally:
        machine.stop()


@pytest.fixture(scope="session")
def machine(bare: Machine) -> Machine:
    """A machine with Convoy as a service, stopped; a crash costs it a moment, and its watchdog is quick."""
    bare.run(
        *("/wheels/install.sh", "--name", "board-1", "--broker", "mqtt://127.0.0.1:9", "--fabric", "emulated"),
        *("--trusted-key", "/wheels/trusted.pem", "--no-start"),
    )
    drop_in(bare, *QUICK)
    return bare


@pytest.fixture
def installed(machine: Machine) -> Iterator[Machine]:
    """The machine, with the service stopped and without a state, before and after."""
    clean(machine)
    yield machine
    clean(machine)
