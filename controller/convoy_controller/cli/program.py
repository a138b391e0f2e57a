"""The program around the commands: its help, its version, and how an error ends it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import Annotated, Any

import typer
from convoy_schema.errors import ConvoyError
from typer.core import TyperGroup

from convoy_controller.cli.exit_codes import exit_code

_HELP = "Turns a fleet of small FPGA boards into one CNN inference engine."
EPILOG = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 cannot reach, 5 not allowed, 6 changed."


class ConvoyGroup(TyperGroup):
    """Ends any command that raises a `ConvoyError` with its sentence and its exit code, never with a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ConvoyError as error:
            typer.secho("error: ", fg="red", nl=False, err=True)
            typer.echo(f"{error} [{error.code}]", err=True)
            raise typer.Exit(exit_code(error)) from error


def make_app() -> typer.Typer:
    """The program without any command."""
    app = typer.Typer(
        name="convoy",
        cls=ConvoyGroup,
        help=_HELP,
        epilog=EPILOG,
        no_args_is_help=True,
        pretty_exceptions_show_locals=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_program)
    return app


def register_under(app: typer.Typer, panel: str, register: Callable[[typer.Typer], None]) -> None:
    """Register a module's commands; the help lists them under the heading `panel`."""
    before = len(app.registered_commands), len(app.registered_groups)
    register(app)
    for command in app.registered_commands[before[0] :]:
        command.rich_help_panel = panel
    for group in app.registered_groups[before[1] :]:
        group.rich_help_panel = panel


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"convoy {metadata.version('convoy-fleet')}")
        raise typer.Exit


def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Turns a fleet of small FPGA boards into one CNN inference engine."""
