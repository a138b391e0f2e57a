"""Every command there is: what it says of itself, that it has JSON, and that bad input ends in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import Run, in_home
from convoy_controller.cli import app
from convoy_controller.cli.exit_codes import MEANINGS, ExitCode
from convoy_controller.cli.printing import console
from convoy_controller.cli.program import EPILOG
from typer.main import get_command
from typer.testing import CliRunner

#: What runs until it is stopped, and prints where it listens; the demonstration writes its account by --report.
PROCESSES = {"up", "api", "controller", "gateway", "enroll-server", "demo"}


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its path."""
    known = getattr(command, "commands", None)
    if known is None:
        yield " ".join(path), command
        return
    for name, below in sorted(known.items()):
        yield from leaves(below, (*path, name))


COMMANDS = dict(leaves(get_command(app)))
PRINTING = sorted(set(COMMANDS) - PROCESSES)


def options(command: Any) -> set[str]:
    return {name for each in command.params for name in each.opts}


REMOTE = sorted(name for name, command in COMMANDS.items() if {"--api", "--profile"} <= options(command))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return in_home(tmp_path / "home", monkeypatch)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_says_what_it_does_and_how_it_ends(name: str) -> None:
    said = " ".join((COMMANDS[name].help or "").split())
    assert re.match(r"[A-Z].*?[.:;] ", f"{said} "), name
    codes = re.search(r"Exit codes: (.*?\.)(?: |$)", said)
    assert codes, f"{name} does not say its exit codes"
    assert {int(code) for code in re.findall(r"(?:^|, |; )([0-9])\b", codes[1])} <= {code.value for code in ExitCode}
    assert all(each.help for each in COMMANDS[name].params if each.name != "help"), name


@pytest.mark.parametrize("name", PRINTING)
def test_what_prints_has_json_with_documented_keys(name: str) -> None:
    command = COMMANDS[name]
    assert "--json" in options(command), name
    assert re.search(r"JSON(?: keys)?:", " ".join((command.help or "").split())), name


@pytest.mark.parametrize("name", sorted(PROCESSES))
def test_a_process_is_about_this_machine(name: str) -> None:
    assert not {"--api", "--profile"} & options(COMMANDS[name])


@pytest.mark.parametrize("name", ["boards", "board forget", "key floor set", "up"])
def test_help_is_a_letter_away_and_an_unknown_option_is_wrong_usage(run: Run, name: str) -> None:
    words = name.split()
    assert "Usage: " in run(*words, "-h").output
    run(*words, "--no-such-option", code=ExitCode.USAGE)


#: What waits or measures, and is asked to do so no longer than it must; the others take no such option.
SHORT = {"gc": ["--wait", "0"], "infer": ["--url", "nowhere"], "conformance": ["--rule", "nowhere"]}


@pytest.mark.parametrize("name", sorted(set(PRINTING) - {"bench"}))
def test_bad_input_ends_in_a_sentence(run: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVOY_CONFIG", "/nowhere/config.toml")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    word = "../Not_A_Name\u2603"
    command, given = COMMANDS[name], [*name.split(), *SHORT.get(name, [])]
    for each in command.params:
        if each.required and each.param_type_name == "option":
            given += [each.opts[0], word]
    given += [word for each in command.params if each.required and each.param_type_name == "argument"]
    result = CliRunner().invoke(app, given)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in {code.value for code in ExitCode}
    assert "Traceback" not in result.output


@pytest.mark.parametrize("name", REMOTE)
def test_a_fleet_that_is_away_is_said_to_be(run: Run, name: str, tmp_path: Path) -> None:
    command = COMMANDS[name]
    (tmp_path / "a.npz").write_bytes(b"")
    given = [*name.split(), "--api", "http://127.0.0.1:9"]
    for each in command.params:
        if each.required:
            given += ["a"] if each.param_type_name == "argument" else [each.opts[0], "a"]
    if name in ("scale",):
        given += ["--boards", "1"]
    if name in ("model import",):
        return  # reads its files first
    found = run(*given, code=ExitCode.UNREACHABLE)
    assert "http://127.0.0.1:9 cannot be reached" in " ".join(found.stderr.split())


def test_the_exit_codes_are_all_explained() -> None:
    assert set(MEANINGS) == set(ExitCode)
    assert {int(code) for code in re.findall(r"\b([0-9]) ", EPILOG)} == {code.value for code in ExitCode}


def test_no_color_is_heeded_and_a_pipe_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert console().color_system is None
    monkeypatch.setenv("NO_COLOR", "1")
    assert console().no_color
