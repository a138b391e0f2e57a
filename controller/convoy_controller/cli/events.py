"""`convoy events`: what happened, newest last, and on demand as it happens."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from convoy_controller.cli.completing import complete_boards, complete_deployments
from convoy_controller.cli.fleet import fleet_command
from convoy_controller.cli.interrupting import until_interrupted
from convoy_controller.cli.options import JsonOption
from convoy_controller.cli.printing import print_json
from convoy_controller.database.views import EventLine
from convoy_controller.moments import moment

if TYPE_CHECKING:
    from convoy_controller.api_client.client import FleetClient

_COLOURS = {"warning": "yellow", "error": "red"}


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(events)


@fleet_command
def events(
    fleet: FleetClient,
    board: Annotated[
        str | None, typer.Option("--board", help="Only events of this board.", autocompletion=complete_boards)
    ] = None,
    deployment: Annotated[
        str | None,
        typer.Option("--deployment", help="Only events of this deployment.", autocompletion=complete_deployments),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10_000, help="How many, the newest; with --around to either side.")
    ] = 50,
    around: Annotated[
        str | None,
        typer.Option("--around", metavar="MOMENT", help="What happened around 2026-01-31T12:00, in UTC."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as events happen, until Ctrl-C.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the fleet's history.

    JSON keys: id, at, severity, kind, board, deployment, generation, sentence, data; a list, or with --follow one
    object a line. Exit codes: 0, 2 no such name can be, 4 no fleet there, 5 not allowed.
    """
    if around is not None:
        at = _moment(around, follow)
        _show(fleet.events_around(at, limit, board=board, deployment=deployment), as_json, follow)
        return
    if not follow:
        _show(fleet.events(limit, board=board, deployment=deployment), as_json, follow)
        return
    with until_interrupted():
        _follow(fleet, limit, as_json, board, deployment)


def _moment(words: str, follow: bool) -> datetime:
    if follow:
        raise typer.BadParameter("what is to come is around no moment: leave --follow out", param_hint="--around")
    found = moment(words)
    if found is None:
        raise typer.BadParameter(f"give a date such as 2026-01-31T12:00; {words[:40]!r} came", param_hint="--around")
    return found


def _follow(fleet: FleetClient, limit: int, as_json: bool, board: str | None, deployment: str | None) -> None:
    # An empty start must not pass over what happens while we look, nor tell all that ever was.
    newest = max((line.id for line in fleet.events(1)), default=0)
    lines = fleet.events(limit, board=board, deployment=deployment)
    _show(lines, as_json, follow=True)
    after = max(newest, lines[-1].id if lines else 0)
    for each in fleet.follow(after, board=board, deployment=deployment):
        if isinstance(each, EventLine):
            _show((each,), as_json, follow=True)
        else:
            typer.secho(each.sentence, fg="yellow", err=True)


def _show(lines: tuple[EventLine, ...], as_json: bool, follow: bool) -> None:
    if as_json and not follow:
        print_json(lines)
        return
    if not lines and not follow:
        typer.echo("no events yet: they come once a controller runs (`convoy up`)")
    for line in lines:
        if as_json:
            print_json(line, indent=None)
            continue
        typer.echo(line.at.strftime("%Y-%m-%d %H:%M:%S "), nl=False)
        typer.secho(f"{line.severity.value:<8}", fg=_COLOURS.get(line.severity.value), nl=False)
        typer.echo(f"{line.kind}: {line.sentence}")
