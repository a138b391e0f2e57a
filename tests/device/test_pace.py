"""How work is made to take what a slower machine's would, on a clock of the test's own."""

from __future__ import annotations

import pytest
from convoy_device.fabric.pace import Pace


def test_pace_gives_back_what_a_sleep_took_too_long() -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds + 0.001

    pace = Pace(2.0, lambda: now[0], sleep)
    for _ in range(100):
        pace.finish(pace.start(), 0.05)
    assert now[0] == pytest.approx(100 * 0.1 + 0.001)


def test_pace_does_not_wait_for_slow_work_and_forgives_nothing_large() -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds + 5.0

    pace = Pace(1.0, lambda: now[0], sleep)
    started = pace.start()
    now[0] += 3.0
    pace.finish(started, 1.0)
    assert now[0] == 3.0
    pace.finish(pace.start(), 1.0)
    assert now[0] == pytest.approx(9.0 - 0.002)
    assert pace.start() == pytest.approx(now[0] - 0.002)


def test_what_the_host_adds_between_two_pieces_of_work_is_taken_off_and_idling_is_not() -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    pace = Pace(60.0, lambda: now[0], sleep)
    for _ in range(100):
        pace.finish(pace.start(), 0.001)
        now[0] += 0.005
    assert now[0] == pytest.approx(100 * 0.06 + 0.005)
    now[0] += 1.0
    assert pace.start() == now[0]
