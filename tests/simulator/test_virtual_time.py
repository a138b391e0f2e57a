"""Hours pass at once, always alike, and what waits for ever is noticed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
from convoy_simulator.virtual_time import UNKNOWN_S, VirtualLoop, VirtualPool


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    made = VirtualLoop()
    yield made
    made.close()


def test_an_hour_takes_no_time_and_comes_in_order(loop: VirtualLoop) -> None:
    seen: list[tuple[float, str]] = []

    async def sleep(seconds: float, name: str) -> None:
        await asyncio.sleep(seconds)
        seen.append((loop.time(), name))

    async def main() -> None:
        await asyncio.gather(sleep(3600, "late"), sleep(0.25, "soon"), sleep(3600, "late too"))

    began = time.monotonic()
    loop.run_until_complete(main())
    assert time.monotonic() - began < 5
    assert seen == [(0.25, "soon"), (3600, "late"), (3600, "late too")]


def test_who_waits_for_what_cannot_come_is_told(loop: VirtualLoop) -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    task = loop.create_task(main())
    with pytest.raises(RuntimeError, match="nothing is left that could happen"):
        loop.run_forever()
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))


def test_work_of_a_pool_takes_what_it_is_said_to_take(loop: VirtualLoop) -> None:
    pool = VirtualPool(lambda work: 2.5)

    async def main() -> float:
        assert await loop.run_in_executor(pool, lambda: 7) == 7
        return loop.time()

    assert loop.run_until_complete(main()) == 2.5


def test_errors_of_work_come_to_who_waits(loop: VirtualLoop) -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, lambda: 1 // 0)
        assert loop.time() == UNKNOWN_S

    loop.run_until_complete(main())


def test_a_process_that_has_ended_begins_nothing(loop: VirtualLoop) -> None:
    over: list[bool] = []
    done: list[int] = []
    pool = VirtualPool(lambda work: 1.0, lambda: bool(over))

    async def main() -> None:
        loop.run_in_executor(pool, done.append, 1)
        await asyncio.sleep(0.5)
        over.append(True)
        await asyncio.sleep(2.0)

    loop.run_until_complete(main())
    assert done == []


def test_work_may_say_afterwards_how_long_it_took(loop: VirtualLoop) -> None:
    loop.thread_work = lambda: 4.0
    order: list[str] = []

    async def main() -> None:
        await loop.run_in_executor(None, order.append, "done")
        order.append("known")
        assert loop.time() == 4.0

    loop.run_until_complete(main())
    assert order == ["done", "known"]
