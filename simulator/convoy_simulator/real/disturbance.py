"""How bad a line is: what a packet meets on it, both ways alike. The words for `tc netem`, and the same by itself."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass

#: Packets that wait in one direction; more are dropped, as a router does.
MOST_WAITING = 1000


@dataclass(frozen=True)
class Disturbance:
    """A packet is lost with probability `loss`, or comes `delay_s` later, give or take `jitter_s`.

    No more than `bytes_per_s` pass; None: as many as come. A `loss` of 1 is a line that is cut.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    bytes_per_s: float | None = None

    def __str__(self) -> str:
        if self.loss >= 1:
            return "cut"
        parts = []
        if self.delay_s:
            parts.append(f"{self.delay_s * 1e3:.0f} ms later, +- {self.jitter_s * 1e3:.0f}")
        if self.loss:
            parts.append(f"{self.loss:.0%} lost")
        if self.bytes_per_s is not None:
            parts.append(f"{self.bytes_per_s / 1000:.0f} kB/s")
        return ", ".join(parts) or "calm"

    def netem(self) -> list[str]:
        """The arguments of `tc qdisc replace dev X root netem`."""
        words = ["limit", str(MOST_WAITING)]
        if self.delay_s:
            words += ["delay", f"{self.delay_s * 1e3:.3f}ms", f"{self.jitter_s * 1e3:.3f}ms"]
        if self.loss:
            words += ["loss", f"{self.loss * 100:.3f}%"]
        if self.bytes_per_s is not None:
            words += ["rate", f"{self.bytes_per_s * 8:.0f}bit"]
        return words


CALM = Disturbance()
CUT = Disturbance(loss=1.0)


class Direction:
    """Packets one way, in order: when each arrives, if it does. Deterministic but for the chance handed in."""

    def __init__(self, chance: random.Random) -> None:
        self.disturbance = CALM
        self._chance = chance
        self._free_at = self._last_at = 0.0
        self._waiting: deque[tuple[float, bytes]] = deque()

    def enter(self, packet: bytes, now: float) -> None:
        """A packet begins its way, behind those before it."""
        bad = self.disturbance
        if len(self._waiting) >= MOST_WAITING or self._chance.random() < bad.loss:
            return
        self._free_at = max(self._free_at, now)
        if bad.bytes_per_s is not None:
            self._free_at += len(packet) / bad.bytes_per_s
        jitter_s = self._chance.uniform(-bad.jitter_s, bad.jitter_s) if bad.jitter_s else 0.0
        self._last_at = max(self._last_at, self._free_at + max(0.0, bad.delay_s + jitter_s))
        self._waiting.append((self._last_at, packet))

    def arrived(self, now: float) -> list[bytes]:
        """Packets at the other end by now."""
        found = []
        while self._waiting and self._waiting[0][0] <= now:
            found.append(self._waiting.popleft()[1])
        return found

    @property
    def due(self) -> float | None:
        """When the next one arrives."""
        return self._waiting[0][0] if self._waiting else None
