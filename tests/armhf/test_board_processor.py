"""On a board's processor, emulated by qemu: the base dependencies install from the wheelhouse, and LeNet-5 is served.

The root is Debian 12: Python 3.11 with numpy 1.24, where the PYNQ image has Python 3.10. Both have a glibc for which
cryptography's armv7l wheel is made, 2.31 or newer.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import wheelhouse
from convoy_controller import lenet5
from convoy_controller.database import queries
from convoy_controller.datasets import digits
from convoy_controller.local_fleet import wait_until
from convoy_schema.bundle import Method
from system_fleet import SystemFleet, logits_of

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.armhf
#: Seconds: qemu takes ten times as long, and more on a busy machine.
PATIENCE_S = 300.0
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root", "PYTHONUNBUFFERED": "1"}


class ArmRoot:
    """A root whose programs are a board's; what is written there is gone at the end."""

    def __init__(self, base: Path, wheels: Path, root: Path) -> None:
        root.mkdir()
        self._root = root
        enter = [str(Path(__file__).with_name("enter.sh")), str(base), str(wheels), str(root)]
        self._unshare = subprocess.Popen(
            [
                "setpriv",
                "--pdeathsig",
                "KILL",
                "unshare",
                "--fork",
                "--pid",
                "--mount",
                "--mount-proc",
                "--kill-child",
                *enter,
            ]
        )
        self._holder = 0
        deadline = time.monotonic() + 30
        while not (self._holder and self.path("ready").exists()):
            assert self._unshare.poll() is None
            assert time.monotonic() < deadline
            children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text().split()
            self._holder = int(children[0]) if children else 0
            time.sleep(0.05)

    def path(self, path: str) -> Path:
        """A file there, from here."""
        return Path(f"/proc/{self._holder}/root{self._root}") / path

    def command(self, *command: str) -> list[str]:
        """A command that runs `command` there."""
        return ["nsenter", "--target", str(self._holder), "--mount", "--pid", "chroot", str(self._root), *command]

    def run(self, *command: str) -> str:
        """What it prints; it must end with 0."""
        done = subprocess.run(
            self.command(*command), capture_output=True, text=True, check=False, env=ENVIRONMENT, timeout=1200
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def stop(self) -> None:
        """End everything there."""
        os.kill(self._holder, signal.SIGKILL)
        self._unshare.wait(30)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheelhouse") / "wheels"
    wheelhouse.build(wheelhouse.Target("armv7l", "3.11"), folder)
    return folder


@pytest.fixture(scope="module")
def board(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArmRoot]:
    """Convoy installed from the wheelhouse, without an index."""
    done = subprocess.run([str(ROOT / ".ci" / "setup-root"), "armhf"], capture_output=True, text=True, check=False)
    if done.returncode == 3:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    root = ArmRoot(Path(done.stdout.strip()), wheels, tmp_path_factory.mktemp("armhf") / "root")
    try:
        root.run("python3", "-m", "venv", "--system-site-packages", "/opt/convoy")
        offline: Sequence[str] = ("--isolated", "--no-index", "--find-links", "/wheels")
        constraints = ("--constraint", "/wheels/constraints.txt")
        pip = ("/opt/convoy/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        root.run(*pip, *offline, *constraints, "convoy-fleet")
        yield root
    finally:
        root.stop()


def test_the_base_dependencies_are_a_board_s(board: ArmRoot) -> None:
    script = """
import json, platform, sys
from importlib import metadata
import cryptography, msgpack, numpy
from msgpack import fallback
print(json.dumps({
    "machine": platform.machine(),
    "bits": sys.maxsize.bit_length() + 1,
    "numpy": numpy.__version__,
    "pure": msgpack.Unpacker is fallback.Unpacker,
    "cryptography": metadata.version("cryptography"),
}))
"""
    found = json.loads(board.run("/opt/convoy/bin/python", "-c", script))
    print(found)
    assert (found["machine"], found["bits"], found["pure"]) == ("armv7l", 32, True)
    assert int(found["numpy"].partition(".")[0]) == 1
    assert int(found["cryptography"].partition(".")[0]) in (44, 45)
    board.run("/opt/convoy/bin/python", "-m", "pip", "check")


def test_lenet5_is_served_to_the_bit_by_its_stages_on_two_boards(board: ArmRoot, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    network, spec = lenet5.quantised()
    images = digits().images[:24]
    expected = logits_of(network, spec, images)
    with SystemFleet(tmp_path) as fleet:
        fleet.start(0)
        fleet.publish(network, "lenet5", spec=spec)
        board.path("boards/trusted.pem").write_bytes(fleet.home.trusted_key.read_bytes())
        for name, fabric in (("board-1", "emulated"), ("board-2", "processor")):
            start(fleet, board, name, fabric)
        assert wait_until(lambda: fleet.online() == {"board-1", "board-2"}, PATIENCE_S), fleet.log("board-1")
        fleet.request(Method.ALLOCATE, 2, "lenet5")
        assert wait_until(
            lambda: fleet.deployment("lenet5").ready_boards == fleet.deployment("lenet5").assigned_boards == 2,
            PATIENCE_S,
        ), fleet.complaint("lenet5")
        assert wait_until(fleet.client.is_ready, PATIENCE_S)
        result = fleet.client.infer(images, "lenet5")
        assert np.array_equal(result.array.view(np.uint32), expected.view(np.uint32))
        assert len(fleet.plan("lenet5").stages) == 2
        pythons = {
            line.board: queries.board(fleet.database, line.board).capability for line in queries.fleet(fleet.database)
        }
        assert {capability.python for capability in pythons.values() if capability} == {
            board.run("python3", "-c", "import platform; print(platform.python_version())").strip()
        }


def start(fleet: SystemFleet, board: ArmRoot, name: str, fabric: str) -> None:
    """A daemon there."""
    values = {
        "name": name,
        "site": fleet.local.site,
        "broker": fleet.local.url,
        "state_dir": f"/boards/{name}",
        "trusted_key": "/boards/trusted.pem",
        "fabric": fabric,
    }
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
    board.path(f"boards/{name}.toml").write_text(text)
    command = board.command("/opt/convoy/bin/convoy-device", "run", "--config", f"/boards/{name}.toml")
    fleet.local.processes.start(name, command, fleet.directory / "logs" / f"{name}.log", tier="boards")
    fleet.local.boards.append(name)
