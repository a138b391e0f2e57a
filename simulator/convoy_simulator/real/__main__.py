"""`python -m convoy_simulator.real`: a fleet of real processes under load and faults. `make soak-real` calls it.

Exit codes: 0 every bar was kept, 1 one was broken, 2 it could not begin.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from pathlib import Path

from convoy_schema.errors import ConvoyError
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from convoy_simulator.real.report import as_markdown, replay, write
from convoy_simulator.real.soak import Glance, Options, Outcome, Soak

#: Seconds between two lines where nothing can move.
SAY_EVERY_S = 30.0


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; returns the exit code."""
    options, directory = _parse(arguments)
    console = Console(stderr=True)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    console.print(f"replay: {replay(options)}", markup=False, soft_wrap=True)
    try:
        outcome = _run(options, directory, console)
    except (ConvoyError, TimeoutError) as error:
        console.print(f"make soak-real: {error}", markup=False, soft_wrap=True)
        return 2
    paths = write(outcome, directory)
    Console().print(Markdown(as_markdown(outcome)))
    kept = (
        "every bar was kept"
        if outcome.is_kept
        else "BROKEN: " + ", ".join(bar.name for bar in outcome.bars if not bar.is_kept)
    )
    console.print(f"{kept}; {paths[0]}, {paths[1]}", markup=False, soft_wrap=True)
    return 0 if outcome.is_kept else 1


def _parse(arguments: list[str] | None) -> tuple[Options, Path]:
    usual = Options()
    parser = argparse.ArgumentParser(prog="soak-real", description="Real processes, real faults, one ledger.")
    parser.add_argument("--requests", type=int, default=usual.requests, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=usual.seed, help="of the faults (default: %(default)s)")
    parser.add_argument("--fault-every", type=float, default=usual.fault_every_s, help="seconds (default: %(default)s)")
    parser.add_argument(
        "--rate", type=float, default=usual.rate, help="requests a second, 0: all that go (default: %(default)s)"
    )
    parser.add_argument("--callers", type=int, default=usual.callers, help="at once (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=usual.minutes, help="at most (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/soak-real"), help="folder (default: %(default)s)")
    found = parser.parse_args(arguments)
    options = Options(
        found.requests, found.seed, found.fault_every, found.rate, found.callers, found.minutes, usual.timeout_s
    )
    return options, found.out.resolve()


def _run(options: Options, directory: Path, console: Console) -> Outcome:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    said_at = -SAY_EVERY_S
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("requests", total=options.requests, told="")

        def say(line: str) -> None:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

        def glance(seen: Glance) -> None:
            nonlocal said_at
            lost, failed, duplicated, wrong = seen.faults
            told = f"{seen.settled / max(seen.seconds, 1e-9):.0f}/s, {seen.strikes} faults"
            told += f", {lost} lost, {failed} failed, {duplicated} doubled, {wrong} wrong"
            progress.update(task, completed=seen.settled, told=told)
            if not console.is_terminal and seen.seconds - said_at >= SAY_EVERY_S:
                said_at = seen.seconds
                say(f"{seen.seconds:7.1f} s  {seen.settled} of {options.requests}, {told}{_left(options, seen)}")

        return Soak(options, directory, say, glance).run()


def _left(options: Options, seen: Glance) -> str:
    if not seen.settled:
        return ""
    left_s = (options.requests - seen.settled) * seen.seconds / seen.settled
    return f", {left_s / 60:.0f} min left"


if __name__ == "__main__":
    # As Ctrl-C does: namespaces and small disks must not stay behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
