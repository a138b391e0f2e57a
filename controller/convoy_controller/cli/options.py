"""Options that many commands share, and the database they lead to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convoy_controller.cli.target import home_here
from convoy_controller.home import DATABASE_VARIABLE, HOME_VARIABLE

if TYPE_CHECKING:
    from convoy_controller.database.engine import Database

HOME_HELP = "Folder of this fleet's database, blobs and keys."
DATABASE_HELP = "URL: sqlite:///FILE or postgresql://USER@HOST/NAME."
#: Under which heading the help lists the options that say which fleet is meant.
PANEL = "Which fleet"

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        envvar=HOME_VARIABLE,
        show_default="~/.local/share/convoy",
        help=HOME_HELP,
        rich_help_panel=PANEL,
    ),
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        envvar=DATABASE_VARIABLE,
        show_default="sqlite:///HOME/convoy.db",
        help=DATABASE_HELP,
        rich_help_panel=PANEL,
    ),
]
#: What `--replicas` means wherever it is taken.
REPLICAS_HELP = (
    "At most so many boards share a stage, or the whole network with method stream. 0: one with --cut pipeline, and "
    "what the planner finds best with --cut replicated or method stream."
)
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON with stable keys instead of a table.")]


@contextmanager
def opened(home: Path | None, database: str | None) -> Iterator[Database]:
    """The fleet's database, created or upgraded where needed, and closed after the block."""
    from convoy_controller.database.engine import open_database

    found = open_database(home_here(home, database).database_url)
    try:
        yield found
    finally:
        found.close()
