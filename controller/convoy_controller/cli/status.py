"""`convoy fleet`, `availability`, `hops` and `spread`: the fleet at a glance, and over a time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convoy_controller.cli.completing import complete_boards, complete_deployments
from convoy_controller.cli.exit_codes import ExitCode
from convoy_controller.cli.fleet import fleet_command
from convoy_controller.cli.options import JsonOption
from convoy_controller.cli.printing import ago, print_facts, print_json, print_table, size
from convoy_controller.cli.spans import parse_span
from convoy_controller.database.records import CountScope, utc_now

if TYPE_CHECKING:
    from convoy_controller.api_client.client import FleetClient
    from convoy_controller.database.status_views import Changed, DeploymentHops, Problem, StateCounts

LimitOption = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Boards at most.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (fleet, availability, hops, spread):
        app.command()(command)


@fleet_command
def fleet(
    fleet: FleetClient,
    by: Annotated[
        CountScope, typer.Option("--by", help="Count the fleet, each site, or each group.")
    ] = CountScope.FLEET,
    since: Annotated[
        str | None, typer.Option("--since", metavar="SPAN", help="Say what changed within 90s, 10m, 2h or 7d.")
    ] = None,
    limit: LimitOption = 20,
    as_json: JsonOption = False,
) -> None:
    """Say how many boards are in which state, which are not what they should be, and why.

    JSON keys: states (scope, name, boards, problems, conditions), problems (board, condition, wanted, actual, since,
    blocked_by, sentence, action, deployment, changed_at); with --since those of what changed: since, after, newest,
    boards, boards_more, deployments, generations, models, events, events_more.
    Exit codes: 0, 2 no such span, 4 no fleet there.
    """
    if since is not None:
        moment = utc_now() - parse_span(since)
        _show_changed(fleet.changed(since=moment.isoformat(), limit=min(limit, 1000)), as_json)
        return
    states, problems = fleet.states(by.value), fleet.problems(limit)
    if as_json:
        print_json({"states": states, "problems": problems})
        return
    _show_states(states)
    _show_problems(problems)


def _show_states(states: tuple[StateCounts, ...]) -> None:
    if not any(each.boards for each in states):
        typer.echo("no boards are counted here yet: they come once they speak, into groups once they are put there")
        return
    print_table(
        ("", "BOARDS", "PROBLEMS", "CONDITIONS"),
        [
            (
                each.name or "fleet",
                str(each.boards),
                str(each.problems),
                ", ".join(f"{count} {condition}" for condition, count in each.conditions.items()),
            )
            for each in states
        ],
        ["yellow" if each.problems else "" for each in states],
    )


def _show_problems(problems: tuple[Problem, ...]) -> None:
    for each in problems:
        typer.secho(each.sentence, fg="red" if each.condition.is_problem else None)
        typer.echo(f"  {each.action}")


def _show_changed(found: Changed, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    now = utc_now()
    for board in found.boards:
        typer.echo(f"{ago(board.changed_at, now):>10}  {board.sentence}")
    if found.boards_more:
        typer.echo("            and further boards: see more with --limit")
    for deployment in found.deployments:
        typer.echo(
            f"{ago(deployment.changed_at, now):>10}  deployment {deployment.deployment} is {deployment.state.value}"
        )
    for placement in found.generations:
        what = f"generation {placement.generation} of {placement.deployment} was made"
        typer.echo(f"{ago(placement.created_at, now):>10}  {what}: {placement.reason}")
    for model in found.models:
        typer.echo(f"{ago(model.imported_at, now):>10}  model {model.model} {model.version} was imported")
    counts = ", ".join(f"{each.events} {each.kind}" for each in found.events)
    typer.echo(f"events: {counts or 'none'}{', and more' if found.events_more else ''}")


@fleet_command
def availability(
    fleet: FleetClient,
    board: Annotated[
        str | None, typer.Argument(help="One board; without, the fleet as a whole.", autocompletion=complete_boards)
    ] = None,
    span: Annotated[str, typer.Option("--last", metavar="SPAN", help="How long back: 90s, 10m, 2h or 7d.")] = "24h",
    as_json: JsonOption = False,
) -> None:
    """Say how much of a time a board was there, or the fleet.

    JSON keys: since, until, share; of a board: board, online, offline, unknown (seconds), absences; of the fleet:
    online_s, offline_s, unknown_s (board-seconds), hours. Exit codes: 0, 2 no such span, 3 no such board, 4 no fleet
    there.
    """
    until = utc_now()
    found = fleet.availability(board, (until - parse_span(span)).isoformat(), until.isoformat())
    if as_json:
        print_json(found)
        return
    ending = "_s" if board is None else ""
    print_facts(
        [
            ("there", "not known" if found["share"] is None else f"{100 * found['share']:.3f} %"),
            *((name, _time(found[f"{name}{ending}"])) for name in ("online", "offline", "unknown")),
        ]
    )
    for absence in found.get("absences", ())[-20:]:
        typer.echo(_absence(absence))


def _absence(absence: dict[str, Any]) -> str:
    ended = absence["ended_at"]
    what = "offline" if absence["is_certain"] else "not known"
    return f"{what} from {absence['began_at']} to {ended or 'now'}: {absence['reason'] or '-'}"


def _time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


@fleet_command
def hops(
    fleet: FleetClient,
    deployment: Annotated[str, typer.Argument(help="Name of the deployment.", autocompletion=complete_deployments)],
    as_json: JsonOption = False,
) -> None:
    """Say where a deployment's frames spend their time, and which stage holds up the rest.

    JSON keys: deployment, generation, state, since, until, answered_per_s, latency_p50_us, latency_p99_us, hop_us,
    predicted_rows_per_s, measured_rows_per_s, bottleneck, slowest, hops (stage, layers, boards, frames_per_s,
    rows_per_s, busy, capacity_rows_per_s, queued, residence_us, transit_us). Exit codes: 0, 3 no such deployment or not
    placed yet, 4 no fleet there.
    """
    found = fleet.hops(deployment)
    if as_json:
        print_json(found)
        return
    _show_hops(found)


def _show_hops(found: DeploymentHops) -> None:
    print_facts(
        [
            ("generation", f"{found.generation} ({found.state.value})"),
            ("answered", f"{found.answered_per_s:,.1f} a second"),
            ("predicted", _number(found.predicted_rows_per_s, "rows a second")),
            ("latency", f"p50 {_number(found.latency_p50_us, 'us')}, p99 {_number(found.latency_p99_us, 'us')}"),
        ]
    )
    print_table(
        ("STAGE", "LAYERS", "BOARDS", "ROWS/S", "BUSY", "CAN DO", "THERE", "WAY OUT", ""),
        [
            (
                str(hop.stage + 1),
                ", ".join(hop.layers),
                str(hop.boards),
                f"{hop.rows_per_s:,.1f}",
                f"{100 * hop.busy:.0f} %",
                _number(hop.capacity_rows_per_s, "rows/s"),
                _number(hop.residence_us, "us"),
                _number(hop.transit_us, "us"),
                _mark(found, hop.stage),
            )
            for hop in found.hops
        ],
        ["yellow" if hop.stage == found.bottleneck else "" for hop in found.hops],
    )


def _mark(found: DeploymentHops, stage: int) -> str:
    marks = [name for name, at in (("bottleneck", found.bottleneck), ("slowest", found.slowest)) if at == stage]
    return ", ".join(marks)


def _number(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:,.0f} {unit}"


@fleet_command
def spread(
    fleet: FleetClient,
    model: Annotated[str, typer.Argument(help="NAME, or NAME:VERSION; without a version the newest.")],
    limit: LimitOption = 20,
    as_json: JsonOption = False,
) -> None:
    """Say how far a model version is on the boards that are to have it.

    JSON keys: spread (model, version, bundle, boards, verified, ready, fetching, waiting, failed, away, done_bytes,
    total_bytes), holders (board, presence, model, version, deployment, generation, stage, phase, done_bytes,
    total_bytes, since, needs). Exit codes: 0, 3 no such model, 4 no fleet there.
    """
    name, _, version = model.partition(":")
    if not version:
        newest = next((line for line in fleet.models() if line.model == name), None)
        if newest is None:
            typer.secho(f"there is no model {name!r}: see `convoy models`", fg="red", err=True)
            raise typer.Exit(ExitCode.NOT_FOUND)
        version = newest.version
    found, holders = fleet.spread(name, version), fleet.holders(name, version, limit)
    if as_json:
        print_json({"spread": found, "holders": holders})
        return
    counts = ("ready", "verified", "fetching", "waiting", "failed", "away")
    print_facts([("boards", str(found.boards)), *((each, str(getattr(found, each))) for each in counts)])
    now: datetime = utc_now()
    print_table(
        ("BOARD", "DEPLOYMENT", "STAGE", "PHASE", "FETCHED", "SINCE"),
        [
            (
                each.board,
                f"{each.deployment} {each.generation}",
                str(each.stage + 1),
                each.phase.value,
                f"{size(each.done_bytes)} of {size(each.total_bytes)}" if each.total_bytes else "-",
                ago(each.since, now),
            )
            for each in holders
        ],
    )
