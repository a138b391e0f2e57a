"""How good plans are and how long they take, beside two simple ways of dividing the same network over the same boards.

Instances are random, of fixed seeds: graphs of layers whose cost spans two orders of magnitude, boards of different
speed, memory and link. The *equal split* gives each board in turn as many layers as any other; the *proportional split*
gives each the share of the work that its speed is of all boards' speed. Both use every board that gets a layer, as
the simple ways do. No broker is needed.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import geometric_mean
from typing import Any

from convoy_schema.messages.desired import Objective

from convoy_controller.bench.figures import Figure, Result
from convoy_controller.planning.instance import BoardKind, Instance, LayerLoad, Wish
from convoy_controller.planning.segments import Segments, segments
from convoy_controller.planning.solution import Solution
from convoy_controller.planning.solver import solve

#: What must hold of the large instances: seconds, and the proven gap.
MOST_SECONDS, MOST_GAP = 2.0, 0.05
SEEDS = range(8)


@dataclass(frozen=True)
class Size:
    """How large the instances of one row are: layers, and boards of each kind."""

    name: str
    layers: int
    counts: tuple[int, ...]


LARGE = Size("64 boards of 4 kinds, 100 layers", 100, (16, 16, 16, 16))
SIZES = (Size("4 boards of 2 kinds, 12 layers", 12, (2, 2)), Size("8 alike, 30 layers", 30, (8,)), LARGE)
#: Beyond what is exact; only the gap is shown.
BEYOND = Size("240 boards of 8 kinds, 100 layers", 100, (30,) * 8)


def run(broker: str) -> Result:
    """Every size, pipelined and replicated; `broker` is not used."""
    del broker
    found: list[Figure] = []
    notes: dict[str, Any] = {}
    for size in SIZES:
        for replicate in (False, True):
            how = f"{size.name}, {'replicated' if replicate else 'pipeline'}"
            trials = [_trial(instance(size, seed), Wish(replicate=replicate)) for seed in SEEDS]
            found += figures(how, trials, is_large=size is LARGE)
            notes[how] = sorted({trial.plan.method for trial in trials})
    for objective in Objective:
        trials = [_trial(instance(LARGE, seed), Wish(objective)) for seed in SEEDS]
        notes[f"{LARGE.name}, {objective.value}: gap at most"] = round(max(trial.plan.gap for trial in trials), 4)
    for replicate in (False, True):
        trials = [_trial(instance(BEYOND, seed), Wish(replicate=replicate)) for seed in SEEDS]
        how = f"{BEYOND.name}, {'replicated' if replicate else 'pipeline'}"
        notes[f"{how}: gap at most"] = round(max(trial.plan.gap for trial in trials), 4)
        notes[f"{how}: seconds at most"] = round(max(trial.seconds for trial in trials), 2)
    return Result("plan", tuple(found), notes)


@dataclass(frozen=True)
class Trial:
    """A plan, how long it took to find, and the periods of the two simple splits; infinite where they do not fit."""

    plan: Solution
    seconds: float
    equal_s: float
    proportional_s: float


def figures(how: str, trials: Sequence[Trial], *, is_large: bool) -> list[Figure]:
    """Time and gap of the slowest and worst, and the mean period beside each split that fits."""
    found = []
    if is_large:
        found.append(Figure(f"{how}: time", "s", max(trial.seconds for trial in trials), MOST_SECONDS, False))
        found.append(Figure(f"{how}: gap", "of the bound", max(trial.plan.gap for trial in trials), MOST_GAP, False))
    peers: dict[str, Callable[[Trial], float]] = {
        "equal split": lambda trial: trial.equal_s,
        "proportional split": lambda trial: trial.proportional_s,
    }
    for name, peer in peers.items():
        fits = [trial for trial in trials if math.isfinite(peer(trial))]
        if fits:
            ours = geometric_mean(trial.plan.period_s for trial in fits)
            theirs = geometric_mean(peer(trial) for trial in fits)
            label = (
                f"{how}: period" if len(fits) == len(trials) else f"{how}: period ({len(fits)} of {len(trials)} fit)"
            )
            found.append(Figure(label, "ms", 1e3 * ours, 1.0, at_least=False, peer_name=name, peer=1e3 * theirs))
    return found


def _trial(problem: Instance, wish: Wish) -> Trial:
    began = time.perf_counter()
    plan = solve(problem, wish)
    seconds = time.perf_counter() - began
    costs = [segments(problem, kind) for kind in problem.kinds]
    return Trial(plan, seconds, _period(equal_split(problem), costs), _period(proportional_split(problem), costs))


def instance(size: Size, seed: int) -> Instance:
    """A random network on random kinds of boards."""
    r = random.Random(f"{size.name} {seed}")
    work = [10 ** r.uniform(-4.5, -2.5) for _ in range(size.layers)]
    crossing = [float(r.randint(200, 30_000)) for _ in range(size.layers + 1)]
    for _ in range(size.layers // 10):  # skip connections, which every cut that they span carries
        begin = r.randrange(1, size.layers - 2)
        for cut in range(begin, min(begin + 3, size.layers)):
            crossing[cut] += 5_000.0
    layers = tuple(
        LayerLoad(f"layer-{at}", r.choice(("conv2d", "dense", "add")), r.randint(100, 400_000), r.randint(1000, 60_000))
        for at in range(size.layers)
    )
    kinds = tuple(_kind(r, number, count, work) for number, count in enumerate(size.counts))
    return Instance(size.name, layers, tuple(crossing), kinds, batch_rows=8, queue_frames=16, hop_s=1e-4)


def _kind(r: random.Random, number: int, count: int, work: Sequence[float]) -> BoardKind:
    speed = r.uniform(0.5, 2.5)
    return BoardKind(
        name=f"kind-{number}",
        count=count,
        seconds=tuple(each / speed * r.uniform(0.7, 1.4) for each in work),
        memory_bytes=r.choice((64, 128)) * 2**20,
        link_bytes_per_s=r.choice((12.5e6, 40e6)),
    )


#: Layers [first, last) on one board of that kind.
_Run = tuple[int, int, int]


def equal_split(problem: Instance) -> list[_Run]:
    """As many layers on every board as on any other, boards in the order of their kinds."""
    boards = _boards(problem)[: len(problem.layers)]
    return _divided(problem, boards, [1.0] * len(problem.layers), [1.0] * len(boards))


def proportional_split(problem: Instance) -> list[_Run]:
    """To every board the share of the work (seconds, the mean of all kinds) that its speed is of all boards' speed."""
    boards = _boards(problem)
    work = [sum(kind.seconds[at] for kind in problem.kinds) for at in range(len(problem.layers))]
    return _divided(problem, boards, work, [1.0 / sum(problem.kinds[kind].seconds) for kind in boards])


def _boards(problem: Instance) -> list[int]:
    return [number for number, kind in enumerate(problem.kinds) for _ in range(kind.count)]


def _divided(problem: Instance, boards: Sequence[int], work: Sequence[float], speeds: Sequence[float]) -> list[_Run]:
    """Cuts where the work done comes closest to the share of the boards so far; who gets nothing is left out."""
    done = [0.0]
    for each in work:
        done.append(done[-1] + each)
    runs: list[_Run] = []
    first, share = 0, 0.0
    for kind, speed in zip(boards, speeds, strict=True):
        share += speed / sum(speeds)
        last = min(range(first, len(done)), key=lambda at: abs(done[at] - share * done[-1]))
        if last > first:
            runs.append((first, last, kind))
            first = last
    if first < len(problem.layers):
        begin, _, kind = runs.pop()
        runs.append((begin, len(problem.layers), kind))
    return runs


def _period(runs: Sequence[_Run], costs: Sequence[Segments]) -> float:
    return max(float(costs[kind].period[first, last]) for first, last, kind in runs)
