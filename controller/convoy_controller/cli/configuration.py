"""The command line's own file, `~/.config/convoy/config.toml`: the fleets one works with, by name, and which is in use.

It may hold tokens, so it is written for its owner alone, and one that others may read is refused.
"""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convoy_schema.errors import ConvoyError
from convoy_schema.names import check_name
from convoy_schema.toml import parse_toml

from convoy_controller.errors import ConfigurationError, NotFoundError

#: Environment variable that names another file.
CONFIG_VARIABLE = "CONVOY_CONFIG"
_KEYS = ("api", "token", "home", "database")


@dataclass(frozen=True)
class Profile:
    """One fleet: behind an `api`, or of a `home` or `database` that this machine reaches. '' where it is not said."""

    name: str
    api: str = ""
    token: str = field(default="", repr=False)
    home: str = ""
    database: str = ""

    @property
    def place(self) -> str:
        """Where it is, for people; never the token."""
        if self.api:
            return self.api
        from convoy_controller.home import Home

        return str(Home.locate(Path(self.home) if self.home else None, environment={}).root)


@dataclass(frozen=True)
class Profiles:
    """All that the file says."""

    profiles: tuple[Profile, ...] = ()
    used: str = ""

    def __getitem__(self, name: str) -> Profile:
        """Raises `NotFoundError`."""
        for profile in self.profiles:
            if profile.name == name:
                return profile
        known = ", ".join(profile.name for profile in self.profiles) or "none"
        raise NotFoundError(f"there is no profile {name[:63]!r}: there are {known}; `convoy profile add` makes one")

    def with_profile(self, profile: Profile) -> Profiles:
        """With that one, in place of one of its name; the first one is used from then on."""
        rest = [each for each in self.profiles if each.name != profile.name]
        made = tuple(sorted((*rest, profile), key=lambda each: each.name))
        return Profiles(made, self.used or profile.name)

    def without(self, name: str) -> Profiles:
        """Raises `NotFoundError`."""
        gone = self[name]
        rest = tuple(each for each in self.profiles if each != gone)
        return Profiles(rest, "" if self.used == name else self.used)


def location(environment: Mapping[str, str] | None = None) -> Path:
    """Where the file is: CONVOY_CONFIG, else as the XDG base directories say."""
    variables = os.environ if environment is None else environment
    if variables.get(CONFIG_VARIABLE):
        return Path(variables[CONFIG_VARIABLE]).expanduser()
    base = Path(variables.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    return base / "convoy" / "config.toml"


def load(path: Path) -> Profiles:
    """What the file says, nothing where there is none; raises `ConfigurationError` naming file and key."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(1024 * 1024 + 1).decode("utf-8")
    except FileNotFoundError:
        return Profiles()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    try:
        found = _profiles(parse_toml(text))
    except ConvoyError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO) and any(profile.token for profile in found.profiles):
        raise ConfigurationError(f"{path} holds tokens and may be read by others: chmod 600 {path}")
    return found


def _profiles(table: Mapping[str, Any]) -> Profiles:
    unknown = set(table) - {"use", "profiles"}
    if unknown:
        raise ConfigurationError(f"the keys are use and profiles, {sorted(unknown)[0][:40]!r} is another")
    given = table.get("profiles", {})
    if not isinstance(given, dict):
        raise ConfigurationError("profiles must be tables, [profiles.NAME] each")
    made = tuple(_profile(name, value) for name, value in sorted(given.items()))
    used = table.get("use", "")
    if not isinstance(used, str) or (used and used not in given):
        raise ConfigurationError("use must be the name of a profile that is there")
    return Profiles(made, used)


def _profile(name: str, value: Any) -> Profile:
    check_name(name, "profile")
    if not isinstance(value, dict):
        raise ConfigurationError(f"profiles.{name} must be a table")
    for key, text in value.items():
        if key not in _KEYS:
            raise ConfigurationError(f"profiles.{name}: the keys are {', '.join(_KEYS)}, {key[:40]!r} is another")
        if not isinstance(text, str):
            raise ConfigurationError(f"profiles.{name}.{key} must be text")
    profile = Profile(name, **value)
    check(profile)
    return profile


def check(profile: Profile) -> None:
    """Raises `ConfigurationError` for a profile that is both elsewhere and here, or neither."""
    if profile.api and (profile.home or profile.database):
        raise ConfigurationError(
            f"profile {profile.name} has an api, and a home or database beside it: give one of them"
        )
    if profile.token and not profile.api:
        raise ConfigurationError(f"profile {profile.name} has a token without an api: a home needs none")
    if not (profile.api or profile.home or profile.database):
        raise ConfigurationError(f"profile {profile.name} says neither api nor home nor database")


def save(path: Path, profiles: Profiles) -> None:
    """Replace the file, for its owner's eyes only; raises `ConfigurationError`."""
    lines = ["# Written by `convoy profile`; it may hold tokens, so it is its owner's alone.\n"]
    if profiles.used:
        lines.append(f"use = {_quoted(profiles.used)}\n")
    for profile in profiles.profiles:
        lines.append(f"\n[profiles.{profile.name}]\n")
        said = dataclasses.asdict(profile)
        lines += [f"{key} = {_quoted(said[key])}\n" for key in _KEYS if said[key]]
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".config-")  # 0600 from its first moment on
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.writelines(lines)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error}") from error


def _quoted(text: str) -> str:
    """A basic string of TOML; JSON's escapes are a part of TOML's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
