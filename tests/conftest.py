"""What tests of every side share: a real broker, on a free port, for as long as a test wants it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
_CONFIG = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
set_tcp_nodelay true
max_packet_size 1000000
max_queued_messages 4000
log_type error
log_type warning
"""


class MosquittoProcess:
    """A Mosquitto of its own; `stop` and `start` keep its port, so that what a restart does can be tested."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        assert _MOSQUITTO is not None
        config = self._directory / "mosquitto.conf"
        config.write_text(_CONFIG.format(port=self.port))
        with (self._directory / "mosquitto.log").open("ab") as output:
            self._process = subprocess.Popen([_MOSQUITTO, "-c", str(config)], stdout=output, stderr=output)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < deadline, (self._directory / "mosquitto.log").read_text()
                time.sleep(0.02)

    def stop(self) -> None:
        """Kill it, as a power loss would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def start_broker(tmp_path: Path) -> Iterator[Callable[[], MosquittoProcess]]:
    """Makes brokers that end with the test."""
    if _MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    started: list[MosquittoProcess] = []

    def start() -> MosquittoProcess:
        directory = tmp_path / f"mosquitto-{len(started)}"
        directory.mkdir()
        process = MosquittoProcess(directory)
        started.append(process)
        process.start()
        return process

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def broker(start_broker: Callable[[], MosquittoProcess]) -> MosquittoProcess:
    """A running Mosquitto; its address is `broker.url`."""
    return start_broker()
