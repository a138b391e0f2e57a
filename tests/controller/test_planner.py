"""Plans against brute force, their bounds, and what a refusal says."""

import itertools
import math

import pytest
from convoy_controller import planner
from convoy_controller.errors import PlanError
from convoy_controller.planner import BoardModel, plan, swaps_per_batch
from convoy_schema.messages.desired import Cut, Objective
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window
from hypothesis import given, settings
from hypothesis import strategies as st

BOARD = BoardModel(clock_hz=100e6, memory_bytes=512 * 2**20, partitions=None)


def chain(channels: list[int], extent: int = 8) -> Topology:
    """3x3 convolutions over `extent` x `extent`, with that many channels before, between and after them."""
    tensors = tuple(Tensor(f"t{i}", (c, extent, extent), 0.1, 0) for i, c in enumerate(channels))
    window = Window((3, 3), padding=(1, 1, 1, 1))
    layers = tuple(Layer(f"conv{i}", Kind.CONV2D, (f"t{i}",), f"t{i + 1}", window) for i in range(len(channels) - 1))
    return Topology("chain", tensors, layers, "t0", f"t{len(channels) - 1}")


def brute_force(topology: Topology, boards: int, replicate: bool) -> float:
    """The least period over every cut and every share of the boards."""
    length = len(topology.layers)
    costs = planner._Chain(topology, BOARD, planner.batch_rows(topology, 32))
    best = math.inf
    for stages in range(1, min(boards, length) + 1):
        for cuts in itertools.combinations(range(1, length), stages - 1):
            ends = (0, *cuts, length)
            shares = itertools.product(range(1, boards + 1 if replicate else 2), repeat=stages)
            for share in (s for s in shares if sum(s) <= boards):
                times = [costs.stage_s(a, b) / n for a, b, n in zip(ends, ends[1:], share, strict=False)]
                links = [costs.link_s(cut) for cut in cuts]
                best = min(best, max([*times, *links]))
    return best


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 24), min_size=2, max_size=7), st.integers(1, 5), st.booleans())
def test_a_plan_is_as_good_as_the_best_of_all(channels: list[int], boards: int, replicate: bool) -> None:
    topology = chain(channels)
    cut = Cut.REPLICATED if replicate else Cut.PIPELINE
    found = plan(topology, boards, BOARD, cut=cut)
    # A board more is only used for a percent or more.
    assert found.period_s <= brute_force(topology, boards, replicate) * 1.0101**boards
    assert found.boards <= boards
    assert [stage.first for stage in found.stages[1:]] == [stage.last for stage in found.stages[:-1]]
    assert (found.stages[0].first, found.stages[-1].last) == (0, len(topology.layers))
    assert found.period_s >= found.bound_s * 0.999


@given(st.lists(st.integers(1, 24), min_size=2, max_size=7), st.integers(1, 9))
def test_exactly_uses_every_board_that_can_have_a_layer(channels: list[int], boards: int) -> None:
    topology = chain(channels)
    found = plan(topology, boards, BOARD, exactly=True)
    assert found.boards == min(boards, len(topology.layers))


def test_latency_takes_one_board() -> None:
    assert plan(chain([8, 8, 8]), 3, BOARD, objective=Objective.LATENCY).boards == 1


def test_a_network_too_large_for_a_board_is_cut_and_too_large_for_all_is_refused_with_need_and_have() -> None:
    topology = chain([64, 64, 64, 64])
    whole = planner._Chain(topology, BOARD, 1).memory(0, 3)
    small = BoardModel(100e6, whole // 2, None, queue_frames=1)
    assert len(plan(topology, 3, small, batch=1).stages) > 1
    with pytest.raises(PlanError) as refusal:
        plan(topology, 3, BoardModel(100e6, 1000, None, queue_frames=1), batch=1)
    assert refusal.value.data["need"] > refusal.value.data["have"]
    assert "1000" in str(refusal.value)


def test_no_board_is_a_plan_error() -> None:
    with pytest.raises(PlanError, match="at least one"):
        plan(chain([1, 1]), 0, BOARD)


def test_the_batch_is_bounded_by_the_largest_cut() -> None:
    assert planner.batch_rows(chain([1, 200], 32), 32) == (256 - 2) * 1024 // (200 * 32 * 32)
    with pytest.raises(PlanError, match="frame bound"):
        planner.batch_rows(chain([1, 300], 32), 32)


def test_swaps_are_counted_only_when_kinds_outnumber_partitions() -> None:
    kinds = [Kind.CONV2D, Kind.MAX_POOL, Kind.CONV2D, Kind.MAX_POOL, Kind.DENSE]
    assert swaps_per_batch(kinds, None) == 0
    assert swaps_per_batch(kinds, 3) == 0
    assert swaps_per_batch(kinds, 1) == 5
    assert 1 <= swaps_per_batch(kinds, 2) <= 3


def test_the_whole_network_on_every_board_or_a_refusal_that_says_what_else_there_is() -> None:
    topology = chain([8, 8, 8])
    found = planner.whole(topology, 3, BOARD)
    (stage,) = found.stages
    assert (stage.first, stage.last, stage.replicas) == (0, 2, 3)
    assert found.period_s == pytest.approx(stage.seconds / 3)
    with pytest.raises(PlanError, match="allocate, library") as refusal:
        planner.whole(topology, 3, BoardModel(100e6, 100, None, queue_frames=1), batch=1)
    assert refusal.value.data["need"] > refusal.value.data["have"]
    with pytest.raises(PlanError, match="at least one"):
        planner.whole(topology, 0, BOARD)
