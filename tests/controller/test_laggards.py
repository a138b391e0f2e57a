"""Who follows older orders than it was told is told again, ever more rarely."""

from __future__ import annotations

from convoy_controller.laggards import Laggards


def test_one_pulse_may_have_crossed_orders_and_the_second_did_not() -> None:
    laggards = Laggards()
    assert not laggards.is_to_be_told("a", (1, 4), (1, 5), 1.0)
    assert laggards.is_to_be_told("a", (1, 4), (1, 5), 1.0)
    assert not laggards.is_to_be_told("b", (1, 4), (1, 5), 1.0)


def test_who_will_not_hear_is_told_ever_more_rarely() -> None:
    laggards = Laggards()
    told = [number for number in range(1, 20) if laggards.is_to_be_told("a", (1, 9), (2, 1), 1.0)]
    assert told == [2, 4, 8, 16]


def test_who_follows_is_counted_anew() -> None:
    laggards = Laggards()
    assert not laggards.is_to_be_told("a", (2, 1), (2, 2), 1.0)
    assert not laggards.is_to_be_told("a", (2, 2), (2, 2), 1.0)
    assert not laggards.is_to_be_told("a", (2, 2), (2, 3), 1.0)
    laggards.forget()
    assert not laggards.is_to_be_told("a", (2, 2), (2, 3), 1.0)
    assert laggards.is_to_be_told("a", (2, 2), (2, 3), 1.0)


def test_who_speaks_seldom_is_told_at_once() -> None:
    """Seen with thousands of boards: one that had missed its orders waited a minute for its second pulse."""
    laggards = Laggards()
    assert laggards.is_to_be_told("a", (1, 4), (1, 5), 30.0)
    assert not laggards.is_to_be_told("a", (1, 5), (1, 5), 30.0)
