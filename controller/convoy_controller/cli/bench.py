"""`convoy bench`: how fast, beside what, in the same run."""

from __future__ import annotations

from typing import Annotated

import typer

from convoy_controller.cli.exit_codes import ExitCode
from convoy_controller.cli.options import JsonOption
from convoy_controller.cli.printing import print_json, print_table
from convoy_controller.cli.running import BrokerOption


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(bench)


def bench(
    name: Annotated[str | None, typer.Argument(help="Which bench; `--list` names them.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Name every bench and what it shows.")] = False,
    broker: BrokerOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure, beside a peer in the same run.

    JSON keys: bench, met, figures (name, unit, figure, peer_name, peer, ratio, bar, met), notes; with --list objects
    of bench and about. Exit codes: 0 every bar met, 1 one was not, 2 no such bench.
    """
    from convoy_controller.bench.registry import BENCHES

    if listed or name is None:
        if as_json:
            print_json([{"bench": key, "about": item.about} for key, item in BENCHES.items()])
        else:
            print_table(("BENCH", "SHOWS"), [(key, item.about) for key, item in BENCHES.items()])
        if not listed:
            raise typer.Exit(ExitCode.USAGE)
        return
    if name not in BENCHES:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(BENCHES)}", param_hint="NAME")
    result = BENCHES[name].run(broker)
    if as_json:
        print_json(result.plain())
    else:
        shown = [figure.plain() for figure in result.figures]
        columns = ("name", "figure", "unit", "peer_name", "peer", "ratio", "bar", "met")
        rows = [["-" if row[c] is None else str(row[c]) for c in columns] for row in shown]
        print_table([c.upper().replace("_", " ") for c in columns], rows, ["" if r["met"] else "red" for r in shown])
        for key, value in result.notes.items():
            typer.echo(f"{key}: {value}")
    if not result.met:
        raise typer.Exit(ExitCode.FAILED)
