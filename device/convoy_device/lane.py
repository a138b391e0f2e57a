"""Blocking work, one job after the other, in whichever thread of a pool is free."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor as Pool
from typing import Any

log = logging.getLogger(__name__)

Work = Callable[[], Any]
Then = Callable[[Any, BaseException | None], None]


class Lane:
    """What one board does with one resource. `submit` and the answers belong to the event loop's thread."""

    def __init__(self, pool: Pool, on_idle: Callable[[], None] | None = None) -> None:
        self._pool = pool
        self._on_idle = on_idle or (lambda: None)
        self._jobs: deque[tuple[Work, Then]] = deque()
        self._running: asyncio.Future[Any] | None = None
        self._since = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether a job runs now: its resource must not be touched from anywhere else."""
        return self._running is not None

    @property
    def busy_s(self) -> float:
        """Seconds for which the present job has run; 0 when there is none."""
        return asyncio.get_running_loop().time() - self._since if self.is_busy else 0.0

    def submit(self, work: Work, then: Then) -> None:
        """Run `work` after every earlier job; `then` gets its result, or None and what it raised."""
        self._jobs.append((work, then))
        if self._running is None:
            self._start()

    def _start(self) -> None:
        work, then = self._jobs.popleft()
        loop = asyncio.get_running_loop()
        self._since = loop.time()
        running = loop.run_in_executor(self._pool, work)
        self._running = running

        def ended(future: asyncio.Future[Any]) -> None:
            self._running = None
            if future.cancelled():
                return
            error = future.exception()
            try:
                then(None if error else future.result(), error)
            except Exception:
                log.exception("what follows a job failed; the next one starts")
            if self._jobs and self._running is None:
                self._start()
            elif self._running is None:
                self._on_idle()

        running.add_done_callback(ended)

    async def close(self) -> None:
        """Drop what has not begun, and wait for what has."""
        self._jobs.clear()
        if self._running is not None:
            await asyncio.wait([self._running])
            self._jobs.clear()
