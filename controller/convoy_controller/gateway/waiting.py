"""Requests that wait for a place in a batch, the more urgent before the less urgent; and everyone's deadlines.

Deterministic. A request counts as older by `STEP_S` for each level that it is more urgent, and the oldest goes first:
so a level overtakes the next one only where that has waited less than a second longer, and nobody starves. Both queues
pass over requests that ended elsewhere, and clear them away once they are many.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from convoy_controller.gateway.batches import Request

#: Levels, 1 the most urgent, and what a request has that names none. Triton counts them alike.
PRIORITIES = 8
DEFAULT_PRIORITY = 4
#: Seconds of waiting that one level is worth.
STEP_S = 1.0


class Waiting:
    """The queue of one deployment."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Request]] = []
        self._arrivals = 0
        self._ended = 0

    def __iter__(self) -> Iterator[Request]:
        return (request for _, _, request in self._heap if not request.is_done)

    def add(self, request: Request, priority: int) -> None:
        """Queue a request of level `priority`; within a level the order is that of arrival."""
        self._arrivals += 1
        heapq.heappush(self._heap, (request.accepted_at + priority * STEP_S, self._arrivals, request))

    def first(self) -> Request | None:
        """Who is next; None when nobody waits."""
        while self._heap and self._heap[0][2].is_done:
            heapq.heappop(self._heap)
            self._ended = max(0, self._ended - 1)
        return self._heap[0][2] if self._heap else None

    def pop(self) -> None:
        """Take out the first."""
        heapq.heappop(self._heap)

    def ended(self) -> None:
        """A request that waited here is over. Once half of them are, they are cleared away: nobody may be serving."""
        self._ended += 1
        if self._ended > 64 and 2 * self._ended > len(self._heap):
            self._heap = [entry for entry in self._heap if not entry[2].is_done]
            heapq.heapify(self._heap)
            self._ended = 0


class Deadlines:
    """When requests give up, the earliest first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Request]] = []

    def add(self, request: Request) -> None:
        """Watch its deadline."""
        heapq.heappush(self._heap, (request.deadline, request.id, request))

    def due(self, now: float) -> list[Request]:
        """Those whose time is up; they are watched no longer."""
        found = []
        while self._heap and self._heap[0][0] <= now:
            request = heapq.heappop(self._heap)[2]
            if not request.is_done:
                found.append(request)
        return found

    def ended(self, left: int) -> None:
        """A request is over, and so many are left."""
        if len(self._heap) > 64 and len(self._heap) > 4 * left:
            self._heap = [entry for entry in self._heap if not entry[2].is_done]
            heapq.heapify(self._heap)
