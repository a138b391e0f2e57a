"""Powers of two, and nothing else."""

from __future__ import annotations

from convoy_controller.rarely import is_doubled


def test_the_first_time_the_second_the_fourth() -> None:
    assert [count for count in range(1, 100) if is_doubled(count)] == [1, 2, 4, 8, 16, 32, 64]
