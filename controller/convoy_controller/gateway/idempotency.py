"""One answer a key: a repeated request joins the one in flight, or gets the answer that was given.

Bounded by entries, bytes and time; only answers are kept, never errors, since a retry after an error should try again.
`http` uses it; time is passed in.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from convoy_controller.errors import InvalidInputError


class Sized(Protocol):
    """An answer that knows how many bytes it takes."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    @property
    def is_final(self) -> bool:
        """Whether a repetition should get this very answer."""
        ...


A = TypeVar("A", bound=Sized)


@dataclass
class _Entry(Generic[A]):
    fingerprint: bytes
    task: asyncio.Task[A]
    kept_at: float | None = None
    size: int = 0


class Answers(Generic[A]):
    """The answers of the last `seconds`, at most `entries` of them and `size` bytes."""

    def __init__(self, entries: int = 4096, size: int = 8 * 1024 * 1024, seconds: float = 120.0) -> None:
        self._most, self._most_bytes, self._seconds = entries, size, seconds
        self._entries: OrderedDict[str, _Entry[A]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    async def once(self, key: str, fingerprint: bytes, now: Callable[[], float], work: Callable[[], Awaitable[A]]) -> A:
        """The answer to `key`: the one kept, the one being made, or that of `work`.

        Raises `InvalidInputError` when the key was used for something else (another `fingerprint`). A caller that goes
        away does not stop the work: its repetition may be on the way.
        """
        self._expire(now())
        entry = self._entries.get(key)
        if entry is None:
            entry = _Entry(fingerprint, asyncio.ensure_future(_run(work)))
            self._entries[key] = entry
            entry.task.add_done_callback(lambda task: self._settle(key, task, now()))
        elif entry.fingerprint != fingerprint:
            raise InvalidInputError(f"idempotency key {key[:80]!r} was used for another request")
        else:
            self._entries.move_to_end(key)
        return await asyncio.shield(entry.task)

    def _settle(self, key: str, task: asyncio.Task[A], now: float) -> None:
        entry = self._entries.get(key)
        if entry is None or entry.task is not task:
            return
        if task.cancelled() or task.exception() is not None or not task.result().is_final:
            del self._entries[key]
            return
        entry.kept_at, entry.size = now, task.result().size + len(key) + 200
        self._bytes += entry.size
        while len(self._entries) > self._most or self._bytes > self._most_bytes:
            oldest = next((k for k, each in self._entries.items() if each.kept_at is not None), None)
            if oldest is None:
                return
            self._drop(oldest)

    def _expire(self, now: float) -> None:
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            if entry.kept_at is None or now - entry.kept_at < self._seconds:
                return
            self._drop(key)

    def _drop(self, key: str) -> None:
        self._bytes -= self._entries.pop(key).size


async def _run(work: Callable[[], Awaitable[A]]) -> A:
    return await work()
