"""How a page stays live: it is told that something has changed, reads anew in a thread, and shows what differs.

A page follows the hub of the API only while a browser holds its socket, and ends with it. What changes after a calm
while is shown at once; while changes go on, the pauses between updates grow up to `GAP_S` seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from convoy_schema.errors import ConvoyError
from nicegui import Client, ui
from starlette.concurrency import run_in_threadpool

from convoy_controller.api.hub import Hub, Seen
from convoy_controller.api.limits import TooManyError
from convoy_controller.api.problems import ApiError
from convoy_controller.dashboard import login
from convoy_controller.dashboard.visit import Visit
from convoy_controller.errors import DatabaseError

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds between two updates of one page at least, after a calm while and while changes go on; between looks whether
#: it may still be seen; after a failure.
SHORT_GAP_S = 0.1
GAP_S = 1.0
CHECK_S = 5.0
AGAIN_S = 2.0
#: The kind that moves with every line of history, beside those of the marks.
EVENTS = "events"


@dataclass
class Reading(Generic[T]):
    """Something that a page shows and keeps up: `read` in a thread, `show` in the page when the answer differs.

    `on` names the kinds of things (`database.marks`, and `EVENTS`) that it depends on; with `every_s` it is read anew
    that often as well, for what moves without a mark.
    """

    read: Callable[[], T]
    show: Callable[[T], None]
    on: frozenset[str]
    every_s: float | None
    _shown: list[T]
    _read_at: float = float("-inf")

    async def refresh(self, now: float) -> None:
        """Read it, and show it if it differs; raises what `read` raises."""
        self._read_at = now
        found = await run_in_threadpool(self.read)
        if not self._shown or self._shown[0] != found:
            self._shown[:] = [found]
            self.show(found)

    def has_moved(self, kinds: Collection[str]) -> bool:
        """Whether it depends on one of these kinds."""
        return not self.on.isdisjoint(kinds)

    def is_due(self, kinds: Collection[str], now: float) -> bool:
        """Whether it is to be read, after these kinds moved or for its age."""
        return self.has_moved(kinds) or (self.every_s is not None and now - self._read_at >= self.every_s)


class Live:
    """Of one page in one browser. `say` is told what the user has to know of the connection, '' when all is well."""

    def __init__(self, client: Client, visit: Visit, say: Callable[[str], None]) -> None:
        self._client = client
        self._visit = visit
        self._say = say
        self._readings: list[Reading[Any]] = []
        self._changing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def keep(
        self, read: Callable[[], T], show: Callable[[T], None], on: Collection[str] = (), every_s: float | None = None
    ) -> Reading[T]:
        """Show it now, and anew whenever it differs. `show` runs where this was called, so that it may make elements.

        Raises `NotFoundError` and other refusals of `read`; while the database is away the page says so instead.
        """
        slot = ui.context.slot

        def shown(value: T) -> None:
            with slot:
                show(value)

        reading = Reading(read, shown, frozenset(on), every_s, [])
        self._readings.append(reading)
        try:
            await reading.refresh(self._now())
        except DatabaseError as error:
            self._say(_away(error))
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"page {self._client.page.path}")
            self._client.on_delete(self._task.cancel)
        return reading

    async def again(self, reading: Reading[Any]) -> None:
        """Read it now, because the page asks something else of it."""
        try:
            async with self._changing:
                await reading.refresh(self._now())
        except DatabaseError as error:
            self._say(_away(error))

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    async def _run(self) -> None:
        await self._client.connected()
        while not self._client.is_deleted:
            try:
                async with self._visit.hub.following() as hub:
                    await self._refresh(None)
                    self._tell("")
                    await self._follow(hub)
            except DatabaseError as error:
                self._tell(_away(error))
            except TooManyError as error:
                self._tell(f"This page is not live: {error}.")
            except ApiError as error:
                log.info("%s may no longer look: %s", self._visit.caller.name, error)
                with self._client:
                    ui.navigate.to(login.address(self._client.request.url))
                return
            except Exception:
                log.exception("%s cannot be kept up", self._client.page.path)
                self._tell(
                    "This page cannot be kept up, by a mistake of ours: load it anew. The server's log has more."
                )
            await asyncio.sleep(AGAIN_S)

    async def _follow(self, hub: Hub) -> None:
        """Raises `DatabaseError` and `ApiError`."""
        seen, checked_at = hub.seen, self._now()
        gap_s, paused_at = SHORT_GAP_S, float("-inf")
        while True:
            started = self._now()
            now = await hub.wait(seen, min(self._next_s(), max(0.0, checked_at + CHECK_S - started)))
            kinds, seen = _moved(now, seen), now
            if self._now() >= checked_at + CHECK_S:
                await self._visit.may_still()
                checked_at = self._now()
            was_calm = self._now() - paused_at > GAP_S
            await self._refresh(kinds)
            if any(
                each.has_moved(kinds) for each in self._readings
            ):  # those read for their age have a pace of their own
                gap_s = SHORT_GAP_S if was_calm else min(GAP_S, 2 * gap_s)
                await asyncio.sleep(gap_s)
                paused_at = self._now()

    def _next_s(self) -> float:
        return min((each.every_s for each in self._readings if each.every_s is not None), default=CHECK_S)

    async def _refresh(self, kinds: Collection[str] | None) -> None:
        """After these kinds moved; None reads all."""
        due = [each for each in self._readings if kinds is None or each.is_due(kinds, self._now())]
        async with self._changing:
            for reading in due:
                try:
                    await reading.refresh(self._now())
                except DatabaseError:
                    raise
                except ConvoyError as error:  # what the page is about may be gone
                    self._tell(f"{error}")

    def _tell(self, text: str) -> None:
        with self._client:
            self._say(text)


def _moved(now: Seen, before: Seen) -> set[str]:
    return {*now.moved(before), *({EVENTS} if now.newest != before.newest else ())}


def _away(error: DatabaseError) -> str:
    return f"The database does not answer, so that what is shown may be old; trying again. ({error})"
