"""Commands about a fleet: which one they mean, as options that all of them take, and the client they are given.

`@fleet_command` gives a command its `FleetClient` as the parameter `fleet`, and adds the options that say which one.
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

    @functools.wraps(command)
    def run(**arguments: Any) -> T:
        given = Given(**{name: arguments.pop(name) for name in _OPTIONS})
        with opened_fleet(given) as fleet:
            return command(fleet=fleet, **arguments)

    hints = typing.get_type_hints(command, localns={"FleetClient": Any}, include_extras=True)
    found = inspect.signature(command)
    own = [each.replace(annotation=hints[each.name]) for each in found.parameters.values() if each.name != "fleet"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in _OPTIONS.items()
    ]
    run.__signature__ = found.replace(  # type: ignore[attr-defined]
        parameters=[*(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own), *added],
        return_annotation=None,
    )
    run.__annotations__ = {each.name: each.annotation for each in (*own, *added)}
    return run


@contextmanager
def opened_fleet(given: Given) -> Iterator[FleetClient]:
    """A client of the fleet that is meant; raises what `resolve` raises, `DatabaseError`, and what calls raise."""
    from convoy_controller.api_client.opening import Elsewhere, open_client

    target = resolve(given)
    if isinstance(target, Elsewhere) and target.exposes_token:
        typer.secho(f"the token travels to {target.url} unencrypted: use https://", fg="yellow", err=True)
    with open_client(target) as client:
        yield client
