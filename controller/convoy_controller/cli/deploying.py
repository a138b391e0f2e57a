"""`convoy deploy`, `convoy scale`, `convoy undeploy`: what is wanted of the fleet.

They say what the owner wants; a running controller sees it within a second and acts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer
from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Cut, Objective

from convoy_controller.cli.completing import complete_deployments, complete_models
from convoy_controller.cli.exit_codes import ExitCode
from convoy_controller.cli.fleet import fleet_command
from convoy_controller.cli.options import REPLICAS_HELP, JsonOption
from convoy_controller.cli.printing import print_json
from convoy_controller.cli.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from convoy_controller.api_client.client import FleetClient
    from convoy_controller.database.views import DeploymentLine

#: Seconds between two looks while waiting.
POLL_S = 0.2
#: Boards that may be asked for, by number and by name.
MOST_BOARDS, MOST_NAMES = 100_000, 256
_BOARDS_HELP = (
    "A number (as many as can have a layer; 0: as many as help), or names of boards separated by commas: only these "
    "take part, and one that is offline is taken in when it comes."
)


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(deploy)
    app.command()(scale)
    app.command()(undeploy)


@fleet_command
def deploy(
    fleet: FleetClient,
    model: Annotated[
        str, typer.Argument(help="Name of a model, as `convoy models` lists it.", autocompletion=complete_models)
    ],
    version: Annotated[str | None, typer.Option("--version", help="Version; the newest unless given.")] = None,
    method: Annotated[Method, typer.Option("--method", help="How it is brought onto the boards.")] = Method.LIBRARY,
    boards: Annotated[str, typer.Option("--boards", metavar="N|NAME,...", help=_BOARDS_HELP)] = "0",
    replicas: Annotated[int, typer.Option("--replicas", min=0, max=1024, help=REPLICAS_HELP)] = 0,
    spare: Annotated[
        int, typer.Option("--spare", min=0, max=MOST_BOARDS, help="Boards to keep out of it, to take over from others.")
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
) -> None:
    """Ask for a model to be served; asking again under the same name changes what is served.

    JSON keys: those of `convoy deployments`. Exit codes: 0 asked (with --wait: it serves), 1 refused, failed or not
    serving in time, 2 no such name can be, 3 no such model, version or board,
    4 no fleet there, 5 not allowed, 6 somebody else changed it meanwhile.
    """
    from convoy_schema.names import check_name

    count, names = boards_of(boards)
    deployment = check_name(name or model, "deployment")
    wanted = {
        "model": check_name(model, "model"),
        "version": None if version is None else check_name(version, "version"),
        "method": method.value,
        "boards": count,
        "board_names": names,
        "objective": objective.value,
        "cut": cut.value,
        "batch": batch,
        "replicas": replicas,
        "spare": spare,
    }
    fleet.deploy(deployment, wanted, _seen(fleet, deployment))
    line = _await(fleet, deployment, _serves, wait, as_json)
    _conclude(line, wait, as_json, _away(fleet, names))


@fleet_command
def scale(
    fleet: FleetClient,
    name: Annotated[str, typer.Argument(help="Name of the deployment.", autocompletion=complete_deployments)],
    boards: Annotated[str | None, typer.Option("--boards", metavar="N|NAME,...", help=_BOARDS_HELP)] = None,
    replicas: Annotated[int | None, typer.Option("--replicas", min=0, max=1024, help=REPLICAS_HELP)] = None,
    wait: Annotated[
        float, typer.Option("--wait", min=0, metavar="SECONDS", help="Wait until it serves so, at most so long.")
    ] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Run a deployment on more or fewer boards, or on others; all else of it stays, and no request is lost.

    JSON keys: those of `convoy deployments`. Exit codes: 0 asked, or so already (with --wait: it serves so), 1 failed
    or not serving in time, 2 nothing to change or not a list of boards, 3 no such deployment or board,
    4 no fleet there, 5 not allowed, 6 somebody else changed it meanwhile.
    """
    from convoy_schema.names import check_name

    if boards is None and replicas is None:
        raise typer.BadParameter("say --boards or --replicas: what is to change", param_hint="--boards")
    wanted: dict[str, object] = {} if replicas is None else {"replicas": replicas}
    if boards is not None:
        count, names = boards_of(boards)
        wanted |= {"boards": count, "board_names": names}
    seen = fleet.deployment(check_name(name, "deployment"))
    asked = fleet.scale(seen, wanted)
    if asked.intent_revision == seen.intent_revision and not as_json:
        typer.echo(f"{name} is asked for like this already: nothing changes")
    line = _await(fleet, name, _serves, wait, as_json)
    _conclude(line, wait, as_json, _away(fleet, line.board_names))


@fleet_command
def undeploy(
    fleet: FleetClient,
    name: Annotated[str, typer.Argument(help="Name of the deployment.", autocompletion=complete_deployments)],
    wait: Annotated[
        float, typer.Option("--wait", min=0, metavar="SECONDS", help="Wait until it has ended, at most so long.")
    ] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Ask for a deployment to end; what is in flight is finished first.

    JSON keys: those of `convoy deployments`. Exit codes: 0 asked (with --wait: it has ended), 1 not ended in time,
    3 no such deployment, 4 no fleet there, 5 not allowed.
    """
    from convoy_schema.names import check_name

    fleet.undeploy(check_name(name, "deployment"))
    line = _await(fleet, name, _has_ended, wait, as_json)
    print_json(line) if as_json else typer.echo(f"{name}: {line.state.value}{_because(line.message)}")
    if wait and not _has_ended(line):
        raise typer.Exit(ExitCode.FAILED)


def _seen(fleet: FleetClient, deployment: str) -> DeploymentLine | None:
    """What is there under that name, so that a change of it by somebody else meanwhile is noticed."""
    from convoy_controller.errors import NotFoundError

    try:
        return fleet.deployment(deployment)
    except NotFoundError:
        return None


def _serves(line: DeploymentLine) -> bool:
    """Whether it serves what is wanted now, rather than what was wanted before."""
    return line.state.value == "serving" and line.is_current


def _has_ended(line: DeploymentLine) -> bool:
    return line.state.value == "removed"


def boards_of(text: str) -> tuple[int, tuple[str, ...]]:
    """What `--boards` asks for: how many, and which (none: any); raises `typer.BadParameter` or `TopicError`."""
    from convoy_schema.names import check_name

    if text.isdecimal() and int(text) <= MOST_BOARDS:
        return int(text), ()
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if len(names) > MOST_NAMES or not all(names) or text.lstrip("-").isdecimal():
        raise typer.BadParameter(
            f"{text[:80]!r} is neither a number from 0 to {MOST_BOARDS} nor up to {MOST_NAMES} names of boards "
            "separated by commas",
            param_hint="--boards",
        )
    for name in names:
        check_name(name, "board")
    return len(names), names


def _await(
    fleet: FleetClient, name: str, is_done: Callable[[DeploymentLine], bool], wait_s: float, as_json: bool
) -> DeploymentLine:
    """The deployment once it is done, has failed, or `wait_s` have passed; how far it is is shown meanwhile."""
    deadline = time.monotonic() + wait_s
    with progress(fleet, is_shown=wait_s > 0 and not as_json) as shown:
        while True:
            line = fleet.deployment(name)
            if is_done(line) or line.state.value == "failed":
                return line
            shown.show(line)
            if time.monotonic() >= deadline:
                return line
            time.sleep(POLL_S)


def _away(fleet: FleetClient, names: tuple[str, ...]) -> list[str]:
    """Of the boards that were named, those that are not there."""
    presence = {line.board: line.presence.value for line in fleet.boards()} if names else {}
    return [f"{name} is {presence[name]}" for name in names if presence.get(name, "online") != "online"]


def _conclude(line: DeploymentLine, wait: float, as_json: bool, away: list[str]) -> None:
    """Say how far a deployment came that was asked for; ends with `ExitCode.FAILED` if it was to serve and does not."""
    if as_json:
        print_json(line)
    else:
        typer.echo(f"{line.deployment}: {line.state.value}{_because(line.message)}")
        if away:
            typer.echo(f"{', '.join(away)}: waited for, and taken in when there")
        if not wait:
            typer.echo(f"a running controller takes it from here: see `convoy deployments {line.deployment}`")
        elif not _serves(line) and line.state.value != "failed":
            served = "it still serves what was asked for before; " if line.state.value == "serving" else ""
            typer.echo(
                f"{served}what is asked for now does not serve after {wait:g} s: a running controller goes on with it, "
                f"see `convoy deployments {line.deployment}`"
            )
    if wait and not _serves(line):
        raise typer.Exit(ExitCode.FAILED)


def _because(message: str) -> str:
    return f" ({message})" if message else ""
