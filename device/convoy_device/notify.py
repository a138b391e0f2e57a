"""What systemd is told, and asks for: datagrams to NOTIFY_SOCKET, and the interval of its watchdog.

The protocol is `sd_notify(3)`: lines of VARIABLE=value in one datagram. Nothing is sent where systemd did not start the
process, and nothing that goes wrong here is worth more than a line in the log.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

log = logging.getLogger(__name__)

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"
#: Characters of a status line, well below what a datagram takes.
_MOST_STATUS = 500


class Notifier:
    """The way to the service manager; `environment` is the process's own. Without NOTIFY_SOCKET it does nothing."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # A name that begins with '@' is an abstract one, of which the kernel wants a NUL there.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None
        if self._socket is not None:
            self._socket.setblocking(False)
        #: Seconds within which the watchdog wants to hear `WATCHDOG`; None: there is none.
        self.watchdog_s = _watchdog_s(environment)

    @property
    def is_active(self) -> bool:
        """Whether somebody listens."""
        return self._socket is not None

    def send(self, *lines: str) -> bool:
        """Send `lines` in one datagram; whether they went out."""
        if self._socket is None:
            return False
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.warning("systemd was not told %s: %s", lines[0], error)
            return False
        return True

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def status(text: str) -> str:
    """The line that `systemctl status` shows."""
    return f"STATUS={' '.join(text.split())[:_MOST_STATUS]}"


def extend_start(seconds: float) -> str:
    """The line that gives a start that gets on so much longer, from now."""
    return f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}"


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    text, owner = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    # A child inherits the variables, and is not the one that is watched.
    if not text.isdigit() or int(text) == 0 or (owner and owner != str(os.getpid())):
        return None
    return int(text) / 1e6
