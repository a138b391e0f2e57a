"""An event loop whose clock jumps from one timer to the next: hours of a fleet in seconds, and the same each time.

It is asyncio's own loop over a selector that never waits. Work for threads runs in the loop itself, after the time
that its pool says it takes; so there is one thread, and nothing whose order the machine decides.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from typing import Any

#: Seconds that work takes of which nobody said how long it takes.
UNKNOWN_S = 0.001


class _NoSelector(selectors.BaseSelector):
    """Watches nothing; a wait is over at once, and has moved the clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.is_stuck = False
        self._keys: dict[int, selectors.SelectorKey] = {}

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            self.is_stuck = True
            raise RuntimeError("everybody waits, and nothing is left that could happen")
        if timeout > 0:
            self.now += timeout
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = self._keys[number] = selectors.SelectorKey(fileobj, number, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj if isinstance(fileobj, int) else fileobj.fileno())

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return {key.fileobj: key for key in self._keys.values()}


class VirtualPool(Executor):
    """Stands for a pool of threads: `seconds_of` says how long a piece of work takes (virtual seconds).

    Once `is_over` its process has ended, and nothing that was handed to it is begun.
    """

    def __init__(
        self, seconds_of: Callable[[Callable[..., Any]], float], is_over: Callable[[], bool] = lambda: False
    ) -> None:
        self.seconds_of = seconds_of
        self.is_over = is_over

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Nobody calls it: the loop runs what is meant for the pool."""
        raise RuntimeError("work of a virtual pool is run by its loop")


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time` begins at 0; seconds are virtual throughout."""

    def __init__(self) -> None:
        self._waits = _NoSelector()
        #: How long what was done just now for threads of no virtual pool took; None: `UNKNOWN_S`, known beforehand.
        self.thread_work: Callable[[], float] | None = None
        super().__init__(self._waits)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Seconds since the beginning."""
        return self._waits.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Run `func` here, after the time that it takes."""
        future: asyncio.Future[Any] = self.create_future()
        if self.thread_work is not None and not isinstance(executor, VirtualPool):
            self.call_soon(self._work_first, future, func, args)
            return future
        if isinstance(executor, VirtualPool):
            self.call_later(executor.seconds_of(func), _work_unless_over, executor, future, func, args)
        else:
            self.call_later(UNKNOWN_S, _work, future, func, args)
        return future

    def _work_first(self, future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Do it, then let the time pass that it took."""
        done: asyncio.Future[Any] = self.create_future()
        _work(done, func, args)
        self.call_later(self.thread_work() if self.thread_work else UNKNOWN_S, _pass_on, done, future)


def _pass_on(done: asyncio.Future[Any], future: asyncio.Future[Any]) -> None:
    error = done.exception()
    if future.cancelled():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(done.result())


def _work_unless_over(
    pool: VirtualPool, future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    if not pool.is_over():
        _work(future, func, args)


def _work(future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if future.cancelled():
        return
    try:
        result = func(*args)
    except BaseException as error:  # StopIteration cannot be set on a future, nor does any of our work raise it
        future.set_exception(error)
    else:
        future.set_result(result)
