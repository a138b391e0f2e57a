"""Whether there was capacity, by the faults alone."""

from __future__ import annotations

import itertools

import pytest
from convoy_simulator.real.capacity import RECOVERY_S, Capacity
from convoy_simulator.real.faults import Role
from hypothesis import given
from hypothesis import strategies as st

BOARDS, GATEWAYS = ("board-1", "board-2", "board-3"), ("gateway-1", "gateway-2")


def test_one_fault_takes_no_capacity_unless_it_is_the_brokers() -> None:
    for role, name in ((Role.BOARD, "board-1"), (Role.CONTROLLER, "controller"), (Role.GATEWAY, "gateway-1")):
        capacity = Capacity(BOARDS, GATEWAYS)
        capacity.away(role, name, 10.0)
        assert capacity.was_there(11.0, 40.0), role
    capacity = Capacity(BOARDS, GATEWAYS)
    capacity.away(Role.BROKER, "broker", 10.0)
    assert not capacity.was_there(11.0, 40.0)
    capacity.back(Role.BROKER, "broker", 20.0)
    assert capacity.was_there(11.0, 20.0 + RECOVERY_S)
    assert not capacity.was_there(11.0, 19.0 + RECOVERY_S)


@pytest.mark.parametrize(
    ("gone", "is_there"),
    [
        ([(Role.GATEWAY, "gateway-1"), (Role.GATEWAY, "gateway-2")], False),
        ([(Role.BOARD, name) for name in BOARDS], False),
        ([(Role.BOARD, name) for name in BOARDS[:2]], True),
        ([(Role.BOARD, "board-1"), (Role.CONTROLLER, "controller")], False),
        ([(Role.BOARD, "board-1"), (Role.DATABASE, "database")], False),
        ([(Role.CONTROLLER, "controller"), (Role.DATABASE, "database")], True),
        ([(Role.GATEWAY, "gateway-1"), (Role.CONTROLLER, "controller")], True),
    ],
)
def test_what_the_fleet_needs(gone: list[tuple[Role, str]], is_there: bool) -> None:
    capacity = Capacity(BOARDS, GATEWAYS)
    for role, name in gone:
        capacity.away(role, name, 10.0)
    assert capacity.was_there(10.0, 40.0) is is_there
    for role, name in gone:
        capacity.back(role, name, 40.0)
    assert capacity.was_there(10.0, 60.0)


def test_each_blow_begins_the_recovery_anew() -> None:
    capacity = Capacity(BOARDS, GATEWAYS)
    for number in range(4):
        name = BOARDS[number % 2]
        capacity.away(Role.BOARD, name, number * 10.0)
        capacity.back(Role.BOARD, name, number * 10.0 + 1.0)
    assert not capacity.was_there(0.0, 30.0)
    assert capacity.was_there(0.0, 30.0 + RECOVERY_S)
    assert capacity.was_there(12.0, 18.0)


def test_what_is_struck_twice_is_back_when_both_are_over() -> None:
    capacity = Capacity(BOARDS, GATEWAYS)
    capacity.away(Role.BROKER, "broker", 10.0)
    capacity.away(Role.BROKER, "broker", 11.0)
    capacity.back(Role.BROKER, "broker", 12.0)
    assert not capacity.was_there(10.0, 20.0)
    capacity.back(Role.BROKER, "broker", 20.0)
    assert capacity.was_there(20.0, 21.0)


@given(st.lists(st.tuples(st.booleans(), st.floats(0.1, 12)), max_size=20), st.floats(0, 100), st.floats(0.1, 60))
def test_spans_of_capacity_are_those_of_a_fine_grid(turns: list[tuple[bool, float]], since: float, span: float) -> None:
    capacity, now, missing = Capacity(BOARDS, GATEWAYS), 0.0, []
    for _, step in turns:
        capacity.away(Role.BROKER, "broker", now)
        missing.append((now, now + step))
        now += step
        capacity.back(Role.BROKER, "broker", now)
        now += step
    edges = sorted({since, since + span, *(edge for pair in missing for edge in pair if since < edge < since + span)})
    longest = 0.0
    run = 0.0
    for begin, end in itertools.pairwise(edges):
        middle = (begin + end) / 2
        run = 0.0 if any(first <= middle < last for first, last in missing) else run + end - begin
        longest = max(longest, run)
    needed = min(RECOVERY_S, span)
    if abs(longest - needed) > 1e-6:
        assert capacity.was_there(since, since + span) is (longest > needed)
