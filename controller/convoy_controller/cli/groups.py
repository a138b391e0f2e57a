"""`convoy groups` and `convoy group set | remove`: named sets of boards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from convoy_controller.cli.completing import complete_boards, complete_groups
from convoy_controller.cli.fleet import fleet_command
from convoy_controller.cli.options import JsonOption
from convoy_controller.cli.printing import print_json, print_table

if TYPE_CHECKING:
    from convoy_controller.api_client.client import FleetClient

_group = typer.Typer(name="group", no_args_is_help=True, help="Make a named set of boards, or remove one.")
NameArgument = Annotated[str, typer.Argument(metavar="GROUP", help="Its name.", autocompletion=complete_groups)]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(groups)
    app.add_typer(_group)


@fleet_command
def groups(
    fleet: FleetClient,
    board: Annotated[
        str | None, typer.Option("--board", help="Only those with this board.", autocompletion=complete_boards)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the groups of boards.

    JSON keys: group, site, boards, note, revision, changed_at. Exit codes: 0, 2 no such name can be, 4 no fleet there.
    """
    lines = fleet.groups(board)
    if as_json:
        print_json(lines)
    elif lines:
        rows = [(line.group, line.site, ", ".join(line.boards) or "-", line.note or "-") for line in lines]
        print_table(("GROUP", "SITE", "BOARDS", "NOTE"), rows)
    else:
        typer.echo("no groups yet: `convoy group set GROUP BOARD...` makes one")


@_group.command("set")
@fleet_command
def set_(
    fleet: FleetClient,
    name: NameArgument,
    boards: Annotated[
        list[str], typer.Argument(metavar="BOARD...", help="The boards it means.", autocompletion=complete_boards)
    ],
    site: Annotated[str, typer.Option("--site", help="Boards behind one uplink.")] = "local",
    note: Annotated[str, typer.Option("--note", help="For people.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Make a group, or replace the one of that name.

    JSON keys: those of `convoy groups`. Exit codes: 0, 2 no such name can be, 3 no such board, 4 no fleet there, 5 not
    allowed, 6 somebody else changed it meanwhile.
    """
    from convoy_controller.errors import NotFoundError

    try:
        seen = fleet.group(name)
    except NotFoundError:
        seen = None
    made = fleet.set_group(name, {"site": site, "boards": boards, "note": note}, seen)
    print_json(made) if as_json else typer.echo(f"{name}: {', '.join(made.boards)}")


@_group.command("remove")
@fleet_command
def remove(fleet: FleetClient, name: NameArgument, as_json: JsonOption = False) -> None:
    """Remove a group; its boards, and what was deployed on them, stay.

    JSON keys: those of `convoy groups`, of what was removed. Exit codes: 0, 2 no such name can be, 3 no such group, 4
    no fleet there, 5 not allowed.
    """
    gone = fleet.remove_group(name)
    print_json(gone) if as_json else typer.echo(f"group {name} is removed")
