"""What others hold of a board, and what that leaves: memory, partitions, modules and time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from convoy_controller import planner
from convoy_controller.database.records import GenerationState
from convoy_controller.holdings import Holding, Tenant, holdings, left
from convoy_controller.placement import Placement, StagePlacement
from convoy_schema.bundle import Method
from convoy_schema.messages.boards import Capability, Partition
from convoy_schema.messages.desired import Intent, Slot
from convoy_schema.names import Generation
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window

BOARD = Capability(
    1, "part", "emulated", ("partitions",), (Partition("p0"), Partition("p1"), Partition("p2")), 10**8, 2**20, 8, "0"
)


def network() -> Topology:
    tensors = tuple(Tensor(f"t{n}", (4, 8, 8), 0.1, 0) for n in range(4))
    window = Window((3, 3), padding=(1, 1, 1, 1))
    layers = tuple(Layer(f"l{n}", Kind.CONV2D, (f"t{n}",), f"t{n + 1}", window) for n in range(3))
    return Topology("net", tensors, layers, "t0", "t3")


def placement(deployment: str, period_s: float, counter: int = 1, boards: tuple[str, ...] = ("a",)) -> Placement:
    stage = StagePlacement(("l1", "l2"), boards, tuple((Slot("p0", Kind.CONV2D),) for _ in boards))
    intent = Intent(deployment, "net", "1", Method.LIBRARY)
    return Placement(Generation(1, counter), intent, "b" * 64, (stage,), 4, 8, period_s, GenerationState.SERVING)


def test_memory_and_time_are_those_of_the_stage() -> None:
    topology = network()
    size, seconds = planner.stage_needs(topology, 1, 3, planner.model_of(BOARD, Method.LIBRARY), 4, 8)
    held = holdings([placement("x", 4 * seconds)], {"a": BOARD}, {"b" * 64: topology})["a"]
    parameters = sum(planner.parameter_bytes(topology)[1:])
    assert held.memory_bytes == size > parameters + 8 * 4 * 256, "8 frames of 4 samples of 256 bytes wait before it"
    assert held.share == pytest.approx(0.75)
    # Replicas take turns, so each has half of the work.
    shared = holdings([placement("x", 4 * seconds, boards=("a", "c"))], {"a": BOARD}, {"b" * 64: topology})
    assert shared["a"].share == pytest.approx(0.875)
    assert "c" not in shared, "nothing is known of it"


def test_whoever_is_busy_all_the_time_leaves_a_fair_part() -> None:
    def tenant(name: str, load: float) -> Tenant:
        return Tenant(name, (), 0, load)

    assert Holding((tenant("x", 1.0),)).share == 0.5
    assert Holding((tenant("x", 1.0), tenant("y", 0.9))).share == pytest.approx(1 / 3)
    assert Holding((tenant("x", 0.2), tenant("y", 0.1))).share == pytest.approx(0.7)
    # Two generations of one deployment: one of them is fed.
    assert Holding((tenant("x", 0.2), tenant("x", 0.3))).share == pytest.approx(0.7)


def test_of_an_unknown_network_only_modules_are_known_and_it_counts_as_busy() -> None:
    held = holdings([placement("x", 1.0)], {"a": BOARD}, {})["a"]
    assert (held.memory_bytes, held.taken, held.share) == (0, {"p0": Kind.CONV2D}, 0.5)


@pytest.mark.parametrize("layers", [(), ("x",), ("l1", "x"), ("l2", "l1"), ("l2", "l3", "l4")])
def test_layers_that_a_board_made_up_are_no_stage_and_end_nothing(layers: tuple[str, ...]) -> None:
    odd = placement("x", 1.0)
    odd = replace(odd, stages=(replace(odd.stages[0], layers=layers),))
    held = holdings([odd], {"a": BOARD}, {"b" * 64: network()})["a"]
    assert (held.memory_bytes, held.share) == (0, 0.5)


def test_a_board_that_holds_nothing_is_as_it_is() -> None:
    assert left(BOARD, Method.LIBRARY, Holding(), {Kind.DENSE}) == planner.model_of(BOARD, Method.LIBRARY)


def test_taken_partitions_are_not_free_and_modules_of_a_needed_kind_stay_usable() -> None:
    slots = (Slot("p0", Kind.CONV2D), Slot("p1", Kind.ADD))
    held = Holding((Tenant("x", slots, 1000, 0.5),))
    model = left(BOARD, Method.LIBRARY, held, {Kind.CONV2D, Kind.DENSE})
    assert (model.partitions, model.resident, model.memory_bytes) == (1, {Kind.CONV2D}, 2**20 - 1000)
    assert model.held == f"1000 of {2**20} bytes and 2 partitions held for x"
    fixed = left(BOARD, Method.ALLOCATE, held, {Kind.CONV2D})
    assert (fixed.partitions, fixed.resident, fixed.share) == (None, frozenset(), 0.5)
