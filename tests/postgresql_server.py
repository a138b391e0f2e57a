"""A real PostgreSQL of the tests' own: another port, another folder, an unprivileged user; nothing of the system's.

`tests/conftest.py` starts one a process of the test run, when the first test asks for a database; each test gets a
database of its own. `stop` and `start` keep the port, so that what a restart does can be tested.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from convoy_controller.bench.postgresql_server import binaries, unprivileged
from convoy_controller.broker import hold_port
from patience import PATIENCE_S

USER = "convoy"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",  # no test cuts the power
    "max_wal_size": "128MB",
    "shared_buffers": "16MB",
    "max_connections": "40",
    "autovacuum": "off",
    "lc_messages": "C",
}


#: Memory as a folder, where there is so much of it: a new database is 500 files, and a disk takes ten times as long.
_MEMORY = Path("/dev/shm")
_MOST_BYTES = 4 * 2**30


def _roomy() -> Path | None:
    """Where to put a server's folder; None: where temporary files are."""
    has_room = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _MOST_BYTES
    return _MEMORY if has_room else None


@contextlib.contextmanager
def started(**settings: str) -> Iterator[PostgresqlServer]:
    """A running server with those settings besides; where there is no PostgreSQL the test is skipped."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    found = binaries()
    if found is None:
        pytest.skip("PostgreSQL is not installed: neither /usr/lib/postgresql/*/bin/initdb nor initdb on the PATH")
    server = PostgresqlServer(found, **settings)
    server.start()
    yield server
    server.remove()


class PostgresqlServer:
    """One server below a folder of its own, in memory or among the system's temporary files, which `remove` deletes."""

    def __init__(self, folder_of_binaries: Path, **settings: str) -> None:
        self._binaries = folder_of_binaries
        self._settings = {**_SETTINGS, **settings}
        self._as = unprivileged()
        # Not below pytest's folder, which only its owner may enter.
        self._folder = Path(tempfile.mkdtemp(prefix="convoy-pg-", dir=_roomy()))
        if self._as:
            os.chown(self._folder, self._as["user"], self._as["group"])
        self._password = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        # Of this server's own for as long as the tests run, which are more than hold a port at the same time.
        self._holder = hold_port()
        self.port: int = self._holder.getsockname()[1]
        self._initialise()

    def _initialise(self) -> None:
        secret = self._folder / "password"
        secret.write_text(self._password)
        if self._as:
            os.chown(secret, self._as["user"], self._as["group"])
        options = ["--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--locale=C", "--no-sync"]
        command = [self._binaries / "initdb", "-D", self._folder / "data", "-U", USER, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self._folder, **self._as)
        assert done.returncode == 0, done.stderr

    # The process -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, and wait until it lets users in."""
        settings = [f"--{key}={value}" for key, value in self._settings.items()]
        command = [self._binaries / "postgres", "-D", self._folder / "data", "-p", str(self.port), "-k", self._folder]
        with (self._folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                [*command, *settings], stdout=output, stderr=output, cwd=self._folder, **self._as
            )
        deadline = time.monotonic() + PATIENCE_S
        ready = [self._binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode != 0:
            assert time.monotonic() < deadline, (self._folder / "log").read_text()
            assert self._process.poll() is None, (self._folder / "log").read_text()
            time.sleep(0.03)

    def stop(self, with_signal: signal.Signals = signal.SIGINT) -> None:
        """End it by its pid: SIGINT ends sessions and shuts down, SIGQUIT is a crash after which it must recover."""
        if self._process is not None:
            self._process.send_signal(with_signal)
            self._process.wait(PATIENCE_S)
            self._process = None

    def remove(self) -> None:
        """Stop it and delete all that it kept."""
        self.stop(signal.SIGQUIT)  # the other way it would tidy up first
        self._holder.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    # Databases -------------------------------------------------------------------------------------------------------

    def new_name(self) -> str:
        """The name of a database that is not there."""
        return f"convoy_{next(self._numbers)}"

    def url(self, name: str, user: str = USER, password: str | None = None) -> str:
        """As an owner would write it."""
        return f"postgresql://{user}:{self._password if password is None else password}@127.0.0.1:{self.port}/{name}"

    def new_database(self) -> str:
        """Create an empty one; its URL."""
        name = self.new_name()
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def new_socket_database(self) -> str:
        """Create an empty one; its URL over the server's socket, which reaches into every network namespace."""
        name = self.new_name()
        self.execute(f"CREATE DATABASE {name}")
        return f"postgresql://{USER}:{self._password}@/{name}?host={self._folder}&port={self.port}"

    def drop(self, url: str) -> None:
        """Delete the database of that URL, whoever is still connected to it."""
        self.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run each by itself, beside whatever the tested code does."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def program(self, name: str, *arguments: str, given: bytes = b"") -> bytes:
        """Run one of PostgreSQL's own programs against this server, with `given` as its input; its output."""
        environment = {**os.environ, "PGPASSWORD": self._password}
        command = [self._binaries / name, "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, *arguments]
        return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, input=given).stdout
