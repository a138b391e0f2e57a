"""`convoy events`: what happened, newest last, and on demand as it happens."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Annotated

import typer

from convoy_controller.cli.options import DatabaseOption, HomeOption, JsonOption, opened
from convoy_controller.cli.printing import print_json

if TYPE_CHECKING:
    from convoy_controller.database.views import EventLine

#: Seconds between two looks at the history.
FOLLOW_S = 0.5
_COLOURS = {"warning": "yellow", "error": "red"}


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(events)


def events(
    board: Annotated[str | None, typer.Option("--board", help="Only events of this board.")] = None,
    deployment: Annotated[str | None, typer.Option("--deployment", help="Only events of this deployment.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many, the newest.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as events happen, until Ctrl-C.")] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
    database: DatabaseOption = None,
) -> None:
    """Show the fleet's history.

    JSON keys: id, at, severity, kind, board, deployment, generation, sentence, data; a list, or with --follow one
    object a line. Exit codes: 0, 4 no database.
    """
    from convoy_controller.database import queries

    with opened(home, database) as fleet:
        lines = queries.events(fleet, limit, board=board, deployment=deployment)
        _show(lines, as_json, follow)
        # An empty start must not pass over what happens while we look.
        last = lines[-1].id if lines else 0
        if follow:  # in the background of a script it would be ignored
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            while follow:
                time.sleep(FOLLOW_S)
                lines = queries.events(fleet, after=last, board=board, deployment=deployment, oldest_first=True)
                _show(lines, as_json, follow)
                last = lines[-1].id if lines else last
        except KeyboardInterrupt:
            return


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
