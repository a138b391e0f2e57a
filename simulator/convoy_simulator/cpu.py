"""Processors that several processes share: work begins when a core is free, and takes what it takes."""

from __future__ import annotations

import heapq


class Cpu:
    """`cores` of them; `slowness` is how many times as long work takes as on the machine that it was measured on."""

    def __init__(self, cores: int = 1, slowness: float = 1.0) -> None:
        self._free = [0.0] * cores
        self._slowness = slowness
        #: Seconds of work so far, of all cores together.
        self.busy_s = 0.0

    def take(self, now: float, seconds: float) -> float:
        """When work of that length, which is there at `now`, is done."""
        seconds *= self._slowness
        self.busy_s += seconds
        end = max(now, self._free[0]) + seconds
        heapq.heapreplace(self._free, end)
        return end

    def interrupt(self, now: float, seconds: float) -> float:
        """When short work is done that goes before what computes: whoever has slept runs at once; the rest is late."""
        self.take(now, seconds)
        return now + seconds * self._slowness
