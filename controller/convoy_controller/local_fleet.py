"""A whole fleet on this machine, every part a process of its own: for `convoy up`, `convoy demo` and the benches.

It writes each part's configuration, starts and stops it; it takes no part in what they do. Boards are started by the
program `convoy-device`, as on a board.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from convoy_controller.broker import HOST, Broker, hold_port, start_broker
from convoy_controller.enrollment.folder import TlsFolder
from convoy_controller.enrollment.secure_broker import start_secure_broker
from convoy_controller.errors import ProcessError
from convoy_controller.home import DATABASE_VARIABLE, Home
from convoy_controller.keys import signing_key
from convoy_controller.processes import Child, Processes, Restart

#: Name of the site when a fleet lives on one machine.
SITE = "local"
GATEWAY = "gateway"
CONTROLLER = "controller"
ENROLLMENT = "enrollment"
API = "api"
#: One BLAS thread a process: as many processes as there are boards share the cores already.
SINGLE_THREADED = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class LocalFleet:
    """The processes of one fleet below `directory`. Use it as a context: whatever was started is stopped."""

    def __init__(self, home: Home, directory: Path, *, site: str = SITE, restart: Restart | None = None) -> None:
        self.home = home
        self.directory = directory
        self.site = site
        self.processes = Processes()
        self._restart = restart
        self.broker: Broker | None = None
        self.gateways: dict[str, str] = {}
        self.boards: list[str] = []
        #: Where Prometheus reads the controller's metrics; '' when it was started without.
        self.metrics = ""
        self._held: list[socket.socket] = []
        self._lock: IO[str] | None = None

    def __enter__(self) -> LocalFleet:
        """Raises `ProcessError` where another fleet runs from this directory, or nothing can be written there."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock = (self.directory / "lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.stop()
            if isinstance(error, BlockingIOError):
                sentence = f"a fleet runs from {self.directory} already: stop that one, or give this one another home"
            else:
                sentence = f"{self.directory} cannot be used: {error}"
            raise ProcessError(sentence) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The broker's URL."""
        assert self.broker is not None, "start_broker comes first"
        return self.broker.url

    def start_broker(self, kind: str, port: int = 0) -> Broker:
        """`auto`, `mosquitto`, `amqtt` or a URL; raises `BrokerError`."""
        self.broker = start_broker(
            kind, self.directory / "broker", port, processes=self.processes, restart=self._restart
        )
        return self.broker

    def start_secure_broker(self, host: str = "") -> Broker:
        """Mosquitto over TLS, on the certificates in the home's folder; raises `BrokerError`."""
        self.broker = start_secure_broker(
            TlsFolder(self.home.tls), self.directory / "broker", host, self.processes, self._restart
        )
        return self.broker

    def start_enrollment(self, host: str = "127.0.0.1", board_days: float = 90.0) -> Child:
        """The enrolment service, on the port of `convoy ca init`."""
        arguments = ["--home", self.home.root, "--host", host, "--board-days", board_days]
        environment = {DATABASE_VARIABLE: self.home.database_url}
        return self._start(ENROLLMENT, self._convoy("enroll-server", *arguments), environment=environment)

    def start_controller(self, metrics_port: int | None = None) -> Child:
        """The controller, on this fleet's database; its `metrics` on that port, 0 for a free one, None for none."""
        signing_key(self.home.keys)  # made before anyone needs the public half
        arguments = ["--home", self.home.root, "--broker", self.url, "--site", self.site]
        if metrics_port is not None:
            where = f"127.0.0.1:{self._port(HOST, metrics_port)}"
            arguments += ["--metrics", where]
            self.metrics = f"http://{where}/metrics"
        # A URL may hold a password, and everyone on the machine can read a command line.
        environment = {DATABASE_VARIABLE: self.home.database_url}
        return self._start(CONTROLLER, self._convoy("controller", *arguments), environment=environment)

    def start_gateway(self, name: str = GATEWAY, host: str = "127.0.0.1", port: int = 0) -> str:
        """A gateway; returns the address at which it serves HTTP."""
        port = self._port(host, port)
        arguments = ["--name", name, "--site", self.site, "--broker", self.url, "--host", host, "--port", str(port)]
        self._start(name, self._convoy("gateway", *arguments, "--home", self.home.root))
        self.gateways[name] = f"http://{host}:{port}"
        return self.gateways[name]

    def start_api(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """The REST API over this fleet's database; returns the address at which it serves."""
        port = self._port(host, port)
        environment = {DATABASE_VARIABLE: self.home.database_url}
        arguments = ["--listen", f"{host}:{port}", "--home", self.home.root]
        self._start(API, self._convoy("api", *arguments), environment=environment)
        return f"http://{host}:{port}"

    def _port(self, host: str, port: int) -> int:
        """`port`, if it can be had (`GatewayError`), for 0 one that nobody else gets, also while its owner restarts."""
        if port:
            from convoy_controller.gateway.server import bind  # the HTTP server comes with it

            bind(host, port).close()
            return port
        self._held.append(hold_port())
        return int(self._held[-1].getsockname()[1])

    def start_board(self, name: str, **settings: str | float) -> Child:
        """A board with a configuration of its own; `settings` are keys of that file."""
        return self.start_boards(name, 1, settings)

    def start_boards(
        self, name: str, count: int, settings: Mapping[str, str | float], *, prefix: Sequence[str] = ()
    ) -> Child:
        """`count` boards in one process, NAME-1, NAME-2, ... unless it is one; `settings` as in `start_board`.

        `prefix` goes before the command, to start it in another network namespace.
        """
        folder = self.directory / "boards"
        folder.mkdir(parents=True, exist_ok=True)
        values: Mapping[str, object] = {
            "name": name,
            "site": self.site,
            "broker": self.url,
            "state_dir": str(folder / name),
            "trusted_key": str(self.home.trusted_key),
            **settings,
        }
        config = folder / f"{name}.toml"
        # JSON's strings and numbers are TOML's, but for JSON's surrogate pairs.
        lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items()]
        config.write_text("".join(lines), encoding="utf-8")
        names = [name] if count == 1 else [f"{name}-{number}" for number in range(1, count + 1)]
        self.boards += [each for each in names if each not in self.boards]
        command = [*prefix, sys.executable, "-m", "convoy_device", "run", "--config", str(config)]
        command += ["--count", str(count)] if count > 1 else []
        return self._start(name, command, tier="boards", restart=None)

    def stop(self) -> None:
        """Stop everything, the youngest first."""
        try:
            self.processes.stop()
        finally:
            while self._held:
                self._held.pop().close()
            if self._lock is not None:
                self._lock.close()

    def _convoy(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "convoy_controller", *map(str, arguments)]

    def _start(
        self,
        name: str,
        command: list[str],
        *,
        tier: str = "",
        restart: Restart | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        log_file = self.directory / "logs" / f"{name}.log"
        variables = {**SINGLE_THREADED, **(environment or {})}
        return self.processes.start(name, command, log_file, env=variables, tier=tier, restart=restart or self._restart)


def wait_until(happened: Callable[[], bool], timeout_s: float, every_s: float = 0.1) -> bool:
    """Whether `happened()` came true within `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not happened():
        if time.monotonic() >= deadline:
            return False
        time.sleep(every_s)
    return True


def remove(directory: Path) -> None:
    """Delete a temporary fleet's folder, as far as it is there."""
    shutil.rmtree(directory, ignore_errors=True)
