"""Holds predictions against real fleets on this machine: `python -m convoy_simulator.calibration` prints the table, and
`--write` puts it into calibration.toml, where `convoy simulate` finds it.

Costs come from one run of ten boards: what processes took, for each thing that they did. Then the same deployments are
predicted for a machine of so many cores that everybody shares, and measured. `--records` measures what records cost the
database first.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
from collections.abc import Callable, Iterable
from importlib import resources
from pathlib import Path
from typing import TypeVar

from convoy_controller import lenet5
from convoy_controller.cli.printing import print_table, size

from convoy_simulator.costs import Comparison, Records
from convoy_simulator.real_run import RealRun, deploy
from convoy_simulator.record_costs import measured
from convoy_simulator.sizing import Arrangement, Question, estimate

#: Boards, how many processes they are in, and how many runs and predictions are made, each of another seed. A small
#: fleet is ready after a second or one and a half, by when the controller looks next: the one in the middle counts.
SIZES = ((10, 10, 5), (100, 100, 3), (1000, 10, 1))
PER_DEPLOYMENT = 100

R = TypeVar("R")


def compare(boards: int, processes: int, runs: int) -> tuple[Comparison, RealRun]:
    """Predict a deployment of LeNet-5 on this machine, and carry it out, `runs` times each; the middle ones."""
    arrangement = Arrangement(os.cpu_count() or 1, boards_per_process=boards // processes)
    per = min(PER_DEPLOYMENT, boards)
    network, spec = lenet5.quantised()
    seeds = range(1, runs + 1)
    predicted = _middle(
        (estimate(Question(boards, per_deployment=per, seed=seed), arrangement) for seed in seeds),
        lambda each: each.quantile(1.0),
    )
    real = _middle((deploy(network, spec, boards, processes, per) for _ in seeds), lambda each: each.ready_s[-1])
    found = Comparison(boards, processes, real.ready_s[-1], predicted.quantile(1.0), real.bytes, predicted.deploy_bytes)
    return found, real


def _middle(found: Iterable[R], ready_s: Callable[[R], float]) -> R:
    ordered = sorted(found, key=ready_s)
    return ordered[len(ordered) // 2]


def main() -> None:
    """Compare, print, and write if asked to."""
    parser = argparse.ArgumentParser(prog="python -m convoy_simulator.calibration", description=__doc__)
    parser.add_argument("--boards", type=int, action="append", help="10, 100 or 1000; all of them unless given")
    parser.add_argument("--write", action="store_true", help="put the table into calibration.toml")
    parser.add_argument("--records", action="store_true", help="measure what records cost, and predict nothing")
    options = parser.parse_args()
    if options.records:
        measure_records(options.write)
        return
    wanted = options.boards or [boards for boards, _, _ in SIZES]
    compared = []
    for boards, processes, runs in SIZES:
        if boards in wanted:
            found, real = compare(boards, processes, runs)
            compared.append(found)
            print_table(
                ("PROCESS", "CPU", "MEMORY"), [(k, f"{v.seconds:.2f} s", size(v.bytes)) for k, v in real.spent.items()]
            )
            print_table(("BOARDS", "READY", "PREDICTED", "BYTES", "PREDICTED"), [_row(each) for each in compared])
    if options.write:
        path = _file()
        path.write_text(with_comparisons(path.read_text(encoding="utf-8"), compared), encoding="utf-8")


def measure_records(is_written: bool) -> None:
    """Print what each kind takes, and write it if asked to."""
    found = measured()
    kinds = dataclasses.asdict(found).items()
    print_table(("RECORD", "TAKES"), [(kind, f"{1e6 * seconds:,.0f} us") for kind, seconds in kinds])
    if is_written:
        path = _file()
        path.write_text(with_records(path.read_text(encoding="utf-8"), found), encoding="utf-8")


def _file() -> Path:
    return Path(str(resources.files(__package__) / "calibration.toml"))


def with_records(text: str, found: Records) -> str:
    """The file's text with those costs of records in place of the ones that it held."""
    before, _, rest = text.partition("[records]\n")
    _, _, after = rest.partition("\n\n")
    lines = [f"{kind} = {seconds:g}" for kind, seconds in dataclasses.asdict(found).items()]
    return before + "[records]\n" + "\n".join(lines) + "\n\n" + after


def _row(each: Comparison) -> tuple[str, ...]:
    return (
        str(each.boards),
        f"{each.ready_s:.2f} s",
        f"{each.predicted_ready_s:.2f} s ({100 * (each.predicted_ready_s / each.ready_s - 1):+.0f} %)",
        size(each.bytes),
        f"{size(each.predicted_bytes)} ({100 * (each.predicted_bytes / each.bytes - 1):+.0f} %)",
    )


def with_comparisons(text: str, compared: list[Comparison]) -> str:
    """The file's text with those comparisons in place of the ones that it held."""
    kept = re.sub(r"\n*(?:\[\[comparison\]\]\n(?:[^\[\n].*\n?)*\n*)+", "\n", text).rstrip() + "\n"
    for each in compared:
        kept += (
            f"\n[[comparison]]\nboards = {each.boards}\nprocesses = {each.processes}\n"
            f"ready_s = {each.ready_s:.2f}\npredicted_ready_s = {each.predicted_ready_s:.2f}\n"
            f"bytes = {each.bytes}\npredicted_bytes = {each.predicted_bytes}\n"
        )
    return kept


if __name__ == "__main__":
    main()
