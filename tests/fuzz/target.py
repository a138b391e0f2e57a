"""A fuzz target: one decoder, the errors it documents, and the time and memory that one input may take of it.

`@target(...)` makes one of a function over bytes and keeps it in `TARGETS`; calling it runs the decoder on one input.
Whatever is neither taken nor refused as documented, within the bounds, is raised. Nothing here chooses inputs.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType

from mutation import Mutator, mutate_bytes

#: Every target by its name, in the order they were made.
TARGETS: dict[str, Target] = {}

#: Bytes an input may make a decoder hold at once: some beside it, and some for each of its own. An empty list takes one
#: byte of MessagePack and 64 of memory.
BASE_MEMORY, MEMORY_PER_BYTE = 48 * 1024 * 1024, 100
#: Processor seconds for one input, the fuzzer's own instruments included.
MOST_CPU_S = 2.0
#: Characters of an error's sentence: it goes into logs and over the wire.
MOST_SAID = 4000
#: Frames of a traceback that tell one fault from another.
_TELLING = 3


class BoundError(AssertionError):
    """An input was dealt with, but took too long, too much memory, or too many words to refuse."""


@dataclass
class Target:
    """One decoder. `errors` are those its docstring names; `seeds` are inputs from the code's own encoders.

    `share`: how much of the time it gets, against 1 for the others. `most_bytes`: the longest input tried.
    """

    name: str
    decode: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]
    seeds: Callable[[], Iterable[bytes]]
    mutate: Mutator = mutate_bytes
    most_bytes: int = 16 * 1024
    most_cpu_s: float = MOST_CPU_S
    most_said: int = MOST_SAID
    base_memory: int = BASE_MEMORY
    share: float = 1.0
    _is_warm: bool = field(default=False, repr=False)

    def __call__(self, data: bytes) -> str:
        """What became of `data`: 'taken', or where it was refused. Raises whatever is not as documented."""
        if not tracemalloc.is_tracing():
            tracemalloc.start(1)
        if not self._is_warm:
            self._warm_up()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        began = time.process_time()
        outcome = self._decoded(data)
        took_s = time.process_time() - began
        held = tracemalloc.get_traced_memory()[1] - before
        if took_s > self.most_cpu_s:
            raise BoundError(f"{self.name}: {took_s:.2f} s for {len(data)} bytes, at most {self.most_cpu_s:g} may be")
        most = self.base_memory + MEMORY_PER_BYTE * len(data)
        if held > most:
            raise BoundError(f"{self.name}: {held} bytes of memory for {len(data)}, at most {most} may be")
        return outcome

    def _decoded(self, data: bytes) -> str:
        try:
            self.decode(data)
        except self.errors as error:
            said, most = len(str(error)), self.most_said
            if said > most:
                raise BoundError(f"{self.name}: refused in {said} characters, at most {most} may be") from error
            return where(error)
        return "taken"

    def _warm_up(self) -> None:
        """What is imported or computed once belongs to no input."""
        self._is_warm = True
        for data in self.seeds():
            self._decoded(data)
            return


def where(error: BaseException) -> str:
    """The error's class and the last places of its traceback: what tells one fault from another."""
    places = []
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " ".join([type(error).__name__, *places[-_TELLING:]])


def target(
    name: str,
    *errors: type[Exception],
    seeds: Callable[[], Iterable[bytes]],
    mutate: Mutator = mutate_bytes,
    most_bytes: int = 16 * 1024,
    most_cpu_s: float = MOST_CPU_S,
    most_said: int = MOST_SAID,
    base_memory: int = BASE_MEMORY,
    share: float = 1.0,
) -> Callable[[Callable[[bytes], object]], Target]:
    """Make a target of the function below, whose decoder may raise `errors` and nothing else."""

    def make(decode: Callable[[bytes], object]) -> Target:
        assert name not in TARGETS, f"two targets are called {name}"
        found = Target(name, decode, errors, seeds, mutate, most_bytes, most_cpu_s, most_said, base_memory, share)
        TARGETS[name] = found
        return found

    return make
