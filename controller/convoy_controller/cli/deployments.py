"""`convoy deployments`, `convoy deploy`, `convoy undeploy`: what is wanted of the fleet, and how far it is.

The last two write what the owner wants; a running controller sees it within a second and acts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer
from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Cut, Intent, Objective

from convoy_controller.cli.exit_codes import ExitCode
from convoy_controller.cli.options import DatabaseOption, HomeOption, JsonOption, opened
from convoy_controller.cli.printing import print_facts, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from convoy_controller.database.engine import Database
    from convoy_controller.database.views import DeploymentLine, GenerationLine, PlanView

#: Seconds between two looks while waiting.
POLL_S = 0.2
_STYLES = {"serving": "green", "failed": "red", "paused": "yellow", "removed": "dim"}


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(deployments)
    app.command()(deploy)
    app.command()(undeploy)


def deployments(
    name: Annotated[str | None, typer.Argument(help="Show this one's plan and history.")] = None,
    removed: Annotated[bool, typer.Option("--removed", help="Also those that have ended.")] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
    database: DatabaseOption = None,
) -> None:
    """List deployments, or show who runs which layers of one.

    JSON keys: deployment, model, version, method, boards, objective, cut, batch, wanted, state, message, generation,
    generation_state, is_current, assigned_boards, ready_boards, created_at, changed_at; with NAME an object of that
    `deployment`, its `plan` (deployment, generation, state, stages, facts; null before it is placed) and its
    `generations`. Exit codes: 0, 3 no such deployment, 4 no database.
    """
    from convoy_controller.database import queries

    with opened(home, database) as fleet:
        if name is not None:
            _show_deployment(fleet, name, as_json)
            return
        lines = queries.deployments(fleet, removed)
        has_models = bool(lines) or bool(queries.models(fleet))
    if as_json:
        print_json(lines)
    elif lines:
        _show_deployments(lines)
    elif has_models:
        typer.echo("no deployments yet: `convoy deploy MODEL` makes one (`convoy models` lists models)")
    else:
        typer.echo(
            "no deployments yet, and no models: begin with `convoy model import FILE.onnx --calibration FILE.npz`, "
            "or with `convoy model import lenet5 --calibration digits`"
        )


def deploy(
    model: Annotated[str, typer.Argument(help="Name of a model, as `convoy models` lists it.")],
    version: Annotated[str | None, typer.Option("--version", help="Version; the newest unless given.")] = None,
    method: Annotated[Method, typer.Option("--method", help="How it is brought onto the boards.")] = Method.LIBRARY,
    boards: Annotated[
        int, typer.Option("--boards", min=0, max=100_000, help="At most so many boards; 0: as many as help.")
    ] = 0,
    batch: Annotated[int, typer.Option("--batch", min=1, max=4096, help="Most samples in one frame.")] = 32,
    cut: Annotated[Cut, typer.Option("--cut", help="Whether several boards may share a stage.")] = Cut.PIPELINE,
    objective: Annotated[
        Objective, typer.Option("--objective", help="What the plan makes best.")
    ] = Objective.THROUGHPUT,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the deployment; the model's unless given.")
    ] = None,
    wait: Annotated[
        float, typer.Option("--wait", min=0, metavar="SECONDS", help="Wait until it serves, at most so long.")
    ] = 0.0,
    as_json: JsonOption = False,
    home: HomeOption = None,
    database: DatabaseOption = None,
) -> None:
    """Ask for a model to be served; asking again under the same name changes what is served.

    JSON keys: those of `convoy deployments`. Exit codes: 0 asked (with --wait: it serves), 1 refused, failed or not
    serving in time, 2 no such name can be, 3 no such model or version, 4 no database.
    """
    from convoy_controller.database.intents import request_deployment
    from convoy_controller.database.publications import find_model

    with opened(home, database) as fleet:
        chosen = find_model(fleet, model, version)
        intent = Intent(name or model, model, chosen.version, method, boards, objective, cut, batch)
        request_deployment(fleet, intent)
        line = _await(fleet, intent.deployment, _serves, wait)
    if as_json:
        print_json(line)
    else:
        typer.echo(f"{intent.deployment}: {line.state.value}{_because(line.message)}")
        if not wait:
            typer.echo(f"a running controller takes it from here: see `convoy deployments {intent.deployment}`")
    if wait and not _serves(line):
        raise typer.Exit(ExitCode.FAILED)


def undeploy(
    name: Annotated[str, typer.Argument(help="Name of the deployment.")],
    wait: Annotated[
        float, typer.Option("--wait", min=0, metavar="SECONDS", help="Wait until it has ended, at most so long.")
    ] = 0.0,
    as_json: JsonOption = False,
    home: HomeOption = None,
    database: DatabaseOption = None,
) -> None:
    """Ask for a deployment to end; what is in flight is finished first.

    JSON keys: those of `convoy deployments`. Exit codes: 0 asked (with --wait: it has ended), 1 not ended in time,
    3 no such deployment, 4 no database.
    """
    from convoy_controller.database.intents import withdraw_deployment

    with opened(home, database) as fleet:
        withdraw_deployment(fleet, name)
        line = _await(fleet, name, _has_ended, wait)
    print_json(line) if as_json else typer.echo(f"{name}: {line.state.value}{_because(line.message)}")
    if wait and not _has_ended(line):
        raise typer.Exit(ExitCode.FAILED)


def _serves(line: DeploymentLine) -> bool:
    """Whether it serves what is wanted now, rather than what was wanted before."""
    return line.state.value == "serving" and line.is_current


def _has_ended(line: DeploymentLine) -> bool:
    return line.state.value == "removed"


def _await(fleet: Database, name: str, is_done: Callable[[DeploymentLine], bool], wait_s: float) -> DeploymentLine:
    """The deployment once it is done, has failed, or `wait_s` have passed."""
    from convoy_controller.database import queries

    deadline = time.monotonic() + wait_s
    while True:
        line = queries.deployment(fleet, name)
        if is_done(line) or line.state.value == "failed" or time.monotonic() >= deadline:
            return line
        time.sleep(POLL_S)


def _because(message: str) -> str:
    return f" ({message})" if message else ""


def _show_deployments(lines: tuple[DeploymentLine, ...]) -> None:
    print_table(
        ("DEPLOYMENT", "MODEL", "METHOD", "STATE", "GENERATION", "READY", "MESSAGE"),
        [
            (
                line.deployment,
                f"{line.model} {line.version}",
                line.method.value,
                line.state.value,
                "-" if line.generation is None else str(line.generation),
                f"{line.ready_boards}/{line.assigned_boards}",
                line.message or "-",
            )
            for line in lines
        ],
        [_STYLES.get(line.state.value, "") for line in lines],
    )


def _show_deployment(fleet: Database, name: str, as_json: bool) -> None:
    from convoy_controller.database import queries

    line = queries.deployment(fleet, name)
    history = queries.generations(fleet, name, limit=10)
    view = queries.plan(fleet, name) if history else None
    if as_json:
        print_json({"deployment": line, "plan": view, "generations": history})
        return
    print_facts(
        [
            ("deployment", line.deployment),
            ("model", f"{line.model} {line.version}"),
            ("method", f"{line.method.value}, {line.cut.value}, {line.objective.value}, batches of {line.batch}"),
            ("state", line.state.value),
            ("message", line.message),
        ]
    )
    if view is None:
        typer.echo("not placed yet: a running controller places it (`convoy up`); `convoy events` says more")
        return
    _show_plan(view)
    _show_history(history)


def _show_plan(view: PlanView) -> None:
    typer.echo(f"\ngeneration {view.generation} ({view.state.value})")
    print_table(
        ("STAGE", "BOARD", "LAYERS", "MODULES", "PRESENCE", "PHASE"),
        [
            (
                str(stage.stage + 1),
                replica.board,
                ", ".join(f"{name} (processor)" if name in stage.processor else name for name in stage.layers),
                ", ".join(f"{partition}: {kind}" for partition, kind in sorted(replica.slots.items())) or "-",
                replica.presence.value,
                replica.phase.value,
            )
            for stage in view.stages
            for replica in stage.replicas
        ],
    )


def _show_history(history: tuple[GenerationLine, ...]) -> None:
    print_table(
        ("GENERATION", "STATE", "BOARDS", "CREATED", "REASON"),
        [
            (
                str(item.generation),
                item.state.value,
                str(item.boards),
                item.created_at.strftime("%Y-%m-%d %H:%M:%S"),
                item.reason or "-",
            )
            for item in history
        ],
    )
