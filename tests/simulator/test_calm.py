"""When a fleet was able to answer."""

from __future__ import annotations

import itertools

import pytest
from convoy_simulator.calm import ENOUGH_S, Calm
from hypothesis import given
from hypothesis import strategies as st


def test_without_trouble_it_takes_only_long_enough() -> None:
    assert Calm(1.0).was_able(10, 10 + ENOUGH_S)
    assert not Calm(1.0).was_able(10, 10 + ENOUGH_S - 0.1)


@pytest.mark.parametrize(
    ("since", "until", "able"),
    [
        (0, 20, True),  # before it
        (4, 20, False),  # 6 s before 10, and nothing after 15 + 2
        (4, 23, True),
        (11, 23, True),
        (11, 22.9, False),
        (15, 23, True),
        (30, 36, True),
    ],
)
def test_what_is_left_around_a_disturbance_and_its_recovery(since: float, until: float, able: bool) -> None:
    calm = Calm(2.0)
    calm.disturb(9.5, 15)
    assert calm.was_able(since, until) is able


def test_disturbances_that_overlap_are_one() -> None:
    calm = Calm(0.0)
    calm.disturb(5, 30)
    calm.disturb(6, 8)
    assert not calm.was_able(4, 30)


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 20)), max_size=6), st.floats(0, 50), st.floats(0, 40))
def test_it_is_what_a_look_at_every_moment_finds(
    troubles: list[tuple[float, float]], since: float, length: float
) -> None:
    calm = Calm(1.0)
    for begin, lasting in troubles:
        calm.disturb(begin, begin + lasting)
    until = since + length
    marks = sorted({since, until, *(m for b, d in troubles for m in (b, b + d + 1.0) if since <= m <= until)})
    best = run = 0.0
    for left, right in itertools.pairwise(marks):
        middle = (left + right) / 2
        run = 0.0 if any(b <= middle < b + d + 1.0 for b, d in troubles) else run + right - left
        best = max(best, run)
    if abs(best - ENOUGH_S) > 1e-6:
        assert calm.was_able(since, until) is (best > ENOUGH_S)
