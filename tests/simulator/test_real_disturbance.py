"""A line in words and in packets: what is lost, late and thin."""

from __future__ import annotations

import random

import pytest
from convoy_simulator.real.disturbance import CALM, CUT, MOST_WAITING, Direction, Disturbance


def passed(disturbance: Disturbance, count: int = 1000, every_s: float = 0.01) -> list[tuple[float, bytes]]:
    way = Direction(random.Random(5))
    way.disturbance = disturbance
    arrived: list[tuple[float, bytes]] = []
    for number in range(count):
        way.enter(number.to_bytes(100, "big"), number * every_s)
    while way.due is not None:
        now = way.due
        arrived += [(now, packet) for packet in way.arrived(now)]
    return arrived


def test_a_calm_line_passes_everything_at_once_and_in_order() -> None:
    assert passed(CALM) == [(number * 0.01, number.to_bytes(100, "big")) for number in range(1000)]


def test_a_bad_line_loses_delays_and_is_thin() -> None:
    assert passed(CUT) == []
    assert 850 < len(passed(Disturbance(loss=0.1))) < 950
    late = passed(Disturbance(delay_s=0.2, jitter_s=0.1))
    assert len(late) == 1000
    delays = [at - int.from_bytes(packet, "big") * 0.01 for at, packet in late]
    assert 0.1 <= min(delays) < max(delays) <= 0.31
    assert [packet for _, packet in late] == sorted(packet for _, packet in late)
    thin = passed(Disturbance(bytes_per_s=5000))
    assert thin[-1][0] == pytest.approx(1000 * 100 / 5000)
    assert len(passed(Disturbance(delay_s=1.0), MOST_WAITING + 7, 0.0)) == MOST_WAITING


def test_netem_is_told_the_same() -> None:
    assert " ".join(CUT.netem()) == "limit 1000 loss 100.000%"
    assert " ".join(Disturbance(0.1, 0.02, 0.05, 125e3).netem()) == (
        "limit 1000 delay 100.000ms 20.000ms loss 5.000% rate 1000000bit"
    )
