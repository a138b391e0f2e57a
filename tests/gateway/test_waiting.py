"""The queue of waiting requests: urgent first, nobody starves, and what is over takes no room."""

from __future__ import annotations

import numpy as np
from convoy_controller.gateway.batches import Contract, Request
from convoy_controller.gateway.waiting import PRIORITIES, STEP_S, Waiting
from gateway_models import identity
from hypothesis import given
from hypothesis import strategies as st

CONTRACT = Contract(identity())


def request(ident: int, now: float) -> Request:
    return Request(ident, CONTRACT, np.zeros((1, 3), np.int8), 100.0, now)


def drained(queue: Waiting) -> list[int]:
    order = []
    while (first := queue.first()) is not None:
        order.append(first.id)
        queue.pop()
    return order


def test_the_urgent_overtake_and_equals_keep_their_order() -> None:
    queue = Waiting()
    for ident, priority in enumerate((4, 8, 4, 1, 4, 1)):
        queue.add(request(ident, 1.0), priority)
    assert drained(queue) == [3, 5, 0, 2, 4, 1]
    assert queue.first() is None


@given(st.lists(st.tuples(st.floats(0, 0.2), st.integers(1, PRIORITIES)), min_size=1, max_size=60))
def test_nobody_is_overtaken_by_who_came_later_than_its_levels_are_worth(arrivals: list[tuple[float, int]]) -> None:
    queue, now, known = Waiting(), 0.0, {}
    for ident, (gap, priority) in enumerate(arrivals):
        now += gap
        known[ident] = now, priority
        queue.add(request(ident, now), priority)
    order = drained(queue)
    assert sorted(order) == sorted(known)
    for position, ident in enumerate(order):
        came, priority = known[ident]
        for earlier in order[:position]:
            assert known[earlier][0] <= came + (PRIORITIES - 1) * STEP_S
            assert known[earlier][1] < priority or known[earlier][0] < came or earlier < ident


def test_what_ended_elsewhere_is_passed_over_and_cleared_though_nobody_asks() -> None:
    queue = Waiting()
    requests = [request(ident, float(ident)) for ident in range(1000)]
    for each in requests:
        queue.add(each, 4)
    for each in requests[:-1]:
        each.is_done = True
        queue.ended()
    assert len(queue._heap) < 200
    assert [each.id for each in queue] == [999]
    assert drained(queue) == [999]
