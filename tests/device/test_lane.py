import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from convoy_device.lane import Lane
from patience import PATIENCE_S


def test_jobs_run_one_at_a_time_in_order_and_answers_come_in_the_loop() -> None:
    running: list[int] = []
    answers: list[tuple[int, BaseException | None]] = []

    def job(number: int) -> int:
        assert not running
        running.append(number)
        time.sleep(0.001)
        running.remove(number)
        if number == 3:
            raise ValueError("three")
        return number

    async def main() -> None:
        idle = asyncio.Event()
        with ThreadPoolExecutor(4) as pool:
            lane = Lane(pool, idle.set)
            loop_thread = threading.get_ident()

            def then(result: int, error: BaseException | None) -> None:
                assert threading.get_ident() == loop_thread
                answers.append((result, error))

            for number in range(10):
                lane.submit(lambda number=number: job(number), then)  # type: ignore[misc]
            assert lane.is_busy
            await asyncio.wait_for(idle.wait(), PATIENCE_S)
            assert not lane.is_busy

    asyncio.run(main())
    assert [result for result, _ in answers] == [0, 1, 2, None, 4, 5, 6, 7, 8, 9]
    assert isinstance(answers[3][1], ValueError)


def test_an_answer_that_raises_does_not_stop_the_lane(caplog: pytest.LogCaptureFixture) -> None:
    def bad(result: object, error: BaseException | None) -> None:
        raise RuntimeError("in an answer")

    async def main() -> None:
        done = asyncio.Event()
        with ThreadPoolExecutor(1) as pool:
            lane = Lane(pool)
            lane.submit(lambda: None, bad)
            lane.submit(lambda: None, lambda result, error: done.set())
            await asyncio.wait_for(done.wait(), PATIENCE_S)

    asyncio.run(main())
    assert "the next one starts" in caplog.text


def test_closing_waits_for_the_running_job_and_drops_the_rest() -> None:
    ran: list[str] = []

    async def main() -> None:
        with ThreadPoolExecutor(1) as pool:
            lane = Lane(pool)
            began = threading.Event()

            def slow() -> None:
                began.set()
                time.sleep(0.05)
                ran.append("slow")

            lane.submit(slow, lambda result, error: None)
            lane.submit(lambda: ran.append("dropped"), lambda result, error: None)
            began.wait(PATIENCE_S)
            await lane.close()

    asyncio.run(main())
    assert ran == ["slow"]


def test_the_age_of_the_present_job_is_known() -> None:
    async def main() -> None:
        idle, go = asyncio.Event(), threading.Event()
        with ThreadPoolExecutor(1) as pool:
            lane = Lane(pool, idle.set)
            assert lane.busy_s == 0
            for _ in range(2):
                lane.submit(lambda: go.wait(PATIENCE_S), lambda result, error: None)
            await asyncio.sleep(0.1)
            assert 0.1 <= lane.busy_s < PATIENCE_S
            go.set()
            await asyncio.wait_for(idle.wait(), PATIENCE_S)
            assert lane.busy_s == 0

    asyncio.run(main())
