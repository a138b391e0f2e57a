"""`convoy boards` and `convoy board forget`: every board and its condition, everything about one, and its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from convoy_controller.cli.completing import complete_boards
from convoy_controller.cli.fleet import fleet_command
from convoy_controller.cli.options import JsonOption
from convoy_controller.cli.printing import ago, print_facts, print_json, print_table, size

if TYPE_CHECKING:
    from convoy_schema.messages.boards import Capability

    from convoy_controller.api_client.client import FleetClient
    from convoy_controller.database.views import BoardDetail, FleetLine

#: Colours of conditions; what is not named is a problem.
STYLES = {
    "ready": "green",
    "unassigned": "",
    "preparing": "cyan",
    "restarting": "cyan",
    "drained": "blue",
    "presence-unknown": "yellow",
    "stale": "yellow",
}


board_app = typer.Typer(name="board", no_args_is_help=True, help="Do something about one board.")


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(boards)
    app.add_typer(board_app)


@fleet_command
def boards(
    fleet: FleetClient,
    name: Annotated[
        str | None, typer.Argument(help="Show everything about this one board.", autocompletion=complete_boards)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the fleet's boards, or show one of them.

    JSON keys: board, presence, condition, sentence, since, last_seen, part, fabric, shell, deployment, generation,
    stage, stages, phase; with NAME: why, facts, capability, partitions, store_bytes, store_quota, assignments,
    sessions, statistics. Exit codes: 0, 3 no such board, 4 no fleet there.
    """
    if name is not None:
        detail = fleet.board(name)
        print_json(detail) if as_json else _show_board(detail)
        return
    lines = fleet.boards()
    if as_json:
        print_json(lines)
    elif lines:
        _show_fleet(lines)
    else:
        typer.echo("no boards yet: start one with `convoy-device run --config FILE`, or see it all with `convoy demo`")


@board_app.command("forget")
@fleet_command
def forget(
    fleet: FleetClient,
    name: Annotated[str, typer.Argument(help="A board that is gone for good.", autocompletion=complete_boards)],
    as_json: JsonOption = False,
) -> None:
    """Forget a board that does not come back; one that does anyway is a new one.

    Its sessions and its part in past generations go, its events stay; a running controller clears what the broker
    retains of it. JSON keys: board, last_seen. Exit codes: 0 forgotten, 1 refused (it is online, or a deployment
    counts on it), 3 no such board, 4 no fleet there, 5 not allowed.
    """
    from convoy_controller.database.records import utc_now

    gone = fleet.forget_board(name)
    if as_json:
        print_json(gone)
    else:
        seen = ago(gone.last_seen, utc_now()) if gone.last_seen else "never"
        typer.echo(f"{name} is forgotten; it was last seen {seen}")


def _show_fleet(lines: tuple[FleetLine, ...]) -> None:
    from convoy_controller.database.records import utc_now

    now = utc_now()
    print_table(
        ("BOARD", "CONDITION", "DOES", "SHELL", "FABRIC", "PART", "LAST SEEN"),
        [
            (
                line.board,
                line.condition.value,
                _does(line),
                line.shell or "-",
                line.fabric or "-",
                line.part or "-",
                ago(line.last_seen, now),
            )
            for line in lines
        ],
        [STYLES.get(line.condition.value, "red") for line in lines],
    )
    if any(STYLES.get(line.condition.value, "red") == "red" for line in lines):
        typer.echo("`convoy why BOARD` says what is wrong with a board, and what to do.")


def _processor(board: Capability) -> str:
    """What the board says of the processor that layers may be left to."""
    rate = board.processor
    if rate is None:
        return ""
    work, moved = rate.macs_per_s / 1e6, size(int(rate.bytes_per_s))
    return f"{work:,.0f} million MAC/s, {moved}/s, {1e3 * rate.call_s:.3g} ms a call"


def _does(line: FleetLine) -> str:
    if line.deployment is None or line.stage is None or line.phase is None:
        return "-"
    return f"{line.deployment} {line.stage + 1}/{line.stages} {line.phase.value}"


def _show_board(detail: BoardDetail) -> None:
    from convoy_controller.database.records import utc_now

    now, facts, answer = utc_now(), detail.facts, detail.why
    typer.echo(answer.sentence)
    typer.echo(f"To do: {answer.action}.\n")
    held = {item.partition: item.module for item in detail.partitions}
    described = detail.capability
    print_facts(
        [
            ("part", facts.part),
            ("fabric", facts.fabric),
            ("software", facts.software),
            ("shell", facts.shell),
            ("shells", "" if described is None else ", ".join(described.shells)),
            (
                "partitions",
                ", ".join(f"{name}: {kind.value if kind else 'blank'}" for name, kind in sorted(held.items())),
            ),
            ("processor", "" if described is None else _processor(described)),
            ("clock", "" if described is None else f"{described.clock_hz / 1e6:g} MHz"),
            ("store", f"{size(detail.store_bytes)} of {size(detail.store_quota)}" if detail.store_quota else ""),
            ("first seen", ago(facts.first_seen, now)),
            ("last seen", ago(facts.last_seen, now)),
        ]
    )
    if detail.assignments:
        print_table(
            ("DEPLOYMENT", "GENERATION", "STATE", "STAGE", "LAYERS", "PHASE"),
            [
                (
                    item.deployment,
                    str(item.generation),
                    item.generation_state.value,
                    f"{item.stage + 1}/{item.stages}",
                    ", ".join(item.layers),
                    item.phase.value,
                )
                for item in detail.assignments
            ],
        )
    if detail.sessions:
        print_table(
            ("SESSION", "BEGAN", "ENDED", "REASON"),
            [
                (str(item.session), ago(item.started_at, now), ago(item.ended_at, now), item.reason or "-")
                for item in detail.sessions
            ],
        )
