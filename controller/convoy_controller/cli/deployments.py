"""`convoy deployments`: what is wanted of the fleet, and how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from convoy_controller.cli.completing import complete_deployments
from convoy_controller.cli.fleet import fleet_command
from convoy_controller.cli.options import JsonOption
from convoy_controller.cli.printing import print_facts, print_json, print_table

if TYPE_CHECKING:
    from convoy_controller.api_client.client import FleetClient
    from convoy_controller.database.views import DeploymentLine, GenerationLine, PlanView

_STYLES = {"serving": "green", "failed": "red", "paused": "yellow", "removed": "dim"}


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(deployments)


@fleet_command
def deployments(
    fleet: FleetClient,
    name: Annotated[
        str | None, typer.Argument(help="Show this one's plan and history.", autocompletion=complete_deployments)
    ] = None,
    removed: Annotated[bool, typer.Option("--removed", help="Also those that have ended.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List deployments, or show who runs which layers of one.

    JSON keys: deployment, model, version, method, boards, objective, cut, batch, wanted, state, message, generation,
    generation_state, is_current, assigned_boards, ready_boards, created_at, changed_at, board_names, replicas, spare;
    with NAME an object of that `deployment`, its `plan` (deployment, generation, state, stages, facts; null before it
    is placed) and its `generations`. Exit codes: 0, 3 no such deployment, 4 no fleet there.
    """
    if name is not None:
        _show_deployment(fleet, name, as_json)
        return
    lines = fleet.deployments(removed)
    if as_json:
        print_json(lines)
    elif lines:
        _show_deployments(lines)
    elif fleet.models():
        typer.echo("no deployments yet: `convoy deploy MODEL` makes one (`convoy models` lists models)")
    else:
        typer.echo(
            "no deployments yet, and no models: begin with `convoy model import FILE.onnx --calibration FILE.npz`, "
            "or with `convoy model import lenet5 --calibration digits`"
        )


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


def _show_deployment(fleet: FleetClient, name: str, as_json: bool) -> None:
    line = fleet.deployment(name)
    history = fleet.generations(name, limit=10)
    view = fleet.plan_of(name) if history else None
    if as_json:
        print_json({"deployment": line, "plan": view, "generations": history})
        return
    print_facts(
        [
            ("deployment", line.deployment),
            ("model", f"{line.model} {line.version}"),
            ("method", f"{line.method.value}, {line.cut.value}, {line.objective.value}, batches of {line.batch}"),
            ("boards", _asked_for(line)),
            ("state", line.state.value),
            ("message", line.message),
        ]
    )
    if view is None:
        typer.echo("not placed yet: a running controller places it (`convoy up`); `convoy events` says more")
        return
    _show_plan(view)
    _show_history(history)


def _asked_for(line: DeploymentLine) -> str:
    """On which boards, in words."""
    parts = [", ".join(line.board_names) or (str(line.boards) if line.boards else "as many as help")]
    if line.replicas:
        parts.append(f"at most {line.replicas} share a stage")
    if line.spare:
        parts.append(f"{line.spare} spare")
    return "; ".join(parts)


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
