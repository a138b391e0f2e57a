"""Has a broker read its certificates, revocations and access rules anew: SIGHUP, to the one that this fleet runs."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from pathlib import Path

from convoy_controller.errors import BrokerError

#: Where a Mosquitto that we start writes its process id, in HOME/tls.
PID_FILE = "broker.pid"
COMMAND_S = 30.0


def reload_broker(folder: Path, command: str = "") -> bool:
    """Run `command`, or signal the broker whose id is in `folder`; False where there is neither. `BrokerError`."""
    if command:
        _run(command)
        return True
    pid = _running(folder / PID_FILE)
    if pid is None:
        return False
    os.kill(pid, signal.SIGHUP)
    return True


def _running(file: Path) -> int | None:
    """The process in `file`, if it is a Mosquitto: the number may be someone else's by now."""
    try:
        pid = int(file.read_text(encoding="ascii"))
        name = Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return pid if name == "mosquitto" else None


def _run(command: str) -> None:
    try:
        subprocess.run(shlex.split(command), check=True, timeout=COMMAND_S, capture_output=True, text=True)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", "") or ""
        raise BrokerError(f"the broker was not reloaded, {command!r} failed: {error} {said}".rstrip()) from error
