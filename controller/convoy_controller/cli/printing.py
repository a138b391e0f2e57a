"""How answers look: JSON for programs, tables and plain sentences for people."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from convoy_controller.plain import plain

if TYPE_CHECKING:
    from rich.console import Console

#: Columns where no terminal says otherwise, so that a pipe gets whole lines.
PIPE_WIDTH = 240


def print_json(value: Any, indent: int | None = 2) -> None:
    """`value` as JSON on stdout; `indent` None puts it on one line."""
    typer.echo(json.dumps(plain(value), indent=indent, ensure_ascii=False))


def console(stderr: bool = False) -> Console:
    """Where people read."""
    from rich.console import Console

    made = Console(stderr=stderr, highlight=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        return Console(stderr=stderr, highlight=False, width=PIPE_WIDTH)
    return made


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]], styles: Iterable[str] = ()) -> None:
    """A table without frames; `styles` colours its rows, one each, and '' leaves one as it is."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")
    colours = list(styles)
    for number, row in enumerate(rows):
        style = colours[number] if number < len(colours) else ""
        # What boards and owners wrote is text, never markup.
        table.add_row(*(Text(cell) for cell in row), style=style)
    console().print(table)


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Aligned `name  value` lines; an empty value is left out."""
    shown = [(name, value) for name, value in facts if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        typer.echo(f"{name:<{width}}  {value}")


def ago(at: datetime | None, now: datetime) -> str:
    """How long ago, in the largest unit that fits; '-' when it never was."""
    if at is None:
        return "-"
    seconds = (now - at).total_seconds()
    if seconds < 1:
        return "now"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago"


def size(count: int) -> str:
    """Bytes for people: 1,234 B, 12.3 kB, 4.0 MB."""
    for unit, bytes_of in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= bytes_of:
            return f"{count / bytes_of:.1f} {unit}"
    return f"{count} B"
