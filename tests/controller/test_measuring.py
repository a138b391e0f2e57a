"""Speeds and hops out of pulses: what was put in comes out, whatever the stages, and what says nothing is left out."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from convoy_controller.planner import BoardModel, plan_fleet
from convoy_controller.planning.costing import instance_of
from convoy_controller.planning.measuring import LEAST_FRAMES, Work, hop_seconds, modelled_seconds, speed
from convoy_controller.planning.segments import on_processor, placed_seconds, seconds
from convoy_schema.bundle import Method
from convoy_schema.messages.boards import StagePulse
from convoy_schema.messages.desired import Assignment, Hop, Intent, Role
from convoy_schema.names import Generation
from convoy_schema.processors import ProcessorRate
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window
from hypothesis import given, settings
from hypothesis import strategies as st

BUNDLE = "0" * 64
A9 = ProcessorRate(150e6, 200e6, 2e-4)


def network() -> Topology:
    """Convolutions and pools in turn, and a dense layer."""
    window = Window((3, 3), padding=(1, 1, 1, 1))
    tensors = (*(Tensor(f"t{n}", (8, 12, 12), 0.1, 0) for n in range(5)), Tensor("t5", (10,), 0.1, 0))
    kinds = (Kind.CONV2D, Kind.MAX_POOL, Kind.CONV2D, Kind.MAX_POOL, Kind.DENSE)
    layers = tuple(
        Layer(f"l{n}", kind, (f"t{n}",), f"t{n + 1}", None if kind is Kind.DENSE else window)
        for n, kind in enumerate(kinds)
    )
    return Topology("net", tensors, layers, "t0", "t5")


TOPOLOGY = network()
NAMES = tuple(layer.name for layer in TOPOLOGY.layers)


def board(partitions: int | None = None, processor: ProcessorRate | None = None) -> BoardModel:
    return BoardModel(clock_hz=100e6, memory_bytes=2**28, partitions=partitions, processor=processor)


def told(first: int, last: int, processor: tuple[str, ...] = ()) -> Assignment:
    return Assignment(
        Intent("shop", "net", "1", Method.LIBRARY),
        Generation(1, 1),
        Role.SERVING,
        BUNDLE,
        0,
        2,
        NAMES[first:last],
        (),
        (Hop("next"),),
        (),
        64,
        32,
        processor,
    )


def counted(assignment: Assignment, model: BoardModel, factor: float, frames: int, rows: int) -> Work:
    """What a board counts that takes `factor` times what the model says."""
    row_s = modelled_seconds(assignment, TOPOLOGY, model, rows)
    busy_us = round(row_s * factor * frames * rows * 1e6)
    return assignment, StagePulse("shop", Generation(1, 1), frames, frames * rows, 0, 64, busy_us, 0)


stages = st.integers(0, 4).flatmap(lambda first: st.tuples(st.just(first), st.integers(first + 1, 5)))


@given(
    st.lists(st.tuples(stages, st.integers(LEAST_FRAMES, 1000), st.integers(1, 32)), min_size=1, max_size=3),
    st.floats(0.05, 200),
    st.sampled_from([None, 1, 2, 3]),
    st.booleans(),
)
def test_the_factor_that_busy_times_hold_comes_out(
    ran: list[tuple[tuple[int, int], int, int]], factor: float, partitions: int | None, uses_processor: bool
) -> None:
    model = board(partitions, A9 if uses_processor else None)
    works = []
    for (first, last), frames, rows in ran:
        left = NAMES[last - 1 : last] if uses_processor else ()
        works.append(counted(told(first, last, left), model, factor, frames, rows))
    found = speed(works, {BUNDLE: TOPOLOGY}, model)
    assert found is not None
    assert found.rows == sum(frames * rows for _, frames, rows in ran)
    # Whole microseconds are all that is counted.
    assert math.isclose(found.factor, factor, rel_tol=len(works) / sum(pulse.busy_us for _, pulse in works))
    # And a plan over a board so much slower takes so much longer.
    slow = replace(model, clock_hz=model.clock_hz / factor, swap_s=model.swap_s * factor, processor=None)
    plain = replace(model, processor=None)
    before, after = (plan_fleet(TOPOLOGY, [("b", each, 1)]).stages[0].seconds for each in (plain, slow))
    assert math.isclose(after, before * factor, rel_tol=1e-9)


@settings(max_examples=40)
@given(stages, st.sampled_from([None, 1, 2]), st.sampled_from([None, A9, ProcessorRate(1e12, 1e12)]))
def test_what_the_planner_chose_is_modelled_as_it_was_planned(
    cut: tuple[int, int], partitions: int | None, processor: ProcessorRate | None
) -> None:
    instance = instance_of(TOPOLOGY, [("b", board(partitions, processor), 1)], 8)
    kind, (first, last) = instance.kinds[0], cut
    left = frozenset(on_processor(instance, kind, first, last))
    assert math.isclose(
        placed_seconds(instance, kind, first, last, left), seconds(instance, kind)[first, last], rel_tol=1e-9
    )


def test_what_says_nothing_does_not_count() -> None:
    model = board()
    good = counted(told(0, 2), model, 2.0, 100, 8)
    few = counted(told(2, 5), model, 50.0, LEAST_FRAMES - 1, 8)
    other = replace(told(2, 5), bundle="1" * 64), counted(told(2, 5), model, 50.0, 100, 8)[1]
    idle = told(2, 5), StagePulse("shop", Generation(1, 1), 0, 0, 0, 64, 0, 0)
    no_processor = told(2, 5, ("l4",)), counted(told(2, 5), model, 50.0, 100, 8)[1]
    strange = replace(told(2, 5), layers=("elsewhere",)), counted(told(2, 5), model, 50.0, 100, 8)[1]
    found = speed([good, few, other, idle, no_processor, strange], {BUNDLE: TOPOLOGY}, model)
    assert found is not None
    assert (found.rows, found.factor) == (800, pytest.approx(2.0, rel=1e-3))
    assert speed([few, other, idle, no_processor, strange], {BUNDLE: TOPOLOGY}, model) is None
    assert speed([], {}, model) is None


def test_a_hop_is_what_is_left_when_its_bytes_are_taken_off() -> None:
    # 1,152 bytes a row into the first and over the cut, 10 at the end.
    mean = (1152 + 1152 + 10) / 3
    assert hop_seconds(0.01, TOPOLOGY, (0, 2, 5), 8, 1e6) == pytest.approx(0.01 - mean * 8 / 1e6)
    assert hop_seconds(0.001, TOPOLOGY, (0, 2, 5), 8, 1e6) == 0.0
