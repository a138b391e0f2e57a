"""`convoy conformance` as people and build servers call it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import Run, in_home
from own_ports import own_port


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return in_home(tmp_path, monkeypatch)


def test_a_board_that_never_comes_fails_and_says_what_it_must_trust(broker: Any, run: Run, tmp_path: Path) -> None:
    options = ("--broker", broker.url, "--board", "nobody", "--wait", 1, "--rule", "B7", "--rule", "B12", "--json")
    done = run("conformance", *options, code=1)
    report = json.loads(done.stdout)
    assert (report["role"], report["subject"]) == ("board", "nobody")
    first, second = report["verdicts"]
    assert (first["rule"], first["outcome"], first["came"]) == (
        "B7",
        "failed",
        "board nobody did not answer within 1 s",
    )
    assert (second["rule"], second["outcome"], second["why"]) == ("B12", "not-tried", first["came"])
    assert set(first) == {"rule", "outcome", "sentence", "expected", "came", "why"}
    assert (tmp_path / "conformance" / "trusted.pem").read_bytes().startswith(b"-----BEGIN PUBLIC KEY")
    assert str(tmp_path / "conformance" / "trusted.pem") in done.stderr
    shown = run("conformance", *options[:-1], code=1).stdout
    assert "  B7 failed" in shown
    assert "expected: an answer to a rebirth" in shown
    assert "0 passed, 1 failed, 1 not tried" in shown


def test_what_cannot_be_is_refused_before_anything_is_tried(run: Run) -> None:
    assert "no rule B99" in run("conformance", "--rule", "B99", code=3).stderr
    assert "HOST:PORT" in run("conformance", "--tap", "nowhere", code=2).stderr
    nowhere = f"mqtt://127.0.0.1:{own_port()}"
    assert "not encrypted" in run("conformance", "--broker", nowhere, "--ca", "ca.pem", code=4).stderr
