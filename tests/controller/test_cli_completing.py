"""Names that the shell completes: as it asks for them, over a home and an API, and quiet when nobody is there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from convoy_controller.cli.completing import complete_boards, complete_deployments, complete_models, complete_profiles
from convoy_controller.cli.configuration import Profile, Profiles, save
from database_samples import Fleet, publish, three_boards


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    for name in ("CONVOY_API", "CONVOY_PROFILE", "CONVOY_DATABASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CONVOY_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("CONVOY_HOME", str(tmp_path))
    made = three_boards(tmp_path)
    publish(made.database, tmp_path, name="other")
    yield made
    made.database.close()


class Typed:
    """What was typed before the word."""

    def __init__(self, **params: object) -> None:
        self.params = params


def test_names_of_a_home(fleet: Fleet) -> None:
    nothing = Typed()
    assert complete_boards(nothing, "") == ["board-1", "board-2", "board-3"]  # type: ignore[arg-type]
    assert complete_boards(nothing, "board-2") == ["board-2"]  # type: ignore[arg-type]
    assert complete_boards(nothing, "%") == []  # type: ignore[arg-type]
    assert complete_deployments(nothing, "d") == ["digits"]  # type: ignore[arg-type]
    assert "other" in complete_models(nothing, "")  # type: ignore[arg-type]


def test_a_fleet_that_is_not_there_offers_nothing_and_is_not_made(
    fleet: Fleet, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    assert complete_boards(Typed(home=empty), "") == []  # type: ignore[arg-type]
    assert not empty.exists()
    assert complete_boards(Typed(api="http://127.0.0.1:9"), "") == []  # type: ignore[arg-type]
    assert complete_boards(Typed(api="http://127.0.0.1:9", home=empty), "") == []  # type: ignore[arg-type]
    assert complete_boards(Typed(database="postgresql://nobody@127.0.0.1:9/x"), "") == []  # type: ignore[arg-type]
    assert capfd.readouterr() == ("", "")


def test_names_of_profiles(fleet: Fleet, tmp_path: Path) -> None:
    assert complete_profiles(Typed(), "") == []  # type: ignore[arg-type]
    save(tmp_path / "config.toml", Profiles((Profile("far", "http://h"), Profile("here", home="/x"))))
    assert complete_profiles(Typed(), "f") == ["far"]  # type: ignore[arg-type]


def test_a_shell_is_answered(fleet: Fleet) -> None:
    asked = {"_CONVOY_COMPLETE": "complete_bash", "COMP_WORDS": "convoy why boa", "COMP_CWORD": "2"}
    program = "from convoy_controller.cli import main; main()"
    command = [sys.executable, "-c", f"import sys; sys.argv[0] = 'convoy'; {program}"]
    found = subprocess.run(command, check=True, env={**os.environ, **asked}, capture_output=True, text=True, timeout=60)
    assert found.stdout.split() == ["board-1", "board-2", "board-3"]
    assert found.stderr == ""
