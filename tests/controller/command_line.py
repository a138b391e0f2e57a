"""`convoy` as the tests of its commands call it: in a home of its own, in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from convoy_controller.cli import app
from typer.testing import CliRunner, Result

Run = Callable[..., Result]
#: Goes before a command, to start it as a script does in its background: with SIGINT ignored.
IN_THE_BACKGROUND = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")


def in_home(home: Path, monkeypatch: pytest.MonkeyPatch, *before: str, columns: int = 200) -> Run:
    """`run("boards", "--json", code=0)`, with `before` put before the arguments and lines of `columns` characters."""
    monkeypatch.setenv("CONVOY_HOME", str(home))
    monkeypatch.delenv("CONVOY_DATABASE", raising=False)
    monkeypatch.setenv("COLUMNS", str(columns))

    def run(*arguments: object, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [*before, *map(str, arguments)])
        assert result.exit_code == code, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return run
