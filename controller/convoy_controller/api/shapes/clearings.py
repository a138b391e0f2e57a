"""Bodies about clearings."""

from __future__ import annotations

from typing import Any

from convoy_controller.api.shapes.base import Answer, Date, Given


class GivenClearing(Given):
    """What is to be cleared: `orphans` too, files that no table knows; `dry_run` only looks."""

    dry_run: bool = True
    orphans: bool = False


class Clearing(Answer):
    """A clearing, and what it found: for each thing why it may go or stays, and what became of it."""

    number: int
    dry_run: bool
    orphans: bool
    done_at: Date | None
    findings: list[dict[str, Any]]
