"""A real Mosquitto on a free port, for tests that look at what a broker does when it goes and comes back."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

from own_ports import own_port
from patience import PATIENCE_S

#: None where it is not installed.
MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
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
        self.port = own_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        assert MOSQUITTO is not None
        config = self._directory / "mosquitto.conf"
        config.write_text(_CONFIG.format(port=self.port))
        with (self._directory / "mosquitto.log").open("ab") as output:
            self._process = subprocess.Popen([MOSQUITTO, "-c", str(config)], stdout=output, stderr=output)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert self._process.poll() is None, (self._directory / "mosquitto.log").read_text()
                assert time.monotonic() < deadline, (self._directory / "mosquitto.log").read_text()
                time.sleep(0.02)

    def stop(self) -> None:
        """Kill it, as a power loss would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
