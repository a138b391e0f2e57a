"""A machine with a systemd of its own as PID 1, in namespaces; the network is shared with the broker outside."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

BOOT = Path(__file__).with_name("boot.sh")
SOURCE = Path(__file__).resolve().parents[2]
UNIT = "convoy-device.service"
#: A drop-in, by name and lines, under which tests need not wait for long.
QUICK = ("90-test", ("RestartSec=100ms", "WatchdogSec=10", "[Unit]", "StartLimitIntervalSec=0"))
#: Seconds within which things must happen on a busy machine.
PATIENCE_S = 60.0


class Machine:
    """Boots the root at `base`; what happens there lies in memory and is gone when it stops."""

    def __init__(self, base: Path, wheels: Path, log: Path) -> None:
        self._cgroup = _cgroup2() / f"convoy-test-{secrets.token_hex(4)}"
        self._cgroup.mkdir()
        joining = f'echo $$ >"{self._cgroup}/cgroup.procs" && exec "$@"'
        # It ends with the test, however that ends.
        unshare = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "unshare",
            "--fork",
            "--pid",
            "--mount",
            "--mount-proc",
            "--uts",
            "--ipc",
            "--cgroup",
        ]
        unshare += ["--kill-child"]
        with log.open("ab") as output:
            self._unshare = subprocess.Popen(
                ["sh", "-c", joining, "sh", *unshare, str(BOOT), str(base), str(wheels), str(SOURCE)],
                stdout=output,
                stderr=output,
            )
        self._log = log
        self.init = 0

    def boot(self) -> None:
        """Wait until systemd says that it runs."""
        self.wait(self._find_init, "PID 1 is systemd")
        self.wait(
            lambda: self.run("systemctl", "is-system-running", check=False).strip() in ("running", "degraded"),
            "running",
        )

    def _find_init(self) -> bool:
        assert self._unshare.poll() is None, self._log.read_text(errors="replace")
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text().split()
        for child in map(int, children):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    self.init = child
        return self.init != 0

    def stop(self) -> None:
        """End it and everything in it."""
        if self.init:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.init, signal.SIGKILL)
        else:
            self._unshare.kill()
        self._unshare.wait(30)
        for folder in sorted(self._cgroup.rglob("*/"), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        deadline = time.monotonic() + 10
        while self._cgroup.exists() and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                self._cgroup.rmdir()
            time.sleep(0.05)

    # Doing -----------------------------------------------------------------------------------------------------------

    def run(self, *command: str, check: bool = True, seconds: float = 300.0) -> str:
        """What a command inside prints; with `check` it must end with 0."""
        done = self.call(*command, seconds=seconds)
        assert done.returncode == 0 or not check, f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def call(self, *command: str, seconds: float = 300.0) -> subprocess.CompletedProcess[str]:
        """A command inside, to its end."""
        target = ["nsenter", "--target", str(self.init), "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--root"]
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        return subprocess.run(
            [*target, "env", "-C", "/", *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            env=environment,
        )

    def path(self, path: str) -> Path:
        """A file inside, from outside."""
        return Path(f"/proc/{self.init}/root") / path.lstrip("/")

    def write(self, path: str, text: str) -> None:
        """A file inside, and the folders above it."""
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).write_text(text)

    def wait(
        self, happened: Callable[[], object], what: str, seconds: float = PATIENCE_S, every_s: float = 0.05
    ) -> None:
        """Until it has."""
        deadline = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:g} s: {what}\n{self.complaint()}")
            time.sleep(every_s)

    def complaint(self) -> str:
        """What people would look at."""
        if not self.init:
            return self._log.read_text(errors="replace")[-3000:]
        status = self.run("systemctl", "status", "--no-pager", "-l", UNIT, check=False)
        return status + self.run("journalctl", "--no-pager", "-n", "40", check=False)

    # The service -----------------------------------------------------------------------------------------------------

    def show(self, *names: str, unit: str = UNIT) -> dict[str, str]:
        """Properties of a unit."""
        said = self.run("systemctl", "show", unit, "-p", ",".join(names))
        return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)

    def is_active(self) -> bool:
        """Whether the service is ready."""
        return self.show("ActiveState")["ActiveState"] == "active"

    @property
    def main_pid(self) -> int:
        """The daemon's number inside; 0 while there is none."""
        return int(self.show("MainPID")["MainPID"])

    def outside(self, pid: int) -> int:
        """The number outside of a process inside; 0 if it is gone."""
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                numbers = re.search(r"^NSpid:\s+(.*)$", status.read_text(), re.MULTILINE)
                if numbers is None or numbers[1].split()[1:] != [str(pid)]:
                    continue
                if (status.parent / "ns/pid").readlink() == Path(f"/proc/{self.init}/ns/pid").readlink():
                    return int(status.parent.name)
        return 0

    def restarts(self) -> int:
        """How often systemd has started it again by itself."""
        return int(self.show("NRestarts")["NRestarts"])

    def journal(self, since: str = "", **fields: str) -> list[dict[str, str]]:
        """Entries of the journal that have these fields; `since` is a cursor.

        journalctl 252 skips the first match behind a cursor, so it is not asked to match.
        """
        after = [f"--after-cursor={since}"] if since else []
        said = self.run("journalctl", "--no-pager", "--all", "-o", "json", *after)
        entries: list[dict[str, str]] = [json.loads(line) for line in said.splitlines()]
        return [entry for entry in entries if all(entry.get(name) == value for name, value in fields.items())]

    def said(self, since: str) -> list[str]:
        """What the service, and systemd about it, have said since a cursor."""
        entries = self.journal(since)
        return [entry["MESSAGE"] for entry in entries if UNIT in (entry.get("_SYSTEMD_UNIT"), entry.get("UNIT"))]

    def cursor(self) -> str:
        """Where the journal is now."""
        said = self.run("journalctl", "--no-pager", "-n", "0", "--show-cursor")
        return said.rpartition("cursor: ")[2].strip()


def _cgroup2() -> Path:
    """Where the unified hierarchy of cgroups is, on this machine."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, folder, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(folder)
    raise AssertionError("no cgroup2 is mounted")


def drop_in(machine: Machine, name: str, lines: Sequence[str]) -> None:
    """Change the unit as its administrator would."""
    machine.write(f"/etc/systemd/system/{UNIT}.d/{name}.conf", "\n".join(["[Service]", *lines, ""]))
    machine.run("systemctl", "daemon-reload")


def clean(machine: Machine) -> None:
    """Stop the service and forget what it knew."""
    machine.run("systemctl", "stop", "convoy-device.service", check=False)
    machine.run("systemctl", "reset-failed", "convoy-device.service", check=False)
    machine.run("sh", "-c", "rm -rf /var/lib/convoy/*")
