"""A new version stays if it serves as the one before did; else the one before comes back, and by itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from forged_versions import CRASHES, DEAF, UNUSABLE, WRONG, forge
from machine import UNIT, Machine
from service_fleet import ServiceFleet, play, service_fleet

JUDGE = "convoy-device-upgrade.service"
FIRST = "0.1.0"


@pytest.fixture
def first(installed: Machine) -> Iterator[Machine]:
    """The machine with the first version, before and after."""
    assert current(installed) == FIRST
    yield installed
    if current(installed) != FIRST:
        installed.run("systemctl", "stop", UNIT, JUDGE, check=False)
        installed.run("sh", "-c", "rm -f /opt/convoy/pending.json; ln -sfn 0.1.0 /opt/convoy/current")


def current(machine: Machine) -> str:
    return machine.run("readlink", "/opt/convoy/current").strip()


def judge_of(machine: Machine) -> int:
    """The process that judges; 0 while none does."""
    return int(machine.show("MainPID", unit=JUDGE)["MainPID"])


def versions(machine: Machine) -> set[str]:
    return set(machine.run("sh", "-c", "cd /opt/convoy && ls -d [0-9]*").split())


async def upgrade(board: ServiceFleet, version: str, window_s: int) -> subprocess.CompletedProcess[str]:
    def command() -> subprocess.CompletedProcess[str]:
        wheel = f"/wheels/convoy_fleet-{version}-py3-none-any.whl"
        return board.machine.call("convoy-device", "upgrade", wheel, "--window", str(window_s), seconds=500)

    done: subprocess.CompletedProcess[str] = await board.inside(command)
    return done


async def serving(board: ServiceFleet) -> int:
    await board.start()
    board.place()
    session = await board.until_serving()
    await board.until_active()
    return session


def test_a_good_version_stays_and_the_one_before_is_kept(first: Machine, wheels: Path, broker: Any) -> None:
    forge(wheels, "0.1.1")

    async def scenario() -> None:
        async with service_fleet(first, broker.url) as board:
            session = await serving(board)
            done = await upgrade(board, "0.1.1", 120)
            assert done.returncode == 0, done
            assert "version 0.1.1 serves" in done.stdout
            await board.until_serving(session)
            board.check_whole()
            assert board.fleet.capabilities["board-1"].software == "convoy-fleet 0.1.1"
            assert current(first) == "0.1.1"
            assert versions(first) == {FIRST, "0.1.1"}
            # And back, as its owner may want: nothing has to be installed for that.
            session = board.fleet.reported["board-1"].session
            done = await upgrade(board, FIRST, 120)
            assert done.returncode == 0, done
            await board.until_serving(session)
            assert current(first) == FIRST

    play(scenario)


@pytest.mark.parametrize(
    ("version", "changes", "reason"),
    [
        pytest.param("0.1.2", CRASHES, "not ready"),
        pytest.param("0.1.3", DEAF, "not ready: no broker", marks=pytest.mark.long),
        pytest.param("0.1.4", WRONG, "demo 1-1 is failed (self-test)", marks=pytest.mark.long),
    ],
    ids=["one that crashes", "one that hears no broker", "one that computes something else"],
)
def test_a_broken_version_goes_by_itself(
    first: Machine, wheels: Path, broker: Any, version: str, changes: dict[str, str], reason: str
) -> None:
    forge(wheels, version, changes)

    async def scenario() -> None:
        async with service_fleet(first, broker.url) as board:
            session = await serving(board)
            # What is wrong shows only where something has to be configured.
            if changes is WRONG:
                board.machine.path("/var/lib/convoy/fabric/fabric.bin").unlink()
            done = await upgrade(board, version, 15)
            assert done.returncode == 4, done
            assert f"version {FIRST} serves again, {version} did not stay" in done.stdout
            assert reason in done.stdout
            await board.until_serving(session)
            board.check_whole()
            await board.until_active()
            assert board.fleet.capabilities["board-1"].software == f"convoy-fleet {FIRST}"
            assert current(first) == FIRST
            assert version not in versions(first)

    play(scenario)


def test_a_version_that_does_not_even_start_is_not_tried(first: Machine, wheels: Path, broker: Any) -> None:
    forge(wheels, "0.1.5", UNUSABLE)

    async def scenario() -> None:
        async with service_fleet(first, broker.url) as board:
            await serving(board)
            pid = first.main_pid
            done = await upgrade(board, "0.1.5", 15)
            assert done.returncode == 1
            assert "version 0.1.5 is unusable" in done.stderr
            assert "does not even start" in done.stderr
            done = await upgrade(board, "0.1.9", 15)
            assert "is not there" in done.stderr
            assert first.main_pid == pid, "what serves was not touched"
            assert "0.1.5" not in versions(first)

    play(scenario)


@pytest.mark.long
def test_an_upgrade_that_the_power_ended_is_judged_at_the_next_boot(first: Machine, wheels: Path, broker: Any) -> None:
    forge(wheels, "0.1.6", CRASHES)

    async def scenario() -> None:
        async with service_fleet(first, broker.url) as board:
            session = await serving(board)
            under_way = asyncio.create_task(upgrade(board, "0.1.6", 10))
            await board.inside(first.wait, lambda: judge_of(first), "the judge", 300)
            # What a loss of power leaves: nobody judges, nothing runs.
            os.kill(first.outside(judge_of(first)), signal.SIGKILL)
            done = await under_way
            assert done.returncode == 1
            assert "no verdict" in done.stderr
            first.run("systemctl", "stop", JUDGE, UNIT)
            assert json.loads(first.run("cat", "/opt/convoy/pending.json"))["after"] == "0.1.6"
            assert current(first) == "0.1.6"
            # What is enabled is started at boot.
            assert first.run("systemctl", "is-enabled", JUDGE, UNIT).split() == ["enabled", "enabled"]
            first.run("systemctl", "start", "--no-block", UNIT, JUDGE)
            await board.until_serving(session)
            await board.inside(
                first.wait, lambda: not first.path("/opt/convoy/pending.json").exists(), "the verdict is in", 120
            )
            outcome = json.loads(first.run("cat", "/opt/convoy/last-upgrade.json"))
            assert (outcome["version"], outcome["after"]) == (FIRST, "0.1.6")
            assert current(first) == FIRST

    play(scenario)
