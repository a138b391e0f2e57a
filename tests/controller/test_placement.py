"""Generations on named boards: what each board and gateway is told, where modules go, and that saving loses nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from convoy_controller.database.records import GenerationState, SavedGeneration
from convoy_controller.errors import ControllerError
from convoy_controller.placement import Placement, StagePlacement, place_modules, restored, saved
from convoy_schema.bundle import Method
from convoy_schema.messages.boards import Partition
from convoy_schema.messages.desired import Intent, Role, Slot
from convoy_schema.names import Generation
from convoy_schema.topology import Kind
from hypothesis import given
from hypothesis import strategies as st

BUNDLE = "ab" * 32
INTENT = Intent("shop", "net", "1", Method.LIBRARY, 3)


def placement(
    *boards: tuple[str, ...], state: GenerationState = GenerationState.SERVING, queue_frames: int = 64
) -> Placement:
    stages = tuple(
        StagePlacement(
            (f"layer-{number}", f"head-{number}"),
            names,
            tuple((Slot("west", Kind.CONV2D),) for _ in names),
            (f"head-{number}",),
        )
        for number, names in enumerate(boards)
    )
    return Placement(Generation(2, 5), INTENT, BUNDLE, stages, 8, queue_frames, 0.25, state, "asked for", 0.2)


def test_each_stage_knows_its_neighbours() -> None:
    told = placement(("a",), ("b", "c"), ("d",)).assignments()
    assert list(told) == ["a", "b", "c", "d"]
    assert [told[board].stage for board in "abcd"] == [0, 1, 1, 2]
    assert {assignment.stages for assignment in told.values()} == {3}
    assert [tuple(hop.board for hop in told[board].next) for board in "abcd"] == [("b", "c"), ("d",), ("d",), ()]
    assert [told[board].previous for board in "abcd"] == [(), ("a",), ("a",), ("b", "c")]
    assert told["b"].slots == (Slot("west", Kind.CONV2D),)
    assert told["b"].processor == ("head-1",)


@pytest.mark.parametrize(
    ("state", "role"),
    [
        (GenerationState.QUEUED, Role.STAGED),
        (GenerationState.STAGED, Role.STAGED),
        (GenerationState.PROBING, Role.STAGED),
        (GenerationState.SERVING, Role.SERVING),
        (GenerationState.DRAINING, Role.DRAINING),
        (GenerationState.RETIRED, Role.DRAINING),
        (GenerationState.ABANDONED, Role.DRAINING),
    ],
)
def test_a_state_is_a_role(state: GenerationState, role: Role) -> None:
    assert {a.role for a in placement(("a",), ("b",), state=state).assignments().values()} == {role}


@given(st.integers(1, 4096), st.integers(0, 200))
def test_gateways_share_the_queue_and_each_may_send_something(queue_frames: int, gateways: int) -> None:
    route = placement(("a", "b"), ("c",), queue_frames=queue_frames).route(gateways)
    assert [hop.board for hop in route.entry] == ["a", "b"]
    assert route.stages == 2
    assert route.window >= 1
    if gateways <= queue_frames:
        assert route.window * max(1, gateways) <= queue_frames


@given(
    st.lists(st.lists(st.text("abcdefgh", min_size=3, max_size=6), min_size=1, max_size=3), min_size=1, max_size=5),
    st.sampled_from(list(GenerationState)),
)
def test_what_was_saved_is_restored(names: list[list[str]], state: GenerationState) -> None:
    numbered = [tuple(sorted(f"{name}-{stage}-{n}" for n, name in enumerate(row))) for stage, row in enumerate(names)]
    made = placement(*numbered, state=state)
    kept = saved(made)
    assert (kept.deployment, kept.generation, kept.state) == ("shop", made.generation, state)
    assert restored(kept) == made


def test_a_generation_without_a_stage_cannot_be_restored() -> None:
    kept = saved(placement(("a",), ("b",)))
    with pytest.raises(ControllerError, match="without a stage"):
        restored(replace(kept, assignments={}))
    with pytest.raises(ControllerError, match="lacks stage 1"):
        restored(replace(kept, assignments={"a": kept.assignments["a"]}))
    assert isinstance(kept, SavedGeneration)


KINDS = st.sampled_from(list(Kind))
PARTITIONS = st.lists(
    st.builds(Partition, st.sampled_from(["north", "west", "centre", "east"]), st.lists(KINDS, max_size=4).map(tuple)),
    max_size=4,
    unique_by=lambda partition: partition.name,
)
TAKEN = st.dictionaries(st.sampled_from(["north", "west", "centre", "east"]), KINDS, max_size=4)


@given(st.lists(KINDS, max_size=8), PARTITIONS, TAKEN)
def test_modules_go_where_they_can_and_never_over_anothers(
    kinds: list[Kind], partitions: list[Partition], taken: dict[str, Kind]
) -> None:
    slots = place_modules(kinds, partitions, dict(taken))
    accepts = {partition.name: partition.kinds for partition in partitions}
    assert len({slot.partition for slot in slots}) == len(slots)
    assert [slot.kind for slot in slots] == [kind for kind in dict.fromkeys(kinds) if kind in {s.kind for s in slots}]
    own = [slot for slot in slots if slot.partition not in taken or taken[slot.partition] is slot.kind]
    for slot in own:
        assert slot.partition in taken or not accepts[slot.partition] or slot.kind in accepts[slot.partition]
    if own:
        assert list(slots) == own, "another generation's module is shared, never replaced, while there is another place"
        for kind in set(kinds) - {slot.kind for slot in slots}:
            held = set(taken) | {slot.partition for slot in slots}
            assert all(p.name in held or (p.kinds and kind not in p.kinds) for p in partitions), "a free one was left"
    else:
        # Every place is another's: it is shared over time, unless nobody could ever hold what is needed.
        assert slots == place_modules(kinds, partitions, {})


def test_a_stage_without_a_place_of_its_own_shares_those_of_others() -> None:
    partitions = [Partition("west"), Partition("centre")]
    full = {"west": Kind.CONV2D, "centre": Kind.MAX_POOL}
    assert place_modules([Kind.DENSE], partitions, full) == (Slot("west", Kind.DENSE),)
    many = [Kind.DENSE, Kind.ADD, Kind.CONCAT]
    assert place_modules(many, partitions, full) == (Slot("west", Kind.DENSE), Slot("centre", Kind.ADD))
    assert place_modules([Kind.DENSE, Kind.CONV2D], partitions, full) == (Slot("west", Kind.CONV2D),)


def test_a_module_that_is_there_is_shared() -> None:
    partitions = [Partition("west"), Partition("centre")]
    slots = place_modules([Kind.DENSE, Kind.CONV2D, Kind.MAX_POOL], partitions, {"centre": Kind.DENSE})
    assert slots == (Slot("centre", Kind.DENSE), Slot("west", Kind.CONV2D))
