"""`convoy why BOARD`: why a board is where it is, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from convoy_controller.cli.completing import complete_boards
from convoy_controller.cli.exit_codes import ExitCode
from convoy_controller.cli.fleet import fleet_command
from convoy_controller.cli.options import JsonOption
from convoy_controller.cli.printing import print_facts, print_json

if TYPE_CHECKING:
    from convoy_controller.api_client.client import FleetClient


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(why)


@fleet_command
def why(
    fleet: FleetClient,
    board: Annotated[str, typer.Argument(help="Name of the board.", autocompletion=complete_boards)],
    as_json: JsonOption = False,
) -> None:
    """Say in one sentence why a board is where it is, since when, what blocks it, and what to do.

    JSON keys: board, condition, wanted, actual, since, blocked_by, sentence, action.
    Exit codes: 0 answered, 3 the board was never seen, 4 no fleet there.
    """
    from convoy_controller.database.views import Condition

    answer = fleet.why(board)
    if as_json:
        print_json(answer)
    else:
        typer.echo(answer.sentence)
        print_facts(
            [
                ("should hold", answer.wanted),
                ("is", answer.actual),
                ("since", "" if answer.since is None else answer.since.strftime("%Y-%m-%d %H:%M:%S UTC")),
                ("blocked by", answer.blocked_by),
                ("to do", answer.action),
            ]
        )
    if answer.condition is Condition.NEVER_SEEN:
        raise typer.Exit(ExitCode.NOT_FOUND)
