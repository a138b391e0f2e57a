"""One look at the database for all who follow: it polls while somebody does, and wakes them when a mark has moved.

It hands nothing out but marks. Whoever follows reads the events himself, from his own place, so that a slow one holds
up nobody and nothing is kept for him.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool

from convoy_controller.api.limits import TooManyError
from convoy_controller.database.engine import Database
from convoy_controller.database.marks import Marks, event_ends, marks
from convoy_controller.errors import DatabaseError

log = logging.getLogger(__name__)

#: Seconds between looks: at least, and at most; how many times a look's own length between these; followers at most.
POLL_S = 0.1
MOST_POLL_S = 2.0
REST = 4
MOST_FOLLOWERS = 100


@dataclass(frozen=True)
class Seen:
    """What one look found: numbers of the oldest and newest event, and a mark for each kind of thing."""

    oldest: int = 0
    newest: int = 0
    marks: Marks = field(default_factory=dict)

    def moved(self, before: Seen) -> list[str]:
        """Kinds of things that have changed since `before`, by name."""
        return sorted(kind for kind, mark in self.marks.items() if before.marks.get(kind) != mark)


async def within(work: Coroutine[Any, Any, object], seconds: float) -> bool:
    """Whether `work` ended in time; it is cancelled if not. Before Python 3.12 `wait_for` may forget a cancellation."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
        is_done = task.done()
    finally:
        task.cancel()
    if is_done:
        task.result()
    return is_done


class Hub:
    """Of one application. `following` while somebody follows; `moved` waits for the next change."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._followers = 0
        self._polling: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self.seen = Seen()

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[Hub]:
        """Be told; raises `TooManyError`, and `DatabaseError` when nothing can be seen."""
        if self._followers >= MOST_FOLLOWERS:
            raise TooManyError(f"{MOST_FOLLOWERS} others follow the changes already: come back later, or poll")
        self._followers += 1
        try:
            if self._polling is None:
                self.seen = await run_in_threadpool(self._look)
            if self._polling is None:  # another one may have come meanwhile
                self._news = asyncio.Event()  # of this loop
                self._polling = asyncio.create_task(self._poll(), name="changes")
            yield self
        finally:
            self._followers -= 1
            if not self._followers and self._polling is not None:
                self._polling.cancel()
                self._polling = None

    async def wait(self, seen: Seen, timeout_s: float) -> Seen:
        """What is there once it differs from `seen`, or after `timeout_s` seconds."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while self.seen == seen:
            left_s = deadline - asyncio.get_running_loop().time()
            if left_s <= 0:
                break
            await within(self._news.wait(), left_s)
        return self.seen

    async def _poll(self) -> None:
        clock, took_s = asyncio.get_running_loop().time, 0.0
        while True:
            await asyncio.sleep(max(POLL_S, min(MOST_POLL_S, REST * took_s)))
            began = clock()
            try:
                found = await run_in_threadpool(self._look)
            except DatabaseError as error:
                log.warning("changes cannot be seen now: %s", error)
                continue
            finally:
                took_s = clock() - began
            if found != self.seen:
                self.seen = found
                news, self._news = self._news, asyncio.Event()
                news.set()

    def _look(self) -> Seen:
        """In a thread."""
        found = marks(self._database)
        return Seen(*event_ends(self._database), found)
