"""Makes work take the time that the cycle model gives it, times a factor: an emulated board timed like a real one.

Whatever the host adds is taken off what follows, so that a rate over many layers and frames comes out right: sleeps
that end late, layers that the host was late with, and the moments between one piece of work and the next. No work is
ever reckoned to begin before what was before it was due, so the rate is never above the model's.
"""

from __future__ import annotations

import time
from collections.abc import Callable

#: Lateness above this (seconds, times the slow-down) is not given back: the host cannot keep up.
MOST_OWED_S = 0.002
#: Work that follows within this (seconds, times the slow-down) was there already: only the host was in between.
MOST_BETWEEN_S = 0.0001


class Pace:
    """Stretches work to `slowdown` times its modelled seconds; work that took longer is not waited for."""

    def __init__(
        self,
        slowdown: float,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.slowdown = slowdown
        self._clock = clock
        self._sleep = sleep
        self._most_owed_s = MOST_OWED_S * max(1.0, slowdown)
        self._most_between_s = MOST_BETWEEN_S * max(1.0, slowdown)
        self._late = 0.0
        self._ended = float("-inf")

    def start(self) -> float:
        """When the work that begins now counts as begun (seconds of the clock)."""
        now = self._clock()
        if now - self._ended <= self._most_between_s:
            return self._ended - self._late
        return now - min(self._late, MOST_OWED_S)

    def finish(self, started: float, modelled_s: float) -> None:
        """Wait until `modelled_s` times the slow-down have passed since `started`."""
        due = started + modelled_s * self.slowdown
        left = due - self._clock()
        if left > 0:
            self._sleep(left)
        self._ended = self._clock()
        self._late = min(max(0.0, self._ended - due), self._most_owed_s)
