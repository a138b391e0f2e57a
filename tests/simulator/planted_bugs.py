"""Bugs of many kinds, each planted alone into the code of production, to see whether the simulator finds it.

`make planted` runs all; a bug is a few characters of one function's source, which is compiled anew with them changed.
Whoever changes such a function sees at once that the bug no longer applies, since its text must be there.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from convoy_simulator.soak import Seed, run_seed

#: Seeds within which each bug must be found.
MOST_SEEDS = 2000


@dataclass(frozen=True)
class Bug:
    """In `function`, a dotted name, `old` becomes `new`."""

    name: str
    about: str
    function: str
    old: str
    new: str
    profiles: tuple[str, ...] = ("all",)


BUGS = (
    Bug(
        "store-without-sync",
        "a file gets its name before its bytes are on disk",
        "convoy_simulator.disk:ForgetfulDisk.write",
        "self.sync(path)",
        "pass",
    ),
    Bug(
        "store-in-place",
        "a file is written under its own name instead of a temporary one",
        "convoy_device.store:Store._write",
        "temporary = path.with_name(path.name + _TEMPORARY)",
        "return self._disk.write(path, content)",
    ),
    Bug(
        "blocks-believed",
        "blocks of a download are believed after a restart without hashing them",
        "convoy_device.store:Store._whole_blocks",
        "if manifest.accepts(block, content):",
        "if True:",
        ("torn",),
    ),
    Bug(
        "coupled-too-long",
        "a partition is written while it is connected",
        "convoy_device.fabric.emulated:EmulatedFabric.configure",
        "self._memory.set_flags(place, DEGRADED)",
        "pass",
    ),
    Bug(
        "generation-kept",
        "a board goes on computing frames of a generation that it let go of",
        "convoy_device.executor:Executor.deactivate",
        "self._routes.clear()",
        "return",
    ),
    Bug(
        "lower-epoch",
        "a board obeys a controller whose epoch is over",
        "convoy_device.agent:Agent._obey",
        "if desired.epoch < self._epoch:",
        "if False:",
        ("control", "all"),
    ),
    Bug(
        "filters-once",
        "a board asks for its orders at its first connection only",
        "convoy_device.agent:Agent._connected",
        "return [*filters, *self._reporter.connected(now)]",
        "kept, self._board_filters = getattr(self, '_board_filters', filters), []\n"
        "    return [*kept, *self._reporter.connected(now)]",
    ),
    Bug(
        "deaths-of-others",
        "the death of another session of a board ends the one that lives",
        "convoy_controller.registry:Registry.board_state",
        "record.ended.add(state.session)",
        "record.ended.add(record.session or state.session)",
        ("torn",),
    ),
    Bug(
        "told-before-kept",
        "orders leave before the database has their numbers",
        "convoy_controller.service:Controller._carry_out",
        "self._journal.decide(effects)",
        "[self._tell(effect) for effect in effects]\n    self._journal.decide(effects)",
    ),
    Bug(
        "not-drained",
        "a generation is taken from boards while gateways still feed it",
        "convoy_controller.reconciler:Reconciler._retire_drained",
        "elif is_drained(self._registry, placement, self._telling.feeds):",
        "elif True:",
        ("calm", "control"),
    ),
    Bug(
        "yesterday-believed",
        "a controller with yesterday's database takes it for today's",
        "convoy_controller.reign:is_continuous",
        "return counters.epoch > 0 and",
        "return counters.epoch > 0 or",
        ("control", "all"),
    ),
    Bug(
        "window-ignored",
        "a gateway sends more frames than it may have in flight",
        "convoy_controller.gateway.lane:Lane._pump",
        "< route.window:\n        batch",
        "< 4096:\n        batch",
    ),
    Bug(
        "retries-uncounted",
        "what is sent again does not count as in flight until it is out",
        "convoy_controller.gateway.flights:Flights.abandon",
        "return self._release(counter)",
        "return False",
    ),
    Bug(
        "rows-mixed-up",
        "of requests that share a batch each gets the first one's rows",
        "convoy_controller.gateway.lane:Lane._settle",
        "row = end",
        "row = row",
    ),
    Bug(
        "ids-again",
        "a gateway numbers its batches from a few numbers only",
        "convoy_controller.gateway.batches:BatchIds.take",
        "self._next += 1",
        "self._next = self._next % 3 + 1",
    ),
    Bug(
        "deadlines-forgotten",
        "a request whose time is up is not told so",
        "convoy_controller.gateway.lane:Lane.tick",
        "for request in self._deadlines.due(now):",
        "for request in ():",
        ("offices-closing",),
    ),
)


def _place(bug: Bug) -> tuple[Any, Any, str]:
    """The module, what owns the function (a class or the module), and its name there."""
    module_name, dotted = bug.function.split(":")
    module: Any = importlib.import_module(module_name)
    *owners, name = dotted.split(".")
    owner = module
    for each in owners:
        owner = getattr(owner, each)
    return module, owner, name


def found(bug: Bug) -> object:
    """The function as it is now."""
    _, owner, name = _place(bug)
    return owner.__dict__[name]


@contextlib.contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """The bug is in this process' code for the length of the block."""
    module, owner, name = _place(bug)
    before = owner.__dict__[name]
    source = textwrap.dedent(inspect.getsource(before))
    assert source.count(bug.old) == 1, f"{bug.name}: {bug.old!r} is there {source.count(bug.old)} times"
    names: dict[str, Any] = {}
    exec(compile(source.replace(bug.old, bug.new), f"<{bug.name}>", "exec"), module.__dict__, names)
    setattr(owner, name, names[name])
    # A function is known by its name wherever it was imported; classes are patched in place.
    users = [each for each in list(sys.modules.values()) if owner is module and getattr(each, name, None) is before]
    for user in users:
        setattr(user, name, names[name])
    try:
        yield
    finally:
        for each in (owner, *users):
            setattr(each, name, before)


@dataclass(frozen=True)
class Catch:
    """The seed that found a bug, by what, after so many seeds and seconds; no seed when none did."""

    bug: Bug
    seed: Seed | None
    problem: str
    runs: int
    seconds: float


def hunt(bug: Bug, most: int = MOST_SEEDS) -> Catch:
    """Run seeds of the bug's profiles in turn until one finds it."""
    began = time.process_time()
    with planted(bug):
        for run in range(most):
            profile = bug.profiles[run % len(bug.profiles)]
            seed = Seed(profile, run // len(bug.profiles))
            problems = run_seed(seed).problems
            if problems:
                return Catch(bug, seed, problems[0], run + 1, time.process_time() - began)
    return Catch(bug, None, "", most, time.process_time() - began)


def main(names: Sequence[str], most: int) -> int:
    """Hunt each bug, or those named; 1 if one was not found."""
    missed = 0
    for bug in BUGS:
        if names and bug.name not in names:
            continue
        catch = hunt(bug, most)
        missed += catch.seed is None
        where = "NOT FOUND" if catch.seed is None else f"{catch.seed.profile} {catch.seed.number}"
        print(
            f"{bug.name:22} {where:14} {catch.runs:5} seeds {catch.seconds:6.1f} s  {catch.problem[:150]}", flush=True
        )
    return 1 if missed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="bugs (default: all)")
    parser.add_argument("--most", type=int, default=MOST_SEEDS, help="seeds for each")
    chosen = parser.parse_args()
    sys.exit(main(chosen.names, chosen.most))
