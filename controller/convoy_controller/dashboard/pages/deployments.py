"""The list of deployments: how far each is, with what, and on how many boards."""

from __future__ import annotations

from functools import partial

from nicegui import ui
from starlette.requests import Request

from convoy_controller.dashboard.layout import frame
from convoy_controller.dashboard.parts import Sign
from convoy_controller.dashboard.table import Column, Row, Table, deployment_link, state
from convoy_controller.database import queries
from convoy_controller.database.records import DeploymentState
from convoy_controller.database.views import DeploymentLine

PATH = "/deployments"
COLUMNS = (
    Column("Deployment"),
    Column("State"),
    Column("Model", always=False),
    Column("Generation", always=False),
    Column("Boards ready"),
    Column("What is to be known"),
)
_STATES = {
    DeploymentState.SERVING: Sign("●", "good"),
    DeploymentState.STAGING: Sign("◔", "busy"),
    DeploymentState.PENDING: Sign("◔", "busy"),
    DeploymentState.PAUSED: Sign("▲", "warning"),
    DeploymentState.FAILED: Sign("■", "bad"),
}
EMPTY = "Nothing is deployed. `convoy deploy MODEL` places a model on the fleet; `convoy models` lists those there are."


def state_sign(found: DeploymentState) -> Sign:
    """How the state of a deployment is told."""
    return _STATES.get(found, Sign("◌", "quiet"))


def ready_text(line: DeploymentLine) -> str:
    """How many of its boards are ready."""
    return f"{line.ready_boards} of {line.assigned_boards}" if line.assigned_boards else "none is placed"


def row_of(line: DeploymentLine) -> Row:
    """A deployment in the list."""
    return Row(
        line.deployment,
        (
            deployment_link(line.deployment),
            [state(state_sign(line.state), line.state.value)],
            f"{line.model} {line.version}, by {line.method.value}",
            "" if line.generation is None else str(line.generation),
            ready_text(line),
            line.message,
        ),
    )


async def deployments(request: Request) -> None:
    """Every deployment that is wanted or still ending."""
    with frame(request, "Deployments", PATH) as view:
        table = Table(COLUMNS, "Deployments", EMPTY)

        def show(lines: tuple[DeploymentLine, ...]) -> None:
            table.show(map(row_of, lines))

        await view.keep(partial(queries.deployments, view.database), show, on={"deployments", "generations", "boards"})


def register() -> None:
    """Tell NiceGUI of it."""
    ui.page(PATH, title="Deployments · Convoy", response_timeout=20)(deployments)
