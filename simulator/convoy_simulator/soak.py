"""Many seeds in many processes, and what to type to see one of them again.

Every process iterates its sets alike (`PYTHONHASHSEED`), so that a seed is the same run everywhere.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace

from convoy_controller.local_fleet import SINGLE_THREADED

from convoy_simulator.profiles import PROFILES
from convoy_simulator.run import Plan, plan_of, run
from convoy_simulator.shrinking import with_boards

#: Runs that wait for each process, so that none is idle.
_AHEAD = 4


@dataclass(frozen=True)
class Seed:
    """Names a run. `trouble_s` is what its faults are drawn for (None: as its profile says); the rest makes it smaller.

    `faults` counts in the list that was drawn; `asked_s`: for how long there are requests; `boards`: how many.
    """

    profile: str
    number: int
    trouble_s: float | None = None
    faults: tuple[int, ...] | None = None
    asked_s: float | None = None
    boards: int | None = None

    def plan(self) -> Plan:
        """What is run. Raises `ValueError` for a profile or a fault that there is not."""
        if self.profile not in PROFILES:
            raise ValueError(f"there is no profile {self.profile!r}; there are {', '.join(PROFILES)}")
        plan = plan_of(PROFILES[self.profile], self.number, self.trouble_s)
        if self.faults is not None:
            unknown = [number for number in self.faults if not 0 <= number < len(plan.faults)]
            if unknown:
                raise ValueError(f"seed {self.number} has {len(plan.faults)} faults, there is no fault {unknown[0]}")
            plan = replace(plan, faults=tuple(plan.faults[number] for number in self.faults))
        if self.asked_s is not None:
            plan = replace(plan, trouble_s=self.asked_s)
        return plan if self.boards is None else with_boards(plan, self.boards)

    def smaller(self, plan: Plan) -> Seed:
        """The name of a plan that is this one's, made smaller."""
        drawn = plan_of(PROFILES[self.profile], self.number, self.trouble_s)
        return replace(
            self,
            faults=tuple(drawn.faults.index(fault) for fault in plan.faults),
            asked_s=plan.trouble_s if plan.trouble_s != drawn.trouble_s else None,
            boards=plan.shape.boards if plan.shape != drawn.shape else None,
        )

    def command(self, *more: str) -> str:
        """What to type."""
        words = ["--profile", self.profile, "--seed", str(self.number)]
        if self.trouble_s is not None:
            words += ["--trouble", f"{self.trouble_s:g}"]
        if self.faults is not None:
            words += ["--faults", ",".join(map(str, self.faults)) or "none"]
        if self.asked_s is not None:
            words += ["--asked", f"{self.asked_s:g}"]
        if self.boards is not None:
            words += ["--boards", str(self.boards)]
        return f'make soak ARGS="{" ".join([*words, *more])}"'


@dataclass(frozen=True)
class Result:
    """What came of a seed: what was found, and what it took (seconds of a processor, and virtual ones)."""

    seed: Seed
    problems: tuple[str, ...]
    trace: str
    cpu_s: float
    virtual_s: float
    settled_s: float
    requests: int


def run_seed(seed: Seed) -> Result:
    """In this process."""
    began = time.process_time()
    outcome = run(seed.plan())
    spent = time.process_time() - began
    sent = outcome.account.sent if outcome.account is not None else 0
    return Result(seed, tuple(outcome.problems), outcome.trace, spent, outcome.seconds, outcome.settled_s, sent)


def run_all(seeds: Sequence[Seed], processes: int) -> Iterator[Result]:
    """As they end. Whoever calls this has the environment that `HASH_SEED` says."""
    if processes == 1:
        yield from map(run_seed, seeds)
        return
    os.environ |= SINGLE_THREADED  # there is a process for each core already
    left = iter(seeds)
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(run_seed, seed) for seed, _ in zip(left, range(processes * _AHEAD), strict=False)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(run_seed, seed) for _, seed in zip(done, left, strict=False)}
            for future in done:
                yield future.result()
