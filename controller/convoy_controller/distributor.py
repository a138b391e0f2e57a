"""Which block of which artifact to send next: a paced carousel over the union of what boards want.

A deterministic core. A block asked for by many boards goes out once, since blocks are multicast; one that was just sent
is not repeated until a round trip has passed, so that the controller's egress does not grow with the fleet.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

#: Seconds that a first request waits for others of the same block.
GATHER_S = 0.05
#: Seconds that it waits at most, while ever more boards ask for it: a fleet that is told at once does not ask at once.
MOST_GATHER_S = 0.4
#: Seconds within which a block that was sent is not sent again: whoever asks meanwhile is about to overhear it.
ROUND_TRIP_S = 0.25
#: Bytes a second at most: a sixth of a board's 100 Mb/s, so that heartbeats and activations have room beside it. Twice
#: that moved their p99 by more than half, because each block keeps a core from everything else for a moment.
DEFAULT_RATE = 2 * 1024 * 1024
#: Seconds of the rate that may be made up for at once: a block or two, so that nothing else waits long behind them.
BURST_S = 0.02
#: Distinct blocks that may wait; wants beyond it are dropped, boards ask again.
MAX_PENDING = 100_000


@dataclass(frozen=True)
class SendBlock:
    """Publish block `block` of artifact `digest`."""

    digest: str
    block: int


class Distributor:
    """The carousel. `rate` in bytes a second."""

    def __init__(self, rate: float = DEFAULT_RATE) -> None:
        self._rate = rate
        #: When each block is due, and when it was first asked for.
        self._due: OrderedDict[tuple[str, int], tuple[float, float]] = OrderedDict()
        self._sent: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._free_at = 0.0
        #: Blocks given out to be sent, and blocks asked for, as often as anybody asked.
        self.sent = 0
        self.asked = 0

    @property
    def waiting(self) -> int:
        """Blocks that are wanted and not sent yet."""
        return len(self._due)

    def want(self, digest: str, blocks: tuple[int, ...], now: float) -> None:
        """Some board asks for these blocks now."""
        self.asked += len(blocks)
        for block in blocks:
            key = (digest, block)
            pending = self._due.get(key)
            if pending is not None:
                due, first = pending
                self._due[key] = max(due, min(first + MOST_GATHER_S, now + GATHER_S)), first
                continue
            if len(self._due) >= MAX_PENDING:
                continue
            sent = self._sent.get(key)
            if sent is not None and now - sent < ROUND_TRIP_S:
                continue
            self._due[key] = now + GATHER_S, now

    def next(self, now: float) -> SendBlock | None:
        """The block to send at `now`, if one is due and the rate allows; None otherwise."""
        self._forget(now)
        if now < self._free_at or not self._due:
            return None
        key, (due, _) = next(iter(self._due.items()))
        if now < due:
            return None
        del self._due[key]
        self.sent += 1
        self._sent[key] = now
        self._sent.move_to_end(key)
        return SendBlock(*key)

    def charge(self, now: float, size: int) -> None:
        """Count `size` bytes just sent; a sender that was late may make up for `BURST_S`."""
        self._free_at = max(self._free_at, now - BURST_S) + size / self._rate

    def wake_at(self) -> float | None:
        """When `next` may have something; None while nothing is wanted."""
        if not self._due:
            return None
        return max(self._free_at, next(iter(self._due.values()))[0])

    def _forget(self, now: float) -> None:
        while self._sent:
            key, sent = next(iter(self._sent.items()))
            if now - sent < ROUND_TRIP_S:
                return
            del self._sent[key]
