"""Processors that several processes share: work begins when a core is free, and takes what it takes."""

from __future__ import annotations

import heapq


class Cpu:
    """`cores` of them; `slowness` is how many times as long work takes as on the machine that it was measured on.

    `slice_s` is for how long (seconds) each of those that compute may go on before the next one's turn; 0: whoever
    wakes up goes before them all. `cold_s` is what it costs (seconds) to find in the caches what others left there.
    """

    def __init__(self, cores: int = 1, slowness: float = 1.0, slice_s: float = 0.0, cold_s: float = 0.0) -> None:
        self._free = [0.0] * cores
        self._slowness = slowness
        self._slice_s = slice_s
        self._cold_s = cold_s
        #: When each piece of work ends that was not known to have ended.
        self._ends: list[float] = []
        #: Seconds of work so far, of all cores together.
        self.busy_s = 0.0

    def take(self, now: float, seconds: float) -> float:
        """When work of that length, which is there at `now`, is done."""
        end = self._take(now, seconds)
        if self._slice_s:
            heapq.heappush(self._ends, end)
        return end

    def _take(self, now: float, seconds: float) -> float:
        seconds *= self._slowness
        self.busy_s += seconds
        end = max(now, self._free[0]) + seconds
        heapq.heapreplace(self._free, end)
        return end

    def interrupt(self, now: float, seconds: float, is_warm: bool = False) -> float:
        """When short work is done of a process that has slept: it goes before what computes, once it has its turn.

        `is_warm`: what computes is of the same process, so that it finds the caches as it left them.
        """
        turn_s = self.turn_s(now)
        if not is_warm and self._computing(now) >= len(self._free):
            seconds += self._cold_s
        self._take(now, seconds)
        return now + turn_s + seconds * self._slowness

    def share(self, now: float, seconds: float) -> float:
        """When long work of one process is done that takes its turns among many: none of them waits for its end."""
        if not self._slice_s:
            return self.take(now, seconds)
        self.busy_s += seconds * self._slowness
        turns = max(1.0, (self._computing(now) + 1) / len(self._free))
        return now + seconds * self._slowness * turns

    def turn_s(self, now: float) -> float:
        """Seconds until a process that wakes up at `now` has its turn among those that compute."""
        return self._slice_s * (self._computing(now) // len(self._free)) if self._slice_s else 0.0

    def _computing(self, now: float) -> int:
        """How many pieces of work are there at `now`."""
        while self._ends and self._ends[0] <= now:
            heapq.heappop(self._ends)
        return len(self._ends)


class Process:
    """One of the processes that share `cpu`: its threads share what is in the caches."""

    def __init__(self, cpu: Cpu) -> None:
        self._cpu = cpu
        #: Until when it computes, as far as is known.
        self._until = 0.0

    def take(self, now: float, seconds: float) -> float:
        """As `Cpu.take`."""
        return self._computes(self._cpu.take(now, seconds))

    def share(self, now: float, seconds: float) -> float:
        """As `Cpu.share`."""
        return self._computes(self._cpu.share(now, seconds))

    def interrupt(self, now: float, seconds: float) -> float:
        """As `Cpu.interrupt`."""
        return self._cpu.interrupt(now, seconds, now < self._until)

    def _computes(self, end: float) -> float:
        self._until = max(self._until, end)
        return end
