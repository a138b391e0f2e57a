"""The timeout that follows from measured round trips."""

from __future__ import annotations

import pytest
from convoy_schema.round_trip import RoundTrip


def test_the_timeout_follows_what_was_measured() -> None:
    trip = RoundTrip(first_s=1.0, floor_s=0.2, ceiling_s=8.0)
    assert trip.timeout() == 1.0
    trip.observe(1.0)
    assert trip.timeout() == pytest.approx(3.0)
    for _ in range(100):
        trip.observe(1.0)
    assert trip.timeout() == pytest.approx(2.0, abs=0.05), "a queue may grow and a round trip double, nothing lost"
    for _ in range(200):
        trip.observe(0.001)
    assert trip.timeout() == 0.2
    assert trip.timeout(1) == 0.4
    assert trip.timeout(60) == 8.0


def test_nothing_measured_is_below_the_floor_nor_above_the_ceiling() -> None:
    trip = RoundTrip(first_s=1.0, floor_s=0.5, ceiling_s=4.0)
    trip.observe(60.0)
    assert trip.timeout() == 4.0
    for _ in range(300):
        trip.observe(0.0)
    assert trip.timeout() == 0.5
