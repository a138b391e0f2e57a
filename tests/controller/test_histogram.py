"""Durations by how long they took."""

from convoy_controller.histogram import FAST_S, SLOW_S, Histogram
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.floats(0.0, 400.0)))
def test_each_duration_is_counted_once_under_the_first_bound_that_holds_it(durations: list[float]) -> None:
    histogram = Histogram(SLOW_S)
    for seconds in durations:
        histogram.add(seconds)
    for index, bound in enumerate(SLOW_S):
        assert sum(histogram.counts[: index + 1]) == sum(seconds <= bound for seconds in durations)
    assert histogram.count == len(durations)
    assert abs(histogram.seconds - sum(durations)) < 1e-6


def test_a_copy_is_of_its_own() -> None:
    histogram = Histogram(FAST_S)
    histogram.add(0.003)
    same = histogram.copy()
    histogram.add(0.003)
    assert (same.count, same.seconds, histogram.count) == (1, 0.003, 2)
