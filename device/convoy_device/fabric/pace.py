"""Makes work take the time that the cycle model gives it, times a factor: an emulated board timed like a real one.

A sleep ends late by some tens of microseconds; that is taken off the next one, so that a rate over many layers comes
out right.
"""

from __future__ import annotations

import time
from collections.abc import Callable

#: Lateness above this (seconds) is the host being busy, not the sleep: it is not given back.
MOST_OWED_S = 0.002


class Pace:
    """Stretches work to `slowdown` times its modelled seconds; work that took longer already is left alone."""

    def __init__(
        self,
        slowdown: float,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.slowdown = slowdown
        self._clock = clock
        self._sleep = sleep
        self._late = 0.0

    def start(self) -> float:
        """When the work that begins now counts as begun (seconds of the clock)."""
        return self._clock() - self._late

    def finish(self, started: float, modelled_s: float) -> None:
        """Wait until `modelled_s` times the slow-down have passed since `started`."""
        due = started + modelled_s * self.slowdown
        left = due - self._clock()
        self._late = 0.0
        if left > 0:
            self._sleep(left)
            self._late = min(max(0.0, self._clock() - due), MOST_OWED_S)
