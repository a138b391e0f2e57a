"""The emulated uplink: how long a frame takes, that lateness does not add up, and what happens when it is full."""

from __future__ import annotations

import asyncio

import pytest
from convoy_device import uplink
from convoy_device.uplink import LinkPace, PacedSender
from hypothesis import given
from hypothesis import strategies as st
from link_bench import until


def test_frames_leave_one_after_the_other() -> None:
    pace = LinkPace(bytes_per_s=1000.0, frame_s=0.5)
    assert pace.leaves_at(10.0, 250) == 10.75
    assert pace.leaves_at(10.1, 250) == 11.5
    assert pace.leaves_at(20.0, 0) == 20.5


@given(st.lists(st.tuples(st.floats(0, 0.01), st.integers(0, 10_000)), min_size=1, max_size=50))
def test_a_busy_link_carries_exactly_its_rate(frames: list[tuple[float, int]]) -> None:
    pace, now, last = LinkPace(1e4), 0.0, 0.0
    for gap, size in frames:
        now += gap
        leaves = pace.leaves_at(now, size)
        assert leaves >= max(now, last)
        assert leaves == pytest.approx(max(now, last) + size / 1e4)
        last = leaves


def test_the_sender_keeps_order_and_takes_its_time() -> None:
    sent: list[tuple[str, float]] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()

        def send(topic: str, payload: bytes) -> bool:
            sent.append((topic, loop.time() - started))
            return True

        sender = PacedSender(LinkPace(10_000.0), send, clock=loop.time)
        for number in range(4):
            assert sender.send(str(number), bytes(200))
        assert not sent
        await until(lambda: len(sent) == 4)

    asyncio.run(scenario())
    assert [topic for topic, _ in sent] == ["0", "1", "2", "3"]
    assert all(at >= 0.02 * (number + 1) - 0.002 for number, (_, at) in enumerate(sent))


def test_it_says_how_long_frames_waited_and_those_that_still_do() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        left: list[str] = []

        def send(topic: str, payload: bytes) -> bool:
            left.append(topic)
            return True

        sender = PacedSender(LinkPace(10_000.0), send, clock=loop.time)
        assert sender.take_wait_us() == 0
        sender.send("first", bytes(300))
        sender.send("second", bytes(100_000))
        await until(lambda: left == ["first"])
        assert sender.take_wait_us() >= 30_000
        await asyncio.sleep(0.02)
        assert sender.take_wait_us() >= 50_000, "the second has waited as long, and has not left"
        sender.close()
        assert sender.take_wait_us() == 0

    asyncio.run(scenario())


def test_it_is_bounded_tells_of_what_is_lost_and_forgets_when_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uplink, "MOST_WAITING", 2)
    lost: list[int] = []

    async def scenario() -> None:
        sender = PacedSender(LinkPace(1e9), lambda topic, payload: False, lambda: lost.append(1))
        assert [sender.send("t", b"x") for _ in range(3)] == [True, True, False]
        await until(lambda: len(lost) == 2)
        assert sender.send("t", b"x")
        sender.close()
        await asyncio.sleep(0.02)

    asyncio.run(scenario())
    assert len(lost) == 2
