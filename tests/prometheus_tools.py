"""Prometheus and promtool, where .ci/setup has put them or the system has them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_FETCHED = Path(__file__).parents[1] / ".venv" / "prometheus" / "usr" / "bin"


def tool(name: str) -> str:
    """The program of that name; skips the test where there is none."""
    fetched = _FETCHED / name
    found = str(fetched) if fetched.is_file() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not here: .ci/setup takes it from Debian's package prometheus, where there is apt")
    return found


def promtool(*arguments: str | Path, given: bytes | None = None) -> str:
    """What promtool says; fails the test when it finds a fault."""
    command = [tool("promtool"), *map(str, arguments)]
    done = subprocess.run(command, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout.decode()
    return done.stdout.decode()


def filled(query: str) -> str:
    """A query of the Grafana board with its variables as Grafana fills them in."""
    return query.replace("$__rate_interval", "1m").replace("$deployment", ".*").replace("$board", ".*")
