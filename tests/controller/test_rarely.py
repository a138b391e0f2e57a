"""Powers of two, and nothing else."""

from __future__ import annotations

from convoy_controller.rarely import SELDOM_S, is_doubled, is_to_be_repeated


def test_the_first_time_the_second_the_fourth() -> None:
    assert [count for count in range(1, 100) if is_doubled(count)] == [1, 2, 4, 8, 16, 32, 64]


def test_of_frequent_words_the_first_may_have_crossed_and_of_rare_ones_it_counts() -> None:
    assert [count for count in range(1, 20) if is_to_be_repeated(count, 1.0)] == [2, 4, 8, 16]
    assert [count for count in range(1, 20) if is_to_be_repeated(count, SELDOM_S)] == [1, 2, 4, 8, 16]
