"""Fuzzes every decoder for its share of the time, on all cores, and prints what came of it; exit code 1 on any fault.

`make fuzz SECONDS=600` runs it. `--replay TARGET FILE` runs one input that was saved, with its traceback.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from target import TARGETS, Target
from targets import FOLDERS
from worker import Notes, save

HERE = Path(__file__).resolve().parent
#: Seconds after which an input is taken for one that does not return, and those that a start may take beside.
PATIENCE_S, START_S = 60.0, 300.0
#: Where workers write the input that they try, and decoders want it as a file: in memory where there is such a place.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
#: Where inputs that failed are kept.
FAULTS = Path("fuzz-faults")
_COVERAGE = re.compile(r"\bcov: (\d+)")


@dataclass(frozen=True)
class Ran:
    """What one target's process did. `branches` is None where they were not counted."""

    name: str
    engine: str
    inputs: int
    seconds: float
    branches: int | None
    faults: int


@dataclass(frozen=True)
class Plan:
    """How each target is run: `module` is where they are all, `patience_s` is what one input may take at most."""

    engine: str
    seed: int
    faults: Path
    module: str = "targets"
    inputs: int = 2**31 - 1
    patience_s: float = PATIENCE_S

    def run(self, target: Target, seconds: float) -> Ran:
        """Run one target for `seconds` in a process of its own."""
        name = target.name
        with tempfile.TemporaryDirectory(prefix="convoy-fuzz-", dir=MEMORY) as folder:
            command = [sys.executable, str(HERE / "worker.py"), name, "--module", target.decode.__module__]
            command += ["--engine", self.engine, "--seconds", str(seconds), "--seed", str(self.seed)]
            command += ["--inputs", str(self.inputs), "--faults", str(self.faults.resolve())]
            before, began = self.faults_of(name), time.monotonic()
            with Path(folder, "log").open("wb") as log:
                process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=_environment(folder))
                reason = _ended(process, Path(folder, "notes"), self.patience_s)
            took_s = time.monotonic() - began
            inputs, last = Notes.read(Path(folder, "notes"))
            said = Path(folder, "log").read_text(encoding="utf-8", errors="replace")
            if reason or not inputs:
                save(self.faults, name, last, f"{reason or 'no input was tried'}\n{said[-4000:]}")
        found = _COVERAGE.findall(said)
        new = len(self.faults_of(name) - before)
        return Ran(name, self.engine, inputs, took_s, int(found[-1]) if found else None, new)

    def faults_of(self, name: str) -> set[Path]:
        """Files of inputs on which that target failed."""
        return set(self.faults.glob(f"{name}-{'[0-9a-f]' * 12}"))


def _environment(folder: str) -> dict[str, str]:
    # One thread a process: there is one process a core.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    path = os.pathsep.join(filter(None, (*map(str, FOLDERS), os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, **threads, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore", "TMPDIR": folder}


def _ended(process: subprocess.Popen[bytes], notes: Path, patience_s: float) -> str:
    """Wait for the end; '' or what was wrong with it."""
    inputs, since = 0, time.monotonic() + START_S
    while True:
        try:
            code = process.wait(0.1)
        except subprocess.TimeoutExpired:
            pass
        else:
            return "" if code == 0 else f"the process ended with code {code}"
        now, found = time.monotonic(), Notes.count(notes)
        if found != inputs:
            inputs, since = found, now
        elif now - since > patience_s:
            process.kill()
            process.wait()
            return f"an input did not return within {patience_s:g} s"


def shares(names: list[str], seconds: float, cores: int) -> dict[str, float]:
    """Seconds of each target, so that all of them on `cores` take `seconds`."""
    whole = sum(TARGETS[name].share for name in names)
    return {name: seconds * min(cores, len(names)) * TARGETS[name].share / whole for name in names}


HEAD = f"{'target':30} {'engine':8} {'inputs':>9} {'inputs/s':>9} {'branches':>9} {'faults':>6}"


def line(ran: Ran) -> str:
    """One run, for people, below `HEAD`."""
    rate = ran.inputs / max(ran.seconds, 1e-3)
    branches = "-" if ran.branches is None else str(ran.branches)
    return f"{ran.name:30} {ran.engine:8} {ran.inputs:9} {rate:9.0f} {branches:>9} {ran.faults:6}"


def total(runs: list[Ran]) -> str:
    """Their sum, likewise."""
    inputs, faults = sum(ran.inputs for ran in runs), sum(ran.faults for ran in runs)
    return f"{len(runs):3} targets {inputs:38} {faults:26}"


def replay(module: str, name: str, file: Path) -> int:
    """Run one saved input; what it does is printed, and raised."""
    importlib.import_module(module)
    print(f"{name}: {TARGETS[name](file.read_bytes())}")
    return 0


def chosen_engine(asked: str) -> str:
    """The engine there is, said aloud where it is not the one of choice."""
    if asked != "blind" and importlib.util.find_spec("atheris") is not None:
        return "atheris"
    if asked == "atheris":
        sys.exit("atheris is not installed here: make fuzz tries to; --engine blind needs nothing")
    if asked != "blind":
        print(f"atheris cannot be had for this Python ({sys.version.split()[0]}): inputs are made blindly instead.")
    return "blind"


def main(arguments: list[str]) -> int:
    """Run, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", help="names, or how they begin; all without any")
    parser.add_argument("--seconds", type=float, default=120.0, help="for all of them together")
    parser.add_argument("--inputs", type=int, default=Plan.inputs, help="for each of them at most")
    parser.add_argument("--engine", choices=("auto", "atheris", "blind"), default="auto")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--faults", type=Path, default=FAULTS, help="folder for inputs that fail")
    parser.add_argument("--module", default="targets")
    parser.add_argument("--patience", type=float, default=PATIENCE_S, help="seconds that one input may take")
    parser.add_argument("--replay", nargs=2, metavar=("TARGET", "FILE"), help="run one saved input")
    given = parser.parse_args(arguments)
    if given.replay:
        return replay(given.module, given.replay[0], Path(given.replay[1]))
    importlib.import_module(given.module)
    names = [name for name in TARGETS if not given.targets or name.startswith(tuple(given.targets))]
    if not names:
        parser.error(f"no target begins with {' or '.join(given.targets)}; there are {', '.join(TARGETS)}")
    plan = Plan(chosen_engine(given.engine), given.seed, given.faults, given.module, given.inputs, given.patience)
    times = shares(names, given.seconds, given.jobs)
    runs = []
    print(HEAD, flush=True)
    with ThreadPoolExecutor(given.jobs) as pool:
        for ran in pool.map(plan.run, [TARGETS[name] for name in names], times.values()):
            runs.append(ran)
            print(line(ran), flush=True)
    print(total(runs))
    return report(runs, plan)


def report(runs: list[Ran], plan: Plan) -> int:
    """Say how each fault is seen again; 1 if there is one."""
    faulty = [ran.name for ran in runs if ran.faults]
    if not faulty:
        return 0
    module = "" if plan.module == "targets" else f" --module {plan.module}"
    print(f"\nFaults, saved in {plan.faults} with a traceback each (.txt); to see one again:")
    for name in faulty:
        for file in sorted(plan.faults_of(name)):
            print(f"  {sys.executable} {Path(__file__)}{module} --replay {name} {shlex.quote(str(file))}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
