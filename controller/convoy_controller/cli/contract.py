"""`convoy contract`: the MQTT contract as an AsyncAPI document, made from the code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convoy_controller.cli.exit_codes import ExitCode
from convoy_controller.cli.options import JsonOption


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(contract)


def contract(
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", show_default="stdout", help="Where the document goes.")
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option("--check", metavar="FILE", help="Write nothing; show how FILE differs from what the code says."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the MQTT contract as AsyncAPI 3.0: every channel and every message, made from the code.

    JSON: the document, in place of YAML. Exit codes: 0, 1 with --check the file is not what the code says, 2 usage.
    """
    from convoy_controller.cli.printing import print_json
    from convoy_controller.contract.document import difference, document, text

    if check is not None:
        existing = check.read_text(encoding="utf-8") if check.is_file() else ""
        if found := difference(existing, str(check)):
            typer.echo(found, err=True)
            typer.echo(f"{check} is not what the code says: convoy contract --output {check}", err=True)
            raise typer.Exit(ExitCode.FAILED)
        return
    if as_json:
        print_json(document())
    elif output is None:
        typer.echo(text(), nl=False)
    else:
        output.write_text(text(), encoding="utf-8")
