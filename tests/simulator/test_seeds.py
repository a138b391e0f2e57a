"""Fleets, each from a seed, with everything going wrong that can; and that a seed is one run, always.

`make soak` runs more of them: a seed takes half a second of a core.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import pytest
from convoy_simulator.ordered_sets import HASH_SEED
from convoy_simulator.profiles import PROFILES
from convoy_simulator.soak import Result, Seed, run_seed

SEEDS = 500
#: Seeds of one test; the tests are spread over the cores.
PIECE = 20


def _told(results: list[Result]) -> str:
    return "\n".join(
        f"{result.seed.profile} {result.seed.number}: {'; '.join(result.problems)}\n  {result.seed.command('--log')}"
        for result in results
        if result.problems
    )


@pytest.mark.parametrize("first", range(0, SEEDS, PIECE))
def test_nothing_goes_wrong_under_all_faults_together(first: int, ordered: ProcessPoolExecutor) -> None:
    results = list(ordered.map(run_seed, [Seed("all", number) for number in range(first, first + PIECE)]))
    told = _told(results)
    assert not told, told
    assert sum(result.requests for result in results) > 20 * PIECE
    assert len({result.trace for result in results}) == PIECE


@pytest.mark.parametrize("profile", [name for name in PROFILES if name != "all"])
def test_nothing_goes_wrong_under_one_kind_of_trouble(profile: str, ordered: ProcessPoolExecutor) -> None:
    seeds = 1 if PROFILES[profile].closed_s else 3
    results = list(ordered.map(run_seed, [Seed(profile, number) for number in range(seeds)]))
    told = _told(results)
    assert not told, told


def test_a_seed_is_the_same_run_in_every_process(ordered: ProcessPoolExecutor) -> None:
    """Whatever ran before, and however that process orders its sets."""
    seed = Seed("all", 23)
    ordered.submit(run_seed, Seed("all", 24)).result()
    trace = ordered.submit(run_seed, seed).result().trace
    program = "from convoy_simulator.soak import Seed, run_seed; print(run_seed(Seed('all', 23)).trace)"
    environment = {**os.environ, HASH_SEED[0]: "4711"}
    other = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == trace


def test_another_seed_is_another_run(ordered: ProcessPoolExecutor) -> None:
    traces = {ordered.submit(run_seed, Seed("office", number)).result().trace for number in (1, 2)}
    assert len(traces) == 2
