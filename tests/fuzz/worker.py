"""One target's inputs, in a process of its own: `fuzz.py` starts it, and kills it where an input does not return.

Atheris chooses the inputs by the branches they reach; where it cannot be had, and when asked to, they are made blindly
from those that were refused in a place of their own. A fault is written down and the run goes on; each place once.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import mmap
import os
import random
import resource
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from target import Target

#: Modules whose branches count.
PACKAGES = ["convoy_schema", "convoy_device", "convoy_controller", "convoy", "convoy_bitstreams", "tomllib", "tomli"]
#: Bytes that a process may take beside what it has when its target is made: more is a fault, and no matter whose.
ADDRESS_SPACE = 4 * 1024**3
#: Faults of one target, after which there is no point in more.
MOST_FAULTS = 20
#: Inputs that the blind engine keeps to make others of.
MOST_KEPT = 2000
_HEAD = struct.Struct("<QQ")


class Notes:
    """What the parent reads, also of a process that is gone: inputs so far, and the one that is being tried."""

    SIZE = 4 * 1024 * 1024

    def __init__(self, path: Path) -> None:
        with path.open("w+b") as file:
            file.truncate(self.SIZE)
            self._map = mmap.mmap(file.fileno(), self.SIZE)
        self.inputs = 0

    def trying(self, data: bytes) -> None:
        """`data` is next."""
        self.inputs += 1
        self._map[: _HEAD.size] = _HEAD.pack(self.inputs, len(data))
        self._map[_HEAD.size : _HEAD.size + len(data)] = data

    @staticmethod
    def count(path: Path) -> int:
        """Inputs so far."""
        with contextlib.suppress(OSError, struct.error), path.open("rb") as file:
            return int(_HEAD.unpack(file.read(_HEAD.size))[0])
        return 0

    @staticmethod
    def read(path: Path) -> tuple[int, bytes]:
        """Inputs tried, and the last of them."""
        content = path.read_bytes() if path.is_file() else b""
        if len(content) < _HEAD.size:
            return 0, b""
        inputs, size = _HEAD.unpack_from(content)
        return inputs, content[_HEAD.size : _HEAD.size + size]


class Trial:
    """Runs the target on one input after another, and keeps what fails."""

    def __init__(self, target: Target, notes: Notes, faults: Path) -> None:
        self._target = target
        self._notes = notes
        self._faults = faults
        self._known: set[str] = set()

    def __call__(self, data: bytes) -> str:
        """What became of `data`; a fault is saved, and one of a place that is known already is not."""
        from target import where

        self._notes.trying(data)
        try:
            return self._target(data)
        except Exception as error:
            place = where(error)
            if place not in self._known:
                self._known.add(place)
                save(self._faults, self._target.name, data, traceback.format_exc())
            if len(self._known) >= MOST_FAULTS:
                sys.stdout.flush()
                os._exit(0)
            return f"fault {place}"


def save(folder: Path, name: str, data: bytes, reason: str) -> Path:
    """Write an input that failed, and why beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.with_suffix(".txt").write_text(reason, encoding="utf-8")
    path.write_bytes(data)
    return path


def blind(target: Target, chance: random.Random) -> Iterator[tuple[bytes, Callable[[str], None]]]:
    """Inputs without end, seeds first, each with what to call with its outcome."""
    kept: list[bytes] = []
    outcomes: set[str] = set()

    def learn(data: bytes) -> Callable[[str], None]:
        def note(outcome: str) -> None:
            if outcome not in outcomes and len(kept) < MOST_KEPT:
                outcomes.add(outcome)
                kept.append(data)

        return note

    for data in target.seeds():
        kept.append(data)
        yield data, learn(data)
    while True:
        data = target.mutate(chance, chance.choice(kept), chance.choice(kept))[: target.most_bytes]
        yield data, learn(data)


def run_blind(target: Target, trial: Trial, seconds: float, seed: int, inputs: int) -> None:
    """Try what `blind` makes, for so long or so many."""
    deadline = time.monotonic() + seconds
    for tried, (data, learn) in enumerate(blind(target, random.Random(seed))):
        if tried >= inputs or time.monotonic() > deadline:
            return
        learn(trial(data))


def run_atheris(atheris: Any, target: Target, trial: Trial, seconds: float, seed: int, inputs: int) -> None:
    """Let libFuzzer choose; it ends the process."""
    seeds = list(target.seeds())
    started = time.monotonic()

    def one(data: bytes) -> None:
        trial(data)
        # libFuzzer's own limit counts whole seconds from its start; a slow target may have had its share by then.
        if time.monotonic() - started > seconds:
            os._exit(0)

    def mutate(data: bytes, most: int, number: int) -> bytes:
        chance = random.Random(number)
        if chance.random() < 0.5:
            return bytes(atheris.Mutate(data, most))
        return target.mutate(chance, data, chance.choice(seeds))[:most]

    corpus = Path.cwd() / "corpus"
    corpus.mkdir()
    for data in seeds:
        (corpus / hashlib.sha256(data).hexdigest()).write_bytes(data)
    longest = max([target.most_bytes, *map(len, seeds)])
    options = [f"-atheris_runs={inputs}", f"-seed={seed}", f"-max_len={longest}", "-timeout=3600", "-rss_limit_mb=0"]
    atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", str(corpus)], one, custom_mutator=mutate)
    atheris.Fuzz()


def main(arguments: list[str]) -> None:
    """Parse the parent's arguments and run; the current folder is the worker's own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--module", default="targets")
    parser.add_argument("--engine", choices=("atheris", "blind"), required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--inputs", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--faults", type=Path, required=True)
    given = parser.parse_args(arguments)
    notes = Notes(Path("notes"))
    if given.engine == "atheris":
        import atheris

        with atheris.instrument_imports(include=PACKAGES):
            importlib.import_module(given.module)
    else:
        importlib.import_module(given.module)
    from target import TARGETS  # behind the imports that are instrumented

    target = TARGETS[given.target]
    held = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    most = int(held) * resource.getpagesize() + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    trial = Trial(target, notes, given.faults)
    if given.engine == "atheris":
        run_atheris(atheris, target, trial, given.seconds, given.seed, given.inputs)
    else:
        run_blind(target, trial, given.seconds, given.seed, given.inputs)


if __name__ == "__main__":
    main(sys.argv[1:])
