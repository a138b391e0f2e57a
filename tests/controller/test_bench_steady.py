"""How a steady rate is read off answers, and that paced links are as slow as paced boards."""

from __future__ import annotations

import asyncio

import pytest
from convoy_controller import planner
from convoy_controller.bench.rig import paced
from convoy_controller.bench.steady import Schedule, steady_rate, steady_state


def test_a_steady_rate_is_that_of_even_answers() -> None:
    assert steady_rate([0.1 * n for n in range(100)], 1.0, 9.0) == pytest.approx(10.0)
    assert steady_rate([1.0], 0.0, 2.0) == 0.0


def test_bursts_of_replicas_count_whole() -> None:
    times = [0.3 * turn + 0.001 * replica for turn in range(40) for replica in range(3)]
    for since in (1.0, 1.1, 1.2001, 1.2005):
        assert steady_rate(times, since, 10.0) == pytest.approx(10.0, rel=0.002)


def test_callers_that_share_one_worker_are_answered_at_its_rate() -> None:
    async def measured() -> float:
        lock = asyncio.Lock()

        async def ask() -> None:
            async with lock:
                await asyncio.sleep(0.02)

        return await steady_state(ask, 3, Schedule(warm_up_s=0.2, window_s=0.3))

    assert 5 < asyncio.run(measured()) <= 50


def test_settings_slow_links_as_they_slow_boards() -> None:
    settings = paced(60.0)
    assert settings["pace"] == 60.0
    assert settings["link_bytes_per_s"] * 60.0 == planner.LINK_BYTES_PER_S
    assert settings["link_frame_s"] == planner.HOP_S * 60.0
