"""Profiles of several fleets, and which fleet a command means."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import typer
from command_line import Run, in_home
from convoy_controller.api_client.opening import Elsewhere
from convoy_controller.cli import configuration
from convoy_controller.cli.configuration import Profile, Profiles, load, location, save
from convoy_controller.cli.target import Given, home_here, resolve
from convoy_controller.errors import ConfigurationError, NotFoundError
from convoy_controller.home import Home
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "deep" / "config.toml"
    monkeypatch.setenv("CONVOY_CONFIG", str(path))
    for name in ("CONVOY_API", "CONVOY_TOKEN", "CONVOY_PROFILE", "CONVOY_HOME", "CONVOY_DATABASE"):
        monkeypatch.delenv(name, raising=False)
    return path


@pytest.fixture
def run(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    made = in_home(tmp_path / "home", monkeypatch)
    monkeypatch.delenv("CONVOY_HOME")
    return made


texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=40)


@given(token=texts, home=texts.filter(bool), database=texts)
def test_what_is_saved_is_loaded_again(
    token: str, home: str, database: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("config") / "config.toml"
    made = Profiles((Profile("far", "https://h", token), Profile("here", home=home, database=database)), "far")
    save(path, made)
    assert load(path) == made


def test_the_commands_tell_of_a_token_only_that_it_is_there(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVOY_TOKEN", "very-secret")
    said = [run("profile", "add", "far", "--api", "https://fleet.example:8081/").output]
    monkeypatch.delenv("CONVOY_TOKEN")
    said.append(run("profile", "add", "here", "--home", "/srv/fleet").output)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert "very-secret" in file.read_text()
    listed = json.loads(run("profile", "list", "--json").stdout)
    assert listed == [
        {
            "profile": "far",
            "used": True,
            "api": "https://fleet.example:8081",
            "has_token": True,
            "home": None,
            "database": None,
        },
        {"profile": "here", "used": False, "api": None, "has_token": False, "home": "/srv/fleet", "database": None},
    ]
    for arguments in (("list",), ("show",), ("show", "far"), ("use", "here"), ("remove", "far", "--json"), ("list",)):
        said.append(run("profile", *arguments).output)
    assert "very-secret" not in "".join(said) + file.read_text()
    assert json.loads(run("profile", "show", "--json").stdout)["profile"] == "here"


def test_a_token_comes_from_a_file_but_not_from_the_command_line(run: Run, file: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    run("profile", "add", "far", "--api", "http://h", "--token-file", tmp_path / "token")
    assert load(file)["far"].token == "secret"
    run("profile", "add", "far", "--api", "http://h", "--token-file", tmp_path / "none", code=3)
    run("profile", "add", "here", "--home", "/x", "--token-file", tmp_path / "token", code=2)
    assert "--token " not in run("profile", "add", "--help").output


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "Bad_Name", "--home", "/x"),
        ("add", "none"),
        ("add", "both", "--home", "/x", "--api", "http://h"),
        ("add", "bad", "--api", "nowhere"),
    ],
)
def test_a_profile_that_leads_nowhere_is_refused(run: Run, file: Path, arguments: tuple[str, ...]) -> None:
    run("profile", *arguments, code=2)
    assert not file.exists()


def test_a_profile_that_is_not_there(run: Run) -> None:
    for arguments in (("use", "x"), ("remove", "x"), ("show", "x"), ("show",)):
        run("profile", *arguments, code=3)
    run("boards", "--profile", "x", code=3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("use = 5", "use must be"),
        ('use = "x"', "use must be"),
        ("colour = 1", "'colour' is another"),
        ("profiles = 1", "must be tables"),
        ("[profiles.a]\ntoken = 1", "must be text"),
        ('[profiles.a]\nurl = "x"', "'url' is another"),
        ('[profiles.A]\nhome = "x"', "profile 'A' must be"),
        ("[profiles.a]", "says neither"),
        ("[", "not TOML"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_what_is_wrong(run: Run, file: Path, text: str, says: str) -> None:
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=says) as found:
        load(file)
    assert str(file) in str(found.value)
    run("boards", code=2)


def test_tokens_that_others_may_read_are_refused(file: Path) -> None:
    save(file, Profiles((Profile("far", "http://h", "secret"),)))
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load(file)


# Which fleet ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def environment(file: Path) -> dict[str, str]:
    save(file, Profiles((Profile("far", "http://far", "stored"), Profile("here", home="/here")), "far"))
    return {"CONVOY_CONFIG": str(file)}


def test_flags_before_environment_before_profile_before_default(environment: dict[str, str]) -> None:
    assert resolve(Given(), {"CONVOY_CONFIG": "/nowhere"}) == Home.locate(environment={})
    assert resolve(Given(), environment) == Elsewhere("http://far", "stored")
    environment["CONVOY_PROFILE"] = "here"
    assert resolve(Given(), environment) == Home.locate(Path("/here"), environment={})
    environment["CONVOY_HOME"] = "/env"
    assert resolve(Given(), environment) == Home.locate(Path("/env"), environment={})
    environment["CONVOY_API"] = "http://env"
    assert resolve(Given(), environment) == Elsewhere("http://env")
    assert resolve(Given(profile="far"), environment) == Elsewhere("http://far", "stored")
    assert resolve(Given(home=Path("/flag")), environment) == Home.locate(Path("/flag"), environment={})
    assert resolve(Given(api="http://flag"), environment) == Elsewhere("http://flag")


def test_a_profiles_token_goes_to_its_own_address_only(environment: dict[str, str]) -> None:
    target = resolve(Given(api="http://elsewhere"), environment)
    assert isinstance(target, Elsewhere)
    assert target.token == ""
    environment["CONVOY_TOKEN"] = "mine"
    for wanted in (Given(api="http://elsewhere"), Given(profile="far")):
        target = resolve(wanted, environment)
        assert isinstance(target, Elsewhere)
        assert target.token == "mine"


def test_two_fleets_at_once_are_refused(environment: dict[str, str]) -> None:
    with pytest.raises(typer.BadParameter, match="one of the three"):
        resolve(Given(api="http://h", home=Path("/x")), environment)
    with pytest.raises(NotFoundError):
        resolve(Given(profile="x"), environment)


def test_what_is_about_this_machine_takes_a_profiles_home_and_no_url(
    file: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert home_here(None) == Home.locate(environment={})
    monkeypatch.setenv("CONVOY_PROFILE", "here")
    assert home_here(None) == Home.locate(Path("/here"), environment={})
    assert home_here(Path("/flag")) == Home.locate(Path("/flag"), environment={})


def test_the_file_is_where_the_base_directories_say() -> None:
    assert location({"XDG_CONFIG_HOME": "/xdg"}) == Path("/xdg/convoy/config.toml")
    assert location({}) == Path("~/.config/convoy/config.toml").expanduser()
    assert configuration.location({"CONVOY_CONFIG": "/x"}) == Path("/x")
