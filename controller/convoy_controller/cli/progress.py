"""How far a deployment is, while somebody waits for it: a display that moves on a terminal, else a line a change.

It goes to stderr, so that what a command answers stays alone on stdout.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from convoy_controller.cli.printing import console
from convoy_controller.errors import NotFoundError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

    from convoy_controller.api_client.client import FleetClient
    from convoy_controller.database.views import DeploymentLine, PlanView, ReplicaLine

#: Boards shown at once.
MOST_SHOWN = 24


class Progress:
    """What is shown of one wait; `live` is None where nothing can move."""

    def __init__(self, fleet: FleetClient | None, console: Console | None = None, live: Live | None = None) -> None:
        self._fleet = fleet
        self._console = console
        self._live = live
        self._said: set[str] = set()

    def show(self, line: DeploymentLine) -> None:
        """Show where it is now."""
        if self._fleet is None or self._console is None:
            return
        from rich.text import Text

        because = f": {line.message}" if line.message else ""
        head = f"{line.deployment} is {line.state.value}{because}"
        plan = _plan(self._fleet, line)
        if self._live is not None:
            # Text, not a string: what boards and owners wrote is never markup.
            shown = [head, *(f"  {each}" for each in board_lines(plan, with_bytes=True))]
            self._live.update(Text("\n".join(shown)), refresh=True)
            return
        for said in [head, *board_lines(plan, with_bytes=False)]:
            if said not in self._said:
                self._said.add(said)
                self._console.print(said, markup=False, soft_wrap=True)


@contextmanager
def progress(fleet: FleetClient, *, is_shown: bool) -> Iterator[Progress]:
    """Shows nothing unless `is_shown`; a moving display is cleared after the block."""
    if not is_shown:
        yield Progress(None)
        return
    made = console(stderr=True)
    if not made.is_terminal:
        yield Progress(fleet, made)
        return
    from rich.live import Live

    with Live(console=made, transient=True, auto_refresh=False) as live:
        yield Progress(fleet, made, live)


def board_lines(plan: PlanView | None, *, with_bytes: bool) -> list[str]:
    """A line a board of the newest generation, those not ready first; `with_bytes`: how much it has fetched."""
    replicas = [(stage.stage, replica) for stage in plan.stages for replica in stage.replicas] if plan else []
    replicas.sort(key=lambda each: (each[1].phase.value == "ready", each[0], each[1].board))
    generation = f"generation {plan.generation}" if plan else ""
    lines = [_line(generation, stage, replica, with_bytes) for stage, replica in replicas[:MOST_SHOWN]]
    left = len(replicas) - MOST_SHOWN
    return [*lines, f"and {left} boards more"] if left > 0 else lines


def _line(generation: str, stage: int, replica: ReplicaLine, with_bytes: bool) -> str:
    phase = replica.phase.value
    if replica.presence.value != "online":
        phase = f"{phase}, {replica.presence.value}"
    fetched = ""
    if with_bytes and replica.phase.value == "fetching" and replica.total_bytes:
        fetched = f" {replica.done_bytes / replica.total_bytes:4.0%}"
    return f"{generation}, stage {stage + 1}, {replica.board}: {phase}{fetched}"


def _plan(fleet: FleetClient, line: DeploymentLine) -> PlanView | None:
    if line.generation is None:
        return None
    try:
        return fleet.plan_of(line.deployment, str(line.generation))
    except NotFoundError:  # removed between the two looks
        return None
