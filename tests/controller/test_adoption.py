"""Rebuilding what runs from the boards' own words."""

import random

from convoy_controller.adoption import adopt, highest_counter
from convoy_controller.database.records import GenerationState
from convoy_controller.placement import Placement, StagePlacement
from convoy_schema.bundle import Method
from convoy_schema.messages.boards import Published
from convoy_schema.messages.desired import Assignment, Intent, Slot
from convoy_schema.messages.gateways import FeedReport, GatewayReported
from convoy_schema.names import Generation
from convoy_schema.topology import Kind


def placement(counter: int, *stages: tuple[str, ...], state: GenerationState = GenerationState.SERVING) -> Placement:
    slot = (Slot("west", Kind.CONV2D),)
    built = tuple(
        StagePlacement((f"l{n}",), boards, tuple(slot for _ in boards), (f"l{n}",)) for n, boards in enumerate(stages)
    )
    intent = Intent("d", "net", "1", Method.LIBRARY, 3)
    return Placement(Generation(1, counter), intent, "a" * 64, built, 32, 64, 0.0, state)


def held(*placements: Placement) -> dict[str, tuple[Assignment, ...]]:
    found: dict[str, tuple[Assignment, ...]] = {}
    for each in placements:
        for board, assignment in each.assignments().items():
            found[board] = (*found.get(board, ()), assignment)
    return found


def feeding(counter: int) -> GatewayReported:
    return GatewayReported(1, 1, 1, "http://g", (FeedReport("d", Generation(1, counter), (), ()),), Published())


def test_what_serves_is_adopted_as_it_is() -> None:
    original = placement(7, ("z", "a"), ("c", "b"), ("d",))  # not in the order of names
    (adopted,) = adopt(held(original), {"g": feeding(7)})
    assert adopted.assignments() == original.assignments()
    assert adopted.state is GenerationState.SERVING
    assert highest_counter(held(original)) == 7


def test_the_gateways_word_decides_between_two() -> None:
    old, new = placement(3, ("a",), ("b",)), placement(4, ("b",), ("a",), state=GenerationState.STAGED)
    (adopted,) = adopt(held(old, new), {"g": feeding(3)})
    assert adopted.generation.counter == 3
    states = {p.generation.counter: p.state for p in adopt(held(old, new), {"g": feeding(4)})}
    assert states == {3: GenerationState.DRAINING, 4: GenerationState.SERVING}


def test_without_a_gateway_the_newest_that_serves_is_taken() -> None:
    old = placement(3, ("a",), state=GenerationState.DRAINING)
    new = placement(4, ("a",))
    states = {p.generation.counter: p.state for p in adopt(held(old, new), {})}
    assert states == {3: GenerationState.DRAINING, 4: GenerationState.SERVING}


def test_a_generation_that_lacks_a_stage_is_not_adopted() -> None:
    words = held(placement(3, ("a",), ("b",), ("c",)))
    del words["b"]
    assert adopt(words, {"g": feeding(3)}) == ()


def test_what_was_only_staged_is_not_adopted() -> None:
    assert adopt(held(placement(3, ("a",), state=GenerationState.STAGED)), {}) == ()


def test_nothing_held_is_nothing_adopted() -> None:
    assert adopt({}, {"g": None}) == ()
    assert highest_counter({}) == 0


def test_the_order_of_words_does_not_matter() -> None:
    chance = random.Random(1)
    words = list(held(placement(3, ("a", "b"), ("c",)), placement(4, ("c",), ("a", "b"))).items())
    first = adopt(dict(words), {"g": feeding(4)})
    for _ in range(5):
        chance.shuffle(words)
        assert adopt(dict(words), {"g": feeding(4)}) == first
