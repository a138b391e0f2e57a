"""A PostgreSQL of the bench's own, from the system's binaries: another port, another folder, gone when it is closed."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from convoy_controller.broker import hold_port
from convoy_controller.errors import DemoError

USER = "convoy"
START_S = 60.0
#: As an owner of a fleet would give it: its working set fits, and its tables are looked after.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "1GB",
    "work_mem": "32MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "random_page_cost": "1.1",
    "lc_messages": "C",
}


def binaries() -> Path | None:
    """The folder of the newest PostgreSQL on this machine; None when there is none."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    on_path = shutil.which("initdb")
    if on_path is not None:
        found.append(Path(on_path).resolve().parent)
    return max(found, key=lambda folder: folder.parent.name.zfill(4), default=None)


class PostgresqlServer:
    """Started when it is made, with `settings` beside its own; `close` ends it and deletes what it kept."""

    def __init__(self, programs: Path, **settings: str) -> None:
        self._programs = programs
        self._settings = {**_SETTINGS, **settings}
        self._as = unprivileged()
        self._folder = Path(tempfile.mkdtemp(prefix="convoy-bench-"))
        self._password = secrets.token_hex(8)
        self._process: subprocess.Popen[bytes] | None = None
        with hold_port() as holder:
            self.port: int = holder.getsockname()[1]
        try:
            self._make()
            self._start()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """Of an empty database."""
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self.port}/postgres"

    def close(self) -> None:
        """End it by its pid."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(START_S)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _make(self) -> None:
        secret = self._folder / "password"
        secret.write_text(self._password, encoding="ascii")
        for path in (self._folder, secret):
            if self._as:
                os.chown(path, self._as["user"], self._as["group"])
        options = ["--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--locale=C", "--no-sync"]
        command: list[Any] = [self._programs / "initdb", "-D", self._folder / "data", "-U", USER, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self._folder, **self._as)
        if done.returncode != 0:
            raise DemoError(f"PostgreSQL cannot be set up: {done.stderr[-400:]}")

    def _start(self) -> None:
        settings = [f"--{key}={value}" for key, value in self._settings.items()]
        where: list[Any] = ["-D", self._folder / "data", "-p", str(self.port), "-k", self._folder]
        log = self._folder / "log"
        with log.open("ab") as output:
            command = [self._programs / "postgres", *where, *settings]
            process: subprocess.Popen[bytes] = subprocess.Popen(
                command, stdout=output, stderr=output, cwd=self._folder, **self._as
            )
        self._process = process
        ready: list[Any] = [self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        deadline = time.monotonic() + START_S
        while subprocess.run(ready, check=False).returncode != 0:
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoError(f"PostgreSQL does not start: {log.read_text(encoding='utf-8')[-400:]}")
            time.sleep(0.05)


def unprivileged() -> dict[str, Any]:
    """Arguments of Popen: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise DemoError("there is neither a user postgres nor nobody to run PostgreSQL as: run this as another user")
