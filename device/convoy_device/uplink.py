"""The board's way out at a chosen rate: an emulated link as slow as the one a plan reckons with. Off by default.

`LinkPace` decides when a frame has left, `PacedSender` holds frames until then. Frames alone are paced: control and
artifacts go their way. What waits here is what waits in a network card; it is bounded, and dropped beyond that.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import deque
from collections.abc import Callable

#: Frames that may wait; the windows of the gateways keep it far below.
MOST_WAITING = 4096
#: Frames whose wait is remembered for the median of a pulse.
_WAITS = 1024


class LinkPace:
    """One frame after the other, each for `frame_s` seconds and its size over `bytes_per_s`. Deterministic."""

    def __init__(self, bytes_per_s: float, frame_s: float = 0.0) -> None:
        self._bytes_per_s = bytes_per_s
        self._frame_s = frame_s
        self._free_at = float("-inf")

    def leaves_at(self, now: float, size: int) -> float:
        """When a frame of `size` bytes, given to the link at `now`, has left it.

        Reckoned from when the frame before has left, not from when somebody noticed, so that lateness never adds up.
        """
        self._free_at = max(self._free_at, now) + self._frame_s + size / self._bytes_per_s
        return self._free_at


class PacedSender:
    """Passes frames to `send` when the link has carried them; `lost` is told of one that `send` then refuses."""

    def __init__(
        self,
        pace: LinkPace,
        send: Callable[[str, bytes], bool],
        lost: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pace = pace
        self._send = send
        self._lost = lost
        self._clock = clock
        #: When each frame leaves and when it came.
        self._waiting: deque[tuple[float, float, str, bytes]] = deque()
        self._waits: deque[float] = deque(maxlen=_WAITS)
        self._timer: asyncio.TimerHandle | None = None

    def send(self, topic: str, payload: bytes) -> bool:
        """Take a frame; False when too many wait."""
        if len(self._waiting) >= MOST_WAITING:
            return False
        now = self._clock()
        self._waiting.append((self._pace.leaves_at(now, len(payload)), now, topic, payload))
        if self._timer is None:
            self._wait()
        return True

    def take_wait_us(self) -> int:
        """The median wait of the frames that have left since the last call, in microseconds, or, if it is longer, how
        long the first of those that are still here has waited; 0 if there was none.
        """
        wait_s = statistics.median(self._waits) if self._waits else 0.0
        self._waits.clear()
        oldest_s = self._clock() - self._waiting[0][1] if self._waiting else 0.0
        return int(max(wait_s, oldest_s) * 1e6)

    def close(self) -> None:
        """Forget what waits."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        delay_s = max(0.0, self._waiting[0][0] - self._clock())
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._release)

    def _release(self) -> None:
        self._timer = None
        now = self._clock()
        while self._waiting and self._waiting[0][0] <= now:
            _, came, topic, payload = self._waiting.popleft()
            self._waits.append(now - came)
            if not self._send(topic, payload):
                self._lost()
        if self._waiting:
            self._wait()
