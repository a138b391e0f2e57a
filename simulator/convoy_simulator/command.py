"""`convoy simulate`: how a fleet would do that its user does not have yet. `convoy` finds it by its entry point."""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from convoy_controller.cli.exit_codes import ExitCode
from convoy_controller.cli.options import JsonOption
from convoy_schema.bundle import Method

from convoy_simulator.ordered_sets import HASH_SEED, begin_anew

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from convoy_simulator.sizing import Estimate, Progress

PROFILES = ("calm", "office", "3g", "satellite")
SCENARIOS = ("deploy", "replace", "outage", "steady")
#: Seconds between two lines of progress where there is no terminal.
LINE_S = 10.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(simulate)


def simulate(
    boards: Annotated[int, typer.Option("--boards", min=1, max=100_000, help="How many boards.")] = 100,
    model: Annotated[str, typer.Option("--model", help="One of the networks that come along.")] = "lenet5",
    profile: Annotated[
        str, typer.Option("--profile", metavar="NAME", help=f"What lines boards have: {', '.join(PROFILES)}.")
    ] = "office",
    scenario: Annotated[
        str,
        typer.Option(
            "--scenario",
            metavar="NAME",
            help="deploy: onto an empty fleet; replace: by another version; outage: the broker loses everything and is "
            "away for a minute; steady: nothing happens.",
        ),
    ] = "deploy",
    method: Annotated[Method, typer.Option("--method", help="How it is brought onto the boards.")] = Method.ALLOCATE,
    per_deployment: Annotated[
        int, typer.Option("--per-deployment", min=1, max=256, help="Boards that serve each deployment.")
    ] = 100,
    hours: Annotated[float, typer.Option("--hours", min=0.01, max=1000, help="Virtual hours.")] = 1.0,
    board_slowness: Annotated[
        float,
        typer.Option("--board-slowness", min=0.1, help="How many times as slow as a server's core a board's is."),
    ] = 12.0,
    whole: Annotated[
        bool, typer.Option("--whole", help="Step through every second, even when nothing but heartbeats passes.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of all chance; the same seed gives the same figures.")] = 1,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.md", help="Write what was found as Markdown.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw boards ready and the broker's traffic.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Size a fleet: run it in virtual time, the very code of production, and say what carries it.

    Nothing real is needed or touched. Seconds until boards are ready, what passes the broker, how busy broker and
    controller are at worst, and how many of them that takes; and how far such figures were off where real fleets were
    measured.

    JSON keys: question, ready_median_s, ready_p99_s, ready_last_s, ready_boards, stepped_s, broker (messages, bytes,
    peak_messages_per_s, peak_bytes_per_s, dropped, raised: its settings by name), uses (part, peak, unit, capacity,
    share, needed), bottleneck, memory (controller_bytes, broker_bytes), own (seconds, bytes), calibration. Exit codes:
    0 every board was ready, 1 not all within the hours.
    """
    _one_of("--profile", profile, PROFILES)
    _one_of("--scenario", scenario, SCENARIOS)
    _hash_alike()
    from convoy_controller.cli.printing import print_json
    from convoy_models import SHIPPED

    from convoy_simulator import reporting
    from convoy_simulator.sizing import Arrangement, Question, estimate

    _one_of("--model", model, tuple(SHIPPED))
    question = Question(boards, model, profile, scenario, method, min(per_deployment, boards), hours, seed, whole)
    found = _shown(lambda progress: estimate(question, Arrangement(None, board_slowness), progress), boards)
    if as_json:
        print_json(reporting.as_json(found))
    else:
        reporting.show(found)
    if report is not None:
        report.write_text(reporting.markdown(found), encoding="utf-8")
    if plot is not None:
        reporting.draw(found, plot)
    if math.isinf(found.quantile(1.0)):
        raise typer.Exit(ExitCode.FAILED)


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(allowed)}", param_hint=option)


def _hash_alike() -> None:
    """Sets of strings must iterate alike, or a seed would not give the same figures: begin anew if they do not."""
    if sys.flags.hash_randomization and HASH_SEED[0] not in os.environ and Path(sys.argv[0]).name == "convoy":
        begin_anew(sys.argv)


class _Lines:
    """Progress for those who read a log: a line every `LINE_S` seconds of theirs."""

    def __init__(self, shown: Console, boards: int) -> None:
        self._shown = shown
        self._boards = boards
        self._told_at = time.monotonic()

    def __call__(self, what: str, seconds: float, ready: int) -> None:
        if time.monotonic() >= self._told_at + LINE_S:
            self._told_at = time.monotonic()
            self._shown.print(f"{what}: {ready} of {self._boards} ready at {seconds:.0f} virtual seconds", markup=False)


def _shown(run: Callable[[Progress], Estimate], boards: int) -> Estimate:
    """Run it with a bar on stderr; on no terminal, with a line now and then."""
    from convoy_controller.cli.printing import console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    shown = console(stderr=True)
    if not shown.is_terminal:
        return run(_Lines(shown, boards))
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[at]}"), TimeElapsedColumn())
    with Progress(*columns, console=shown, transient=True) as bar:
        task = bar.add_task("", total=boards, at="")

        def tell(what: str, seconds: float, ready: int) -> None:
            bar.update(task, description=what, completed=ready, at=f"{ready} of {boards} ready at {seconds:.0f} s")

        return run(tell)
