"""`convoy profile`: the fleets one works with, by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convoy_controller.cli.completing import complete_profiles
from convoy_controller.cli.options import JsonOption
from convoy_controller.cli.printing import print_facts, print_json, print_table

if TYPE_CHECKING:
    from convoy_controller.cli.configuration import Profile, Profiles

_profile = typer.Typer(
    name="profile", no_args_is_help=True, help="Name the fleets you work with, and choose the one that commands mean."
)
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the profile.", autocompletion=complete_profiles)
]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(_profile)


@_profile.command("add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="1 to 63 of a-z, 0-9 and '-'.")],
    api: Annotated[str | None, typer.Option("--api", metavar="URL", help="The API of a fleet elsewhere.")] = None,
    token_file: Annotated[
        str | None,
        typer.Option(
            "--token-file",
            metavar="FILE",
            help="File with its token; - reads stdin. CONVOY_TOKEN unless given.",
        ),
    ] = None,
    home: Annotated[Path | None, typer.Option("--home", help="A fleet's folder on this machine.")] = None,
    database: Annotated[str | None, typer.Option("--database", help="A fleet's database.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Add a profile, or replace the one of that name; the first one is in use at once.

    JSON keys: profile, used, api, has_token, home, database. Exit codes: 0 added, 2 no such name or address can be,
    or the file cannot be used, 3 no such token file.
    """
    from convoy_schema.names import check_name

    from convoy_controller.api_client.opening import check_url
    from convoy_controller.cli import configuration

    check_name(name, "profile")
    token = _token(token_file) if api else ""
    if token_file is not None and not api:
        raise typer.BadParameter("a token belongs to an --api", param_hint="--token-file")
    folder = "" if home is None else str(home.expanduser().absolute())
    made = configuration.Profile(name, check_url(api) if api else "", token, folder, database or "")
    configuration.check(made)
    profiles = _change(lambda there: there.with_profile(made))
    _tell(made, profiles, as_json)


@_profile.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List the profiles; the one in use is marked.

    JSON: a list of profile, used, api, has_token, home, database. Exit codes: 0, 2 the file cannot be used.
    """
    from convoy_controller.cli import configuration

    there = configuration.load(configuration.location())
    if as_json:
        print_json([_plain(profile, there) for profile in there.profiles])
    elif there.profiles:
        print_table(
            ("", "PROFILE", "WHERE", "TOKEN"),
            [
                (
                    "*" if profile.name == there.used else "",
                    profile.name,
                    profile.place if not profile.database else profile.place + ", database of its own",
                    "yes" if profile.token else "-",
                )
                for profile in there.profiles
            ],
        )
    else:
        typer.echo("no profiles yet: `convoy profile add NAME --api URL`, or `--home FOLDER`, makes one")


@_profile.command("show")
def show(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="The one in use unless given.", autocompletion=complete_profiles),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a profile; of its token only that there is one.

    JSON keys: profile, used, api, has_token, home, database. Exit codes: 0, 2 the file cannot be used, 3 no such
    profile, or none in use.
    """
    from convoy_controller.cli import configuration
    from convoy_controller.cli.target import PROFILE_VARIABLE
    from convoy_controller.errors import NotFoundError

    there = configuration.load(configuration.location())
    chosen = name or os.environ.get(PROFILE_VARIABLE) or there.used
    if not chosen:
        raise NotFoundError("no profile is in use: `convoy profile use NAME` chooses one")
    _tell(there[chosen], there, as_json)


@_profile.command("use")
def use(name: NameArgument, as_json: JsonOption = False) -> None:
    """Let commands mean this fleet unless they are told another.

    JSON keys: profile, used, api, has_token, home, database. Exit codes: 0, 2 the file cannot be used, 3 no such
    profile.
    """
    from dataclasses import replace

    profiles = _change(lambda there: replace(there, used=there[name].name))
    _tell(profiles[name], profiles, as_json)


@_profile.command("remove")
def remove(name: NameArgument, as_json: JsonOption = False) -> None:
    """Forget a profile, and its token with it. The fleet is not touched.

    JSON keys: profile, used, api, has_token, home, database, of what was removed. Exit codes: 0 removed, 2 the file
    cannot be used, 3 no such profile.
    """
    from convoy_controller.cli import configuration

    before = configuration.load(configuration.location())
    gone = before[name]
    configuration.save(configuration.location(), before.without(name))
    if as_json:
        print_json(_plain(gone, before))
    else:
        typer.echo(f"profile {name} is removed")


def _change(change: Any) -> Profiles:
    """Read the file, change it, write it."""
    from convoy_controller.cli import configuration

    path = configuration.location()
    changed: Profiles = change(configuration.load(path))
    configuration.save(path, changed)
    return changed


def _token(file: str | None) -> str:
    """The token, from where no list of processes shows it."""
    from convoy_controller.cli.target import TOKEN_VARIABLE
    from convoy_controller.errors import NotFoundError

    if file is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip()
    try:
        text = typer.get_text_stream("stdin").read(4096) if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotFoundError(f"the token cannot be read from {file}: {error}") from error
    token = text.strip()
    if not token or len(token.split()) != 1 or len(token) > 1000:
        raise typer.BadParameter("the token must be one word of at most 1,000 characters", param_hint="--token-file")
    return token


def _plain(profile: Profile, there: Profiles) -> dict[str, Any]:
    return {
        "profile": profile.name,
        "used": profile.name == there.used,
        "api": profile.api or None,
        "has_token": bool(profile.token),
        "home": profile.home or None,
        "database": _without_password(profile.database) or None,
    }


def _without_password(url: str) -> str:
    import re

    return re.sub("(//[^:/@]*):[^@]*@", r"\1:***@", url)


def _tell(profile: Profile, there: Profiles, as_json: bool) -> None:
    if as_json:
        print_json(_plain(profile, there))
        return
    print_facts(
        [
            ("profile", profile.name),
            ("in use", "yes" if profile.name == there.used else "no"),
            ("api", profile.api),
            ("token", "yes" if profile.token else ""),
            ("home", profile.home),
            ("database", _without_password(profile.database)),
        ]
    )
