"""What the shell offers for names: boards, deployments, models, groups of the fleet that is meant, and profiles.

Asked at every press of a key, so it is quick or silent: nothing is said of a fleet that is away.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from convoy_controller.api_client.client import FleetClient

#: Seconds that a fleet elsewhere is given, and names that are offered.
WAIT_S = 1.0
MOST_NAMES = 200


def complete_boards(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of boards."""
    return _names(ctx, incomplete, lambda fleet: (line.board for line in fleet.boards()))


def complete_deployments(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of deployments that have not ended."""
    return _names(ctx, incomplete, lambda fleet: (line.deployment for line in fleet.deployments()))


def complete_models(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of models."""
    return _names(ctx, incomplete, lambda fleet: (line.model for line in fleet.models()))


def complete_groups(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of groups."""
    return _names(ctx, incomplete, lambda fleet: (line.group for line in fleet.groups()))


def complete_profiles(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of profiles."""
    with contextlib.suppress(Exception):
        from convoy_controller.cli import configuration

        there = configuration.load(configuration.location())
        return [each.name for each in there.profiles if each.name.startswith(incomplete)]
    return []


def _names(ctx: typer.Context, incomplete: str, ask: Callable[[FleetClient], Iterable[str]]) -> list[str]:
    with contextlib.suppress(Exception):  # whatever is wrong, a shell that waits for a word is no place to say it
        from convoy_controller.api_client.opening import open_client
        from convoy_controller.cli.target import Given, resolve

        options = {name: ctx.params.get(name) for name in ("api", "home", "database", "profile")}
        target = resolve(Given(**options), os.environ)
        with open_client(target, WAIT_S) as fleet:
            found = sorted({name for name in ask(fleet) if name.startswith(incomplete)})
            return found[:MOST_NAMES]
    return []
