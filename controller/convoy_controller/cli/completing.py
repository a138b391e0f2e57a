"""What the shell offers for names: boards, deployments, models, groups of the fleet that is meant, and profiles.

Asked at every press of a key, so it is quick or silent: nothing is said of a fleet that is away. A home on this machine
is looked into directly, since making the API in this process takes longer than the answer.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from convoy_controller.api_client.client import FleetClient
    from convoy_controller.home import Home

#: Seconds that a fleet elsewhere is given, and names that are offered.
WAIT_S = 1.0
MOST_NAMES = 200


def complete_boards(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of boards."""
    return _names(ctx, incomplete, "board", lambda fleet: (line.board for line in fleet.boards()))


def complete_deployments(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of deployments that have not ended."""
    return _names(ctx, incomplete, "deployment", lambda fleet: (line.deployment for line in fleet.deployments()))


def complete_models(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of models."""
    return _names(ctx, incomplete, "model", lambda fleet: (line.model for line in fleet.models()))


def complete_groups(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of groups."""
    return _names(ctx, incomplete, "group", lambda fleet: (line.group for line in fleet.groups()))


def complete_profiles(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of profiles."""
    with contextlib.suppress(Exception):
        from convoy_controller.cli import configuration

        there = configuration.load(configuration.location())
        return [each.name for each in there.profiles if each.name.startswith(incomplete)]
    return []


def _names(ctx: typer.Context, incomplete: str, kind: str, ask: Callable[[FleetClient], Iterable[str]]) -> list[str]:
    with contextlib.suppress(Exception):  # whatever is wrong, a shell that waits for a word is no place to say it
        from convoy_controller.cli.target import Given, resolve
        from convoy_controller.home import Home

        target = resolve(Given(**{name: ctx.params.get(name) for name in ("api", "home", "database", "profile")}))
        if isinstance(target, Home):
            return _names_here(target, incomplete, kind)
        from convoy_controller.api_client.opening import open_client

        with open_client(target, WAIT_S) as fleet:
            return sorted({name for name in ask(fleet) if name.startswith(incomplete)})[:MOST_NAMES]
    return []


def _names_here(home: Home, incomplete: str, kind: str) -> list[str]:
    from convoy_controller.database.engine import open_database
    from convoy_controller.database.names import Named, names

    file = home.database_url.removeprefix("sqlite:///")
    if file != home.database_url and not os.path.exists(file):  # noqa: PTH110 - a press of a key makes no database
        return []
    database = open_database(home.database_url)
    try:
        return list(names(database, Named(kind), incomplete, MOST_NAMES))
    finally:
        database.close()
