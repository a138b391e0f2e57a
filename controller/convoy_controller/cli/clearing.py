"""`convoy gc`: what nobody refers to any more, on the broker and in the blob store, and clearing it.

The controller in charge knows what the broker retains, and it alone decides; the command asks it and waits.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convoy_controller.cli.exit_codes import ExitCode
from convoy_controller.cli.fleet import fleet_command
from convoy_controller.cli.options import JsonOption
from convoy_controller.cli.printing import print_json, print_table, size

if TYPE_CHECKING:
    from convoy_controller.api_client.client import FleetClient
    from convoy_controller.database.records import SavedCollection

#: Seconds between two looks while waiting.
POLL_S = 0.2


@dataclass(frozen=True)
class _Answer:
    """What `convoy gc --json` prints; sizes in bytes."""

    done: bool
    dry_run: bool
    cleared_topics: int
    cleared_topic_bytes: int
    cleared_files: int
    cleared_file_bytes: int
    findings: tuple[dict[str, Any], ...]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("gc")(collect)


@fleet_command
def collect(
    fleet: FleetClient,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be cleared.")] = False,
    orphans: Annotated[
        bool,
        typer.Option(
            "--orphans",
            help="Also files in the blob store that belong to no model there is or was. Not after a database was lost, "
            "before its backup is back: they may be the models that it held.",
        ),
    ] = False,
    wait: Annotated[
        float, typer.Option("--wait", min=0, metavar="SECONDS", help="Wait for the controller, at most so long.")
    ] = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Clear what nobody refers to: files of removed models, and what the broker retains without need.

    The controller does that by itself now and then; asked, it does not wait for what may be wanted again. What no
    table knows stays. JSON keys: done, dry_run, cleared_topics, cleared_topic_bytes, cleared_files,
    cleared_file_bytes, findings (kind, name, size, verdict, reason, due_in_s, cleared). Exit codes: 0 done, 1 no
    controller did it in time (the one that comes will), 4 no fleet there, 5 not
    allowed.
    """
    found = _await(fleet, fleet.ask_clearing(dry_run=dry_run, orphans=orphans), wait)
    answer = _answer(found)
    print_json(answer) if as_json else _show(answer)
    if not answer.done:
        raise typer.Exit(ExitCode.FAILED)


def _await(fleet: FleetClient, found: SavedCollection, wait_s: float) -> SavedCollection:
    deadline = time.monotonic() + wait_s
    while found.done_at is None and time.monotonic() < deadline:
        time.sleep(POLL_S)
        found = fleet.clearing(found.number)
    return found


def _answer(found: SavedCollection) -> _Answer:
    cleared = [finding for finding in found.findings if finding["cleared"]]
    topics = [int(finding["size"]) for finding in cleared if finding["kind"] == "topic"]
    files = [int(finding["size"]) for finding in cleared if finding["kind"] == "blob"]
    return _Answer(
        found.done_at is not None, found.dry_run, len(topics), sum(topics), len(files), sum(files), found.findings
    )


def _show(answer: _Answer) -> None:
    if not answer.done:
        typer.echo("no controller in charge has done it yet: it is done when one is (`convoy up` starts one)")
        return
    if answer.findings:
        print_table(
            ("WHAT", "NAME", "SIZE", "DONE", "WHY"),
            [
                (
                    finding["kind"],
                    finding["name"],
                    size(int(finding["size"])),
                    _outcome(finding, answer.dry_run),
                    finding["reason"],
                )
                for finding in answer.findings
            ],
        )
    if answer.dry_run:
        typer.echo("nothing was cleared: this was a dry run" if answer.findings else "there is nothing to clear")
        return
    typer.echo(
        f"cleared {answer.cleared_topics} retained topics ({size(answer.cleared_topic_bytes)}) and "
        f"{answer.cleared_files} files ({size(answer.cleared_file_bytes)})"
    )


def _outcome(finding: dict[str, Any], dry_run: bool) -> str:
    if finding["cleared"]:
        return "cleared"
    if finding["verdict"] == "unknown":
        return "stays: not known"
    if finding["verdict"] == "clear":
        return "would be cleared" if dry_run else "later: could not be cleared now"
    return f"in {float(finding['due_in_s']):.0f} s"
