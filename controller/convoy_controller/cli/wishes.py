"""`convoy board drain | undrain | restart | label`: what is wanted of single boards beside what they run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from convoy_controller.cli.boards import board_app
from convoy_controller.cli.completing import complete_boards
from convoy_controller.cli.exit_codes import ExitCode
from convoy_controller.cli.fleet import fleet_command
from convoy_controller.cli.options import JsonOption
from convoy_controller.cli.printing import print_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from convoy_controller.api_client.client import FleetClient
    from convoy_controller.database.views import BoardWishes

#: Seconds between two looks while waiting.
POLL_S = 0.5
BoardArgument = Annotated[str, typer.Argument(help="Name of the board.", autocompletion=complete_boards)]


def register(app: typer.Typer) -> None:
    """Add this module's commands to those of `convoy board`."""
    for name, command in (("drain", drain), ("undrain", undrain), ("restart", restart), ("label", label)):
        board_app.command(name)(command)


@fleet_command
def drain(
    fleet: FleetClient,
    name: BoardArgument,
    wait: Annotated[
        float, typer.Option("--wait", min=0, metavar="SECONDS", help="Wait until it holds nothing, at most so long.")
    ] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Take a board out of every deployment, and place nothing on it; what it serves is served elsewhere first.

    JSON keys: board, drained, drained_at, restart_token, restart_at, restart_forced, restart_pending, labels,
    revision. Exit codes: 0 asked (with --wait: it holds nothing), 1 not in time, 2 no such name can be, 3 no such
    board, 4 no fleet there, 5 not allowed.
    """
    wishes = fleet.drain(name)
    is_done = _await(lambda: not fleet.board(name).assignments, wait)
    _tell(wishes, as_json, f"{name} is to be drained: `convoy why {name}` says how far that is")
    if not is_done:
        raise typer.Exit(ExitCode.FAILED)


@fleet_command
def undrain(fleet: FleetClient, name: BoardArgument, as_json: JsonOption = False) -> None:
    """Let a board take part again.

    JSON keys: those of `convoy board drain`. Exit codes: 0, 2 no such name can be, 3 no such board, 4 no fleet there,
    5 not allowed.
    """
    _tell(fleet.undrain(name), as_json, f"{name} takes part again")


@fleet_command
def restart(
    fleet: FleetClient,
    name: BoardArgument,
    force: Annotated[bool, typer.Option("--force", help="At once, though it serves.")] = False,
    wait: Annotated[
        float, typer.Option("--wait", min=0, metavar="SECONDS", help="Wait until it has, at most so long.")
    ] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Have a board's daemon start anew, once: drained first unless forced, and back in service by itself.

    JSON keys: those of `convoy board drain`. Exit codes: 0 asked (with --wait: it has restarted), 1 not in time, 2 no
    such name can be, 3 no such board, 4 no fleet there, 5 not allowed.
    """
    wishes = fleet.restart(name, force)
    is_done = _await(lambda: not fleet.wishes(name).restart_pending, wait)
    _tell(wishes, as_json, f"{name} is to restart: `convoy why {name}` says how far that is")
    if not is_done:
        raise typer.Exit(ExitCode.FAILED)


@fleet_command
def label(
    fleet: FleetClient,
    name: BoardArgument,
    labels: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Unless given: none.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Give a board labels, in place of those it has.

    JSON keys: those of `convoy board drain`. Exit codes: 0, 2 not of the form KEY=VALUE, 3 no such board, 4 no fleet
    there, 5 not allowed.
    """
    pairs = [text.partition("=") for text in labels or []]
    if any(not equals or not key for key, equals, _ in pairs):
        raise typer.BadParameter("labels are given as KEY=VALUE", param_hint="KEY=VALUE")
    wishes = fleet.label(name, {key: value for key, _, value in pairs})
    said = ", ".join(f"{key}={value}" for key, value in sorted(wishes.labels.items())) or "no labels"
    _tell(wishes, as_json, f"{name} has {said}")


def _await(is_done: Callable[[], bool], wait_s: float) -> bool:
    """Whether it is done within the time, or nobody waits for it."""
    deadline = time.monotonic() + wait_s
    while wait_s:
        if is_done():
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True


def _tell(wishes: BoardWishes, as_json: bool, sentence: str) -> None:
    print_json(wishes) if as_json else typer.echo(sentence)
