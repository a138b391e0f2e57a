"""`python -m convoy_simulator`: fleets in virtual time, each from a seed; `make soak` calls it.

Exit codes: 0 every seed went well, 1 some did not, 2 the command line.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from convoy_simulator.ordered_sets import HASH_SEED, begin_anew
from convoy_simulator.profiles import PROFILES
from convoy_simulator.run import run
from convoy_simulator.shrinking import shrink
from convoy_simulator.soak import Result, Seed, run_all

#: What is run by default: so many seeds of everything together, and of each other profile.
MOST_SEEDS, OTHER_SEEDS = 20_000, 300
#: Failures that are shown, and shrunk.
SHOWN = 5
_PROGRAM = "python -m convoy_simulator"


def main(arguments: Sequence[str]) -> int:
    """Run what the command line names; returns the exit code."""
    chosen = _parser().parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    try:
        seeds = _seeds(chosen)
        if chosen.seed is not None:
            return _show_one(seeds[0], chosen.log, console)
    except ValueError as error:
        console.print(f"{_PROGRAM}: {error}", markup=False)
        return 2
    return _run_many(seeds, chosen, console)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=_PROGRAM, description="Run whole fleets in virtual time, each from a seed.")
    names = ", ".join(PROFILES)
    parser.add_argument("--profile", default=None, help=f"which trouble: {names}; several with commas")
    parser.add_argument("--seeds", type=_range, default=None, metavar="FROM:TO", help="which seeds, TO left out")
    parser.add_argument("--seed", type=int, default=None, help="one seed, and what came of it")
    parser.add_argument("--log", action="store_true", help="with --seed: what the whole fleet logs, by virtual time")
    parser.add_argument("--trouble", type=float, metavar="S", help="virtual seconds of faults (default: the profile's)")
    parser.add_argument("--faults", type=_numbers, default=None, help="with --seed: only these of its faults, or none")
    parser.add_argument("--asked", type=float, default=None, metavar="S", help="with --seed: seconds of requests")
    parser.add_argument("--boards", type=int, default=None, help="with --seed: so many boards")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one for each core)")
    parser.add_argument("--no-shrink", action="store_true", help="show failing seeds as they are")
    return parser


def _range(text: str) -> range:
    found = re.fullmatch(r"(\d+):(\d+)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"FROM:TO was expected, such as 0:500, {text!r} came")
    return range(int(found[1]), int(found[2]))


def _numbers(text: str) -> tuple[int, ...]:
    if text == "none":
        return ()
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise argparse.ArgumentTypeError(f"numbers with commas, or none, were expected, {text!r} came")
    return tuple(int(number) for number in text.split(","))


def _seeds(chosen: argparse.Namespace) -> list[Seed]:
    profiles = chosen.profile.split(",") if chosen.profile else ["all"]
    if chosen.seed is not None:
        small = chosen.faults, chosen.asked, chosen.boards
        return [Seed(profiles[0], chosen.seed, chosen.trouble, *small)]
    if chosen.seeds is not None:
        found = [Seed(name, number, chosen.trouble) for number in chosen.seeds for name in profiles]
    elif chosen.profile:
        found = [Seed(name, number, chosen.trouble) for number in range(500) for name in profiles]
    else:
        found = [Seed("all", number, chosen.trouble) for number in range(MOST_SEEDS)]
        others = [name for name in PROFILES if name != "all"]
        found += [Seed(name, number, chosen.trouble) for number in range(OTHER_SEEDS) for name in others]
    for seed in found[: len(profiles)]:
        seed.plan()  # a name that there is not is said at once
    return found


def _run_many(seeds: Sequence[Seed], chosen: argparse.Namespace, console: Console) -> int:
    began = time.monotonic()
    failed: list[Result] = []
    slowest = 0.0
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("seeds", total=len(seeds))
        for result in run_all(seeds, chosen.jobs):
            slowest = max(slowest, result.settled_s)
            if result.problems:
                failed.append(result)
                _show(result, console)
            progress.update(task, advance=1, description=f"seeds, {len(failed)} failed" if failed else "seeds")
    seconds = time.monotonic() - began
    console.print(
        f"{len(seeds)} seeds in {seconds:.0f} s ({len(seeds) / seconds:.1f} a second), {len(failed)} failed; "
        f"the slowest to settle took {slowest:.1f} virtual seconds"
    )
    for result in failed[:SHOWN]:
        if not chosen.no_shrink:
            _show_shrunk(result.seed, console)
    return 1 if failed else 0


def _show(result: Result, console: Console) -> None:
    lines = [f"{result.seed.profile} {result.seed.number} failed:", *(f"  {problem}" for problem in result.problems)]
    lines.append(f"  again: {result.seed.command()}   (with --log: what the fleet logs)")
    console.print("\n".join(lines), markup=False)


def _show_shrunk(seed: Seed, console: Console) -> None:
    shrunk = shrink(seed.plan())
    smallest = seed.smaller(shrunk.plan)
    plan = shrunk.plan
    lines = [f"{seed.profile} {seed.number}, shrunk by {shrunk.runs} runs to {len(plan.faults)} faults:"]
    lines += [f"  {fault}" for fault in plan.faults]
    lines += [f"  {problem}" for problem in run(plan).problems[:3]]
    lines.append(f"  again: {smallest.command('--log')}")
    console.print("\n".join(lines), markup=False)


def _show_one(seed: Seed, is_logged: bool, console: Console) -> int:
    plan = seed.plan()
    shape = plan.shape
    console.print(
        f"{seed.profile} {seed.number}: {shape.boards} boards, {shape.used} of them used and {shape.spare} spare, "
        f"{shape.gateways} gateways, {shape.method.value}, {len(plan.faults)} faults",
        markup=False,
    )
    for number, fault in enumerate(plan.faults):
        console.print(f"  {number:3} {fault}", markup=False)
    outcome = run(plan, (lambda line: console.print(line, markup=False)) if is_logged else None)
    account = outcome.account
    if account is not None:
        console.print(
            f"{account.answered} of {account.sent} requests answered, {account.excused} refused where nobody could "
            f"answer; settled {outcome.settled_s:.1f} s after the last fault, {outcome.messages} messages in "
            f"{outcome.seconds:.1f} virtual seconds; trace {outcome.trace}"
        )
    for problem in outcome.problems:
        console.print(f"  {problem}", markup=False)
    if not outcome.problems:
        console.print("nothing is wrong")
    return 1 if outcome.problems else 0


def with_ordered_sets(arguments: Sequence[str]) -> None:
    """Begin anew, unless sets of strings iterate in this process as in every other."""
    name, value = HASH_SEED
    if os.environ.get(name) != value:
        begin_anew(["-m", "convoy_simulator", *arguments])


if __name__ == "__main__":
    with_ordered_sets(sys.argv[1:])
    sys.exit(main(sys.argv[1:]))
