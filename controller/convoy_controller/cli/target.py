"""Which fleet a command is about: flags before the environment, the environment before the profile in use.

| what | flag | environment |
|---|---|---|
| an API elsewhere | `--api` (its token: CONVOY_TOKEN) | CONVOY_API |
| a home or database here | `--home`, `--database` | CONVOY_HOME, CONVOY_DATABASE |
| a profile | `--profile` | CONVOY_PROFILE |

Of two on one level the upper line wins, but two kinds of flags together are an error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from convoy_controller.home import DATABASE_VARIABLE, HOME_VARIABLE, Home

if TYPE_CHECKING:
    from convoy_controller.api_client.opening import Elsewhere
    from convoy_controller.cli.configuration import Profile

API_VARIABLE = "CONVOY_API"
TOKEN_VARIABLE = "CONVOY_TOKEN"
PROFILE_VARIABLE = "CONVOY_PROFILE"


@dataclass(frozen=True)
class Given:
    """The flags of one call."""

    api: str | None = None
    home: Path | None = None
    database: str | None = None
    profile: str | None = None


def resolve(given: Given, environment: Mapping[str, str] | None = None) -> Home | Elsewhere:
    """The fleet that is meant; raises `typer.BadParameter`, `NotFoundError` for a profile, `ConfigurationError`."""
    variables = os.environ if environment is None else environment
    kinds = [given.api is not None, given.home is not None or given.database is not None, given.profile is not None]
    if sum(kinds) > 1:
        raise typer.BadParameter("--api, --profile, and --home or --database name a fleet each: give one of the three")
    if given.api is not None:
        return _elsewhere(given.api, variables.get(TOKEN_VARIABLE, ""))
    if kinds[1]:
        return Home.locate(given.home, given.database, variables)
    if given.profile is not None:
        return of_profile(_named(given.profile, variables), variables)
    if variables.get(API_VARIABLE):
        return _elsewhere(variables[API_VARIABLE], variables.get(TOKEN_VARIABLE, ""))
    if variables.get(HOME_VARIABLE) or variables.get(DATABASE_VARIABLE):
        return Home.locate(environment=variables)
    name = variables.get(PROFILE_VARIABLE, "") or _used(variables)
    return of_profile(_named(name, variables), variables) if name else Home.locate(environment=variables)


def home_here(home: Path | None, database: str | None = None) -> Home:
    """For commands about this machine: as `resolve`, and a profile counts if it names a home or database."""
    if home is not None or database is not None or os.environ.get(HOME_VARIABLE) or os.environ.get(DATABASE_VARIABLE):
        return Home.locate(home, database)
    name = os.environ.get(PROFILE_VARIABLE, "") or _used(os.environ)
    profile = _named(name, os.environ) if name else None
    return Home.locate() if profile is None or profile.api else _home_of(profile)


def of_profile(profile: Profile, variables: Mapping[str, str]) -> Home | Elsewhere:
    """Where that profile leads; CONVOY_TOKEN wins over its token."""
    if profile.api:
        return _elsewhere(profile.api, variables.get(TOKEN_VARIABLE, "") or profile.token)
    return _home_of(profile)


def _home_of(profile: Profile) -> Home:
    return Home.locate(Path(profile.home) if profile.home else None, profile.database or None, {})


def _elsewhere(url: str, token: str) -> Elsewhere:
    from convoy_controller.api_client.opening import Elsewhere, check_url

    return Elsewhere(check_url(url), token.strip())


def _named(name: str, variables: Mapping[str, str]) -> Profile:
    from convoy_controller.cli import configuration

    return configuration.load(configuration.location(variables))[name]


def _used(variables: Mapping[str, str]) -> str:
    """The profile in use, '' when there is none: without a file this costs one look."""
    from convoy_controller.cli import configuration

    path = configuration.location(variables)
    return configuration.load(path).used if path.exists() else ""
