"""`convoy token`: made once, listed without the secret, revoked; each in the audit as `local`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Run, in_home
from convoy_controller.database import audit, tokens
from convoy_controller.database.engine import open_database
from convoy_controller.database.records import TokenRole, utc_now


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return in_home(tmp_path, monkeypatch)


def test_tokens_from_the_first_to_the_last(run: Run, tmp_path: Path):
    assert "convoy token create NAME" in run("token", "list").stdout
    made = run("token", "create", "ci", "--role", "operator", "--days", 30)
    text = made.stdout.strip().splitlines()[0]
    database = open_database(f"sqlite:///{tmp_path / 'convoy.db'}")
    found = tokens.bearer(database, text, utc_now())
    assert found is not None
    assert (found.name, found.role) == ("ci", TokenRole.OPERATOR)
    assert text not in run("token", "list").stdout
    assert "counts until" in run("token", "list").stdout
    assert "given once" in run("token", "create", "ci", code=1).stderr
    assert "counts no more" in run("token", "revoke", "ci").stdout
    assert json.loads(run("token", "list", "--json").stdout)[0]["revoked_at"]
    assert tokens.bearer(database, text, utc_now()) is None
    run("token", "revoke", "nobody", code=3)
    run("token", "create", "x", "--role", "king", code=2)
    lines = audit.lines(database, audit.AuditFilter(), 10)
    done = [line for line in lines if line.status is not None and line.status < 400]
    assert [(line.actor, line.operation) for line in done] == [("local", "revoke_token"), ("local", "create_token")]
    database.close()
