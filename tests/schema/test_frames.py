"""Which replica a batch goes to: by weight, exactly, and the same for everyone who asks."""

from __future__ import annotations

from collections import Counter

import pytest
from convoy_schema import codec
from convoy_schema.frames import FRAME_OVERHEAD, MAX_FRAME, Frame, TensorData, choose
from convoy_schema.messages.desired import Hop
from convoy_schema.names import Generation
from hypothesis import given
from hypothesis import strategies as st

weights = st.lists(st.integers(1, 1000), min_size=1, max_size=8)
counts = st.integers(0, 2**63 - 1)


def hops_of(given_weights: list[int]) -> tuple[Hop, ...]:
    return tuple(Hop(f"board-{index}", weight) for index, weight in enumerate(given_weights))


@given(weights, counts, counts)
def test_weights_are_honoured_exactly_over_any_full_cycle(given_weights: list[int], session: int, start: int) -> None:
    hops, total = hops_of(given_weights), sum(given_weights)
    chosen = Counter(choose((session, number), hops).board for number in range(start, start + total))
    assert chosen == {hop.board: hop.weight for hop in hops}


@given(weights, counts, counts, counts)
def test_the_choice_is_a_pure_function_of_counter_and_weights(
    given_weights: list[int], session: int, other: int, number: int
) -> None:
    first = choose((session, number), hops_of(given_weights))
    assert choose((session, number), hops_of(list(given_weights))) == first
    # Batches of two gateways take their turns alike: neither has to know the other.
    assert choose((other, number), hops_of(given_weights)) == first


@given(weights, counts)
def test_branches_of_a_batch_meet_whatever_the_boards_are_called(given_weights: list[int], number: int) -> None:
    hops = hops_of(given_weights)
    renamed = tuple(Hop(f"other-{index}", hop.weight) for index, hop in enumerate(hops))
    assert renamed.index(choose((1, number), renamed)) == hops.index(choose((1, number), hops))


@pytest.mark.parametrize("number", [0, 1, 7, 2**63 - 1])
def test_a_single_replica_takes_everything(number: int) -> None:
    assert choose((0, number), (Hop("only", 7),)).board == "only"


def test_equal_weights_take_turns() -> None:
    hops = hops_of([1, 1, 1])
    assert [choose((0, number), hops).board[-1] for number in range(6)] == list("012012")


@given(st.lists(counts, max_size=32), st.lists(counts, max_size=16))
def test_the_overhead_leaves_room_for_everything_beside_the_tensors(requests: list[int], residence: list[int]) -> None:
    """What the planner takes for granted when it says that a cut fits into a frame: here 32 requests over 16 stages."""
    name = "é" * 200
    empty = Frame(
        "d" * 63,
        Generation(2**63 - 1, 2**63 - 1),
        2048,
        "g" * 63,
        (2**63 - 1, 2**63 - 1),
        tuple(requests),
        3.6e6,
        (TensorData(name, (65536, 65536, 65536, 65536), b""),),
        tuple(residence),
    )
    assert len(codec.encode(empty)) + 5 <= FRAME_OVERHEAD
    full = TensorData(name, (1,), bytes(MAX_FRAME - FRAME_OVERHEAD))
    assert len(codec.encode(Frame(**{**vars(empty), "tensors": (full,)}))) <= MAX_FRAME
