"""Targets with a fault each, by which the tests of the fuzzer see that it finds them."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator

from target import target


def _seeds() -> Iterator[bytes]:
    yield b"harmless"
    yield b"!"


@target("faulty-crash", ValueError, seeds=_seeds)
def crash(data: bytes) -> None:
    """Raises what it does not document."""
    if data.startswith(b"!"):
        raise KeyError("undocumented")
    raise ValueError("documented")


@target("faulty-memory", seeds=_seeds, base_memory=1000)
def memory(data: bytes) -> bytes:
    """Takes more than it may."""
    return bytes(1_000_000 if data.startswith(b"!") else 1)


@target("faulty-slow", seeds=_seeds, most_cpu_s=0.05)
def slow(data: bytes) -> None:
    """Takes longer than it may."""
    began = time.process_time()
    while data.startswith(b"!") and time.process_time() - began < 0.2:
        pass


@target("faulty-wordy", ValueError, seeds=_seeds, most_said=100)
def wordy(data: bytes) -> None:
    """Refuses in too many words."""
    raise ValueError("no" * (100 if data.startswith(b"!") else 1))


@target("faulty-death", seeds=_seeds)
def death(data: bytes) -> None:
    """Takes the process with it."""
    if data.startswith(b"!"):
        ctypes.string_at(0)


@target("faulty-hang", seeds=_seeds)
def hang(data: bytes) -> None:
    """Does not return."""
    if data.startswith(b"!"):
        time.sleep(1000)
