"""A length of time as it is typed: 90s, 10m, 2h, 7d."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

import typer

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_span = re.compile(r"([0-9]{1,9})([smhd])")

SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="SPAN", help="Only what is newer than 90s, 10m, 2h or 7d.")
]


def parse_span(text: str) -> timedelta:
    """The length; raises `typer.BadParameter`."""
    found = _span.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(
            f"give a number and s, m, h or d, such as 10m; {text[:40]!r} came", param_hint="--since"
        )
    try:
        return timedelta(seconds=int(found.group(1)) * _SECONDS[found.group(2)])
    except OverflowError as error:
        raise typer.BadParameter(f"{text} is longer than there were dates", param_hint="--since") from error
