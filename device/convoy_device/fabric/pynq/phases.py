"""How long each phase of a load or a run took: the self-test reports it, nothing else depends on it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator


class Phases:
    """Milliseconds by phase, in the order in which the phases began; a phase that failed is there too."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self.milliseconds: dict[str, float] = {}

    def clear(self) -> None:
        """Begin anew."""
        self.milliseconds = {}

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what happens inside; several of one name add up."""
        began = self._clock()
        try:
            yield
        finally:
            self.milliseconds[name] = self.milliseconds.get(name, 0.0) + 1000 * (self._clock() - began)
