"""`convoy metrics`: what Prometheus and Grafana need of us: names, alert rules, a board."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from convoy_controller.cli.options import JsonOption

metrics = typer.Typer(
    no_args_is_help=True, help="What Prometheus and Grafana take: every metric, alert rules, a board."
)


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(metrics, name="metrics")


@metrics.command("list")
def list_metrics(as_json: JsonOption = False) -> None:
    """List every metric that controller and gateways export.

    JSON: a list with name, type, labels, by and help. Exit codes: 0.
    """
    from convoy_controller.cli.printing import print_json, print_table
    from convoy_controller.metrics.families import FAMILIES

    lines = [
        {
            "name": family.name,
            "type": family.kind.value,
            "labels": list(family.labels),
            "by": family.by,
            "help": family.help,
        }
        for family in FAMILIES
    ]
    if as_json:
        print_json(lines)
        return
    print_table(
        ["name", "type", "labels", "by", "what"],
        [(f.name, f.kind.value, ", ".join(f.labels), f.by, f.help) for f in FAMILIES],
    )


@metrics.command()
def rules(
    runbooks: Annotated[
        str, typer.Option("--runbooks", metavar="URL", help="Page to which the alerts' runbook links lead.")
    ] = "docs/metrics.md",
    as_json: JsonOption = False,
) -> None:
    """Print the alert rules, a file for Prometheus' `rule_files`.

    JSON: a list of the alerts with name, expr, wait, severity, summary, description, action and runbook. Exit codes: 0.
    """
    from convoy_controller.cli.printing import print_json
    from convoy_controller.metrics.alerts import alerts, rules_text

    if as_json:
        print_json([asdict(alert) for alert in alerts()])
    else:
        typer.echo(rules_text(runbooks), nl=False)


@metrics.command()
def grafana(
    history: Annotated[
        bool, typer.Option("--history", help="The board over the SQL views of a PostgreSQL database instead.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the Grafana board, to import there; it asks for the Prometheus, or PostgreSQL, that it reads.

    JSON: the board, which is JSON in either case. Exit codes: 0.
    """
    from convoy_controller.metrics.alerts import board_text, history_board_text

    typer.echo(history_board_text() if history else board_text(), nl=False)
