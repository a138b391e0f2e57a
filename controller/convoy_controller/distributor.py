"""Which block or manifest of which artifact to send next: a paced carousel over the union of what boards want.

A deterministic core. What many boards ask for goes out once, since it is multicast; what was just sent is not repeated
until a round trip has passed. In a large fleet it is repeated ever more rarely while it is asked for over and over: a
repeat is heard by everybody who still listens, also by those that have it unread.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict
from dataclasses import dataclass

#: Seconds that a first request waits for others of the same block.
GATHER_S = 0.05
#: Seconds that it waits at most, while ever more boards ask for it: a fleet that is told at once does not ask at once.
MOST_GATHER_S = 0.4
#: Seconds within which a block that was sent is not sent again: whoever asks meanwhile is about to overhear it.
ROUND_TRIP_S = 0.25
#: Seconds that a repeat waits for more boards to ask, at most, and for each board that may hear it. The wait doubles
#: from a round trip with each repeat, and begins anew when nobody has asked for `QUIET` times as long. A thousand
#: boards in ten processes, which are late with everything, had each block 43 times without it, and 8 times with it.
MOST_PAUSE_S = 8.0
PAUSE_PER_BOARD_S = 0.01
QUIET = 8
#: Seconds for which a board that has asked counts as one that may hear.
LISTENS_S = 16.0
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


@dataclass(frozen=True)
class SendManifest:
    """State the manifest of artifact `digest` again."""

    digest: str


Sending = SendBlock | SendManifest


@dataclass
class _Sent:
    """When something went out last, and how long a repeat of it waits from then on."""

    at: float
    pause_s: float


class Distributor:
    """The carousel. `rate` in bytes a second."""

    def __init__(self, rate: float = DEFAULT_RATE) -> None:
        self._rate = rate
        #: When each sending is due, and when it was first asked for.
        self._pending: dict[Sending, tuple[float, float]] = {}
        #: The same by time; what does not agree with `_pending` any more is passed over.
        self._by_time: list[tuple[float, int, Sending]] = []
        self._order = itertools.count()
        self._sent: OrderedDict[Sending, _Sent] = OrderedDict()
        #: When each board asked last, the most recent at the end.
        self._listeners: OrderedDict[str, float] = OrderedDict()
        self._free_at = 0.0
        #: Blocks given out to be sent, and blocks asked for, as often as anybody asked.
        self.sent = 0
        self.asked = 0

    @property
    def waiting(self) -> int:
        """Blocks and manifests that are wanted and not sent yet."""
        return len(self._pending)

    def want(self, board: str, digest: str, blocks: tuple[int, ...], now: float) -> None:
        """A board asks for these blocks now; for the manifest if there are none."""
        self._listeners[board] = now
        self._listeners.move_to_end(board)
        self.asked += len(blocks)
        for block in blocks:
            self._want(SendBlock(digest, block), now)
        if not blocks:
            self._want(SendManifest(digest), now)

    def _want(self, sending: Sending, now: float) -> None:
        pending = self._pending.get(sending)
        if pending is not None:
            due, first = pending
            self._schedule(sending, max(due, min(first + MOST_GATHER_S, now + GATHER_S)), first)
            return
        sent = self._sent.get(sending)
        if len(self._pending) >= MAX_PENDING or (sent is not None and now - sent.at < ROUND_TRIP_S):
            return
        paused_until = sent.at + sent.pause_s if sent is not None else now
        self._schedule(sending, max(now + GATHER_S, paused_until), now)

    def _schedule(self, sending: Sending, due: float, first: float) -> None:
        if self._pending.get(sending) != (due, first):
            self._pending[sending] = due, first
            heapq.heappush(self._by_time, (due, next(self._order), sending))

    def next(self, now: float) -> Sending | None:
        """What to send at `now`, if something is due and the rate allows; None otherwise."""
        due = self._first_due()
        if due is None or now < max(due, self._free_at):
            return None
        sending = heapq.heappop(self._by_time)[2]
        del self._pending[sending]
        self._note(sending, now)
        self.sent += isinstance(sending, SendBlock)
        return sending

    def charge(self, now: float, size: int) -> None:
        """Count `size` bytes just sent; a sender that was late may make up for `BURST_S`."""
        self._free_at = max(self._free_at, now - BURST_S) + size / self._rate

    def wake_at(self) -> float | None:
        """When `next` may have something; None while nothing is wanted."""
        due = self._first_due()
        return None if due is None else max(self._free_at, due)

    def _first_due(self) -> float | None:
        while self._by_time:
            due, _, sending = self._by_time[0]
            if self._pending.get(sending, (None,))[0] == due:
                return due
            heapq.heappop(self._by_time)
        return None

    def _note(self, sending: Sending, now: float) -> None:
        while self._sent and now - next(iter(self._sent.values())).at > QUIET * MOST_PAUSE_S:
            self._sent.popitem(last=False)
        before = self._sent.pop(sending, None)
        pause_s = ROUND_TRIP_S
        if before is not None and now - before.at <= QUIET * before.pause_s:
            pause_s = max(ROUND_TRIP_S, min(2 * before.pause_s, self._most_pause_s(now)))
        self._sent[sending] = _Sent(now, pause_s)

    def _most_pause_s(self, now: float) -> float:
        while self._listeners and next(iter(self._listeners.values())) < now - LISTENS_S:
            self._listeners.popitem(last=False)
        return min(MOST_PAUSE_S, PAUSE_PER_BOARD_S * len(self._listeners))
