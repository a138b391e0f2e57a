"""Shares of a bounded whole: all of it for one alone, and always some for each of several."""

from __future__ import annotations

from convoy_controller.gateway.shares import room_for
from hypothesis import given
from hypothesis import strategies as st


def test_one_alone_has_all() -> None:
    assert room_for(0, (), 60) == 60
    assert room_for(36, (), 60) == 24


def test_what_is_set_aside_for_others_is_not_taken() -> None:
    assert room_for(36, (0,), 60) == 9
    assert room_for(36, (15,), 60) == 9
    assert room_for(0, (36,), 60) == 24


@given(st.integers(2, 6), st.lists(st.tuples(st.integers(0, 5), st.integers(1, 50)), max_size=60))
def test_none_can_keep_another_out_by_small_requests(count: int, asked: list[tuple[int, int]]) -> None:
    whole = 600
    held = [0] * count
    for who, size in asked:
        mine = who % count
        if size <= room_for(held[mine], held[:mine] + held[mine + 1 :], whole):
            held[mine] += size
        assert sum(held) <= whole
    part = whole // (2 * count)
    for mine in range(count):
        others = held[:mine] + held[mine + 1 :]
        assert held[mine] + room_for(held[mine], others, whole) >= min(part, 50)
