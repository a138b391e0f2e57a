"""Commands about a fleet: which one they mean, as options that all of them take, and the client they are given.

`@fleet_command` gives a command its `FleetClient` as the parameter `fleet`, `@target_command` only says where it is;
both add the options that say which one.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from convoy_controller.cli.completing import complete_profiles
from convoy_controller.cli.options import DATABASE_HELP, HOME_HELP, PANEL
from convoy_controller.cli.target import Given, resolve

if TYPE_CHECKING:
    from convoy_controller.api_client.client import FleetClient
    from convoy_controller.api_client.opening import Elsewhere
    from convoy_controller.home import Home

T = TypeVar("T")

_OPTIONS: dict[str, Any] = {
    "profile": Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="NAME",
            help="The fleet of this profile (`convoy profile`).  [env: CONVOY_PROFILE]",
            autocompletion=complete_profiles,
            rich_help_panel=PANEL,
        ),
    ],
    "api": Annotated[
        str | None,
        typer.Option(
            "--api",
            metavar="URL",
            help="The fleet behind this API.  [env: CONVOY_API, CONVOY_TOKEN]",
            rich_help_panel=PANEL,
        ),
    ],
    "home": Annotated[
        Path | None, typer.Option("--home", help=f"{HOME_HELP}  [env: CONVOY_HOME]", rich_help_panel=PANEL)
    ],
    "database": Annotated[
        str | None,
        typer.Option("--database", help=f"{DATABASE_HELP}  [env: CONVOY_DATABASE]", rich_help_panel=PANEL),
    ],
}


def fleet_command(command: Callable[..., T]) -> Callable[..., T]:
    """`command` with the options that say which fleet; its parameter `fleet` is a client of it while it runs."""

    def run(given: Given, arguments: dict[str, Any]) -> T:
        with opened_fleet(given) as fleet:
            return command(fleet=fleet, **arguments)

    return _with_options(command, "fleet", run)


def target_command(command: Callable[..., T]) -> Callable[..., T]:
    """As `fleet_command`, for what does its work here if the fleet is here: its parameter `target` says where it is."""

    def run(given: Given, arguments: dict[str, Any]) -> T:
        return command(target=resolve(given), **arguments)

    return _with_options(command, "target", run)


def _with_options(
    command: Callable[..., T], left_out: str, call: Callable[[Given, dict[str, Any]], T]
) -> Callable[..., T]:
    """A function that Typer takes for `command`, with the options that say where in place of parameter `left_out`."""

    @functools.wraps(command)
    def run(**arguments: Any) -> T:
        given = Given(**{name: arguments.pop(name) for name in _OPTIONS})
        return call(given, arguments)

    places = {"FleetClient": Any, "Home": Any, "Elsewhere": Any}
    hints = typing.get_type_hints(command, localns=places, include_extras=True)
    found = inspect.signature(command)
    own = [
        each.replace(annotation=hints[each.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for each in found.parameters.values()
        if each.name != left_out
    ]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in _OPTIONS.items()
    ]
    run.__signature__ = found.replace(parameters=[*own, *added], return_annotation=None)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in (*own, *added)}
    return run


@contextmanager
def opened_fleet(given: Given) -> Iterator[FleetClient]:
    """A client of the fleet that is meant; raises what `resolve` raises, `DatabaseError`, and what calls raise."""
    with client_of(resolve(given)) as client:
        yield client


@contextmanager
def client_of(target: Home | Elsewhere) -> Iterator[FleetClient]:
    """A client of that fleet; a token that would travel readable is warned of."""
    from convoy_controller.api_client.opening import Elsewhere, open_client

    if isinstance(target, Elsewhere) and target.exposes_token:
        typer.secho(f"the token travels to {target.url} unencrypted: use https://", fg="yellow", err=True)
    with open_client(target) as client:
        yield client
