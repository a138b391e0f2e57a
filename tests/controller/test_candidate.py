"""From a plan to boards: who can take part, in which order, with which modules, and when traffic must pause."""

from __future__ import annotations

from dataclasses import replace

import pytest
from convoy_controller import planner
from convoy_controller.candidate import PROCESSOR, candidate, must_pause, occupied, request_of, usable
from convoy_controller.database.records import GenerationState
from convoy_controller.errors import PlanError
from convoy_controller.placement import Placement
from convoy_controller.registry import Registry
from convoy_schema.bundle import Bundle, InputSpec, Method, VerifiedModel
from convoy_schema.messages.boards import BoardState, Capability, Partition, Presence, Reported
from convoy_schema.messages.desired import Cut, Intent
from convoy_schema.names import Generation
from convoy_schema.processors import ProcessorRate
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window

PARTITIONS = (Partition("west"), Partition("centre"), Partition("east"))
BOTH = ("layers", "partitions")


def network() -> Topology:
    tensors = tuple(Tensor(f"t{n}", (4, 8, 8), 0.1, 0) for n in range(5))
    same = Window((3, 3), padding=(1, 1, 1, 1))
    layers = tuple(
        Layer(f"l{n}", Kind.CONV2D if n % 2 == 0 else Kind.MAX_POOL, (f"t{n}",), f"t{n + 1}", same) for n in range(4)
    )
    return Topology("net", tensors, layers, "t0", "t4")


BUNDLE = Bundle("net", "1", 1, "0" * 64, (), 1, (), (), InputSpec("t0"), "t4", ())
MODEL = VerifiedModel("1" * 64, BUNDLE, network(), b"", b"")


def intent(method: Method = Method.LIBRARY, boards: int = 0, cut: Cut = Cut.PIPELINE) -> Intent:
    return Intent("shop", "net", "1", method, boards, cut=cut)


def join(
    registry: Registry,
    name: str,
    shells: tuple[str, ...] = BOTH,
    fabric: str = "emulated",
    partitions: tuple[Partition, ...] = PARTITIONS,
    memory: int = 2**28,
    *,
    online: bool = True,
    part: str = "part",
    processor: ProcessorRate | None = None,
) -> None:
    session = 1 + len(registry.boards)
    capability = Capability(
        session, part, fabric, shells, partitions, 100_000_000, memory, 64, "0", processor=processor
    )
    registry.capability(name, capability, not online, 0.0)
    if online:
        registry.board_state(name, BoardState(Presence.ONLINE, session), False, 0.0)


def fleet(*names: str) -> Registry:
    registry = Registry()
    for name in names:
        join(registry, name)
    return registry


def place(registry: Registry, wanted: Intent, *, live: tuple[Placement, ...] = (), counter: int = 1) -> Placement:
    names = usable(registry, wanted, (), ())
    return on(registry, wanted, names, live=live, counter=counter)


def on(
    registry: Registry,
    wanted: Intent,
    names: list[str],
    *,
    live: tuple[Placement, ...] = (),
    counter: int = 1,
    model: VerifiedModel = MODEL,
) -> Placement:
    topologies = {MODEL.digest: MODEL.topology}
    request = request_of(registry, wanted, model, names, live, topologies)
    return candidate(request).placed(Generation(1, counter), "nothing serves")


def test_boards_that_serve_come_first_and_the_rest_by_name() -> None:
    registry = fleet("d", "b", "a", "c")
    assert usable(registry, intent(), (), ()) == ["a", "b", "c", "d"]
    assert usable(registry, intent(), ("c", "a"), ("b",)) == ["c", "a", "d"]


def test_only_boards_that_are_there_described_and_able_take_part() -> None:
    registry = fleet("able")
    join(registry, "away", online=False)
    join(registry, "other-shell", ("fixed",))
    join(registry, "no-fabric", (), PROCESSOR, ())
    registry.board_state("silent", BoardState(Presence.ONLINE, 99), False, 0.0)
    assert usable(registry, intent(), (), ()) == ["able", "no-fabric"]
    registry.board_state("able", BoardState(Presence.OFFLINE, 1), False, 1.0)
    assert usable(registry, intent(), (), ()) == ["no-fabric"]


@pytest.mark.parametrize("boards", [1, 2, 3, 4])
def test_as_many_boards_as_are_asked_for(boards: int) -> None:
    made = place(fleet("a", "b", "c", "d", "e"), intent(boards=boards))
    assert made.boards == tuple("abcde"[:boards])
    assert [layer for stage in made.stages for layer in stage.layers] == ["l0", "l1", "l2", "l3"]
    assert (made.state, made.reason, made.bundle) == (GenerationState.STAGED, "nothing serves", MODEL.digest)


def test_a_pipeline_has_no_more_boards_than_layers_and_replicas_may_use_the_rest() -> None:
    registry = fleet("a", "b", "c", "d", "e", "f")
    assert len(place(registry, intent(boards=6)).boards) == 4
    assert len(place(registry, intent(boards=6, cut=Cut.REPLICATED)).boards) == 6


@pytest.mark.parametrize("cut", list(Cut))
def test_no_more_boards_share_a_stage_than_replicas_say(cut: Cut) -> None:
    registry = fleet("a", "b", "c", "d", "e", "f", "g", "h")
    made = place(registry, replace(intent(boards=8, cut=cut), replicas=2))
    assert [len(stage.boards) for stage in made.stages] == [2, 2, 2, 2]
    one = place(registry, replace(intent(boards=8, cut=cut), replicas=1))
    assert [len(stage.boards) for stage in one.stages] == [1, 1, 1, 1]


def test_only_a_board_with_partitions_gets_modules_and_only_for_the_library() -> None:
    registry = fleet("a")
    join(registry, "b", (), PROCESSOR, ())
    library = place(registry, intent(boards=2)).assignments()
    assert {slot.kind for slot in library["a"].slots} == {Kind.CONV2D, Kind.MAX_POOL}
    assert library["b"].slots == ()
    allocate = place(registry, intent(Method.ALLOCATE, 2)).assignments()
    assert all(assignment.slots == () for assignment in allocate.values())


def test_layers_that_a_boards_processor_runs_cheaper_go_there_and_get_no_module() -> None:
    registry = Registry()
    quick = ProcessorRate(1e9, 1e9)
    # With one partition every batch would load two modules, of 4.1 ms each.
    join(registry, "a", partitions=PARTITIONS[:1], processor=quick)
    (stage,) = (made := place(registry, intent(boards=1))).stages
    assert stage.processor in (("l0", "l2"), ("l1", "l3"), ("l0", "l1", "l2", "l3"))
    told = made.assignments()["a"]
    assert told.processor == stage.processor
    on_fabric = {layer.kind for layer in network().layers if layer.name not in stage.processor}
    assert {slot.kind for slot in told.slots} == on_fabric
    join(registry, "a", partitions=PARTITIONS[:1], processor=ProcessorRate(1e3, 1e3))
    assert place(registry, intent(boards=1)).assignments()["a"].processor == ()


def test_modules_of_what_is_live_are_shared_and_never_replaced() -> None:
    registry = fleet("a")
    first = place(registry, intent())
    second = place(registry, intent(), live=(first,), counter=2)
    assert second.assignments()["a"].slots == first.assignments()["a"].slots


def test_what_no_board_can_hold_is_a_plan_error_with_need_and_have() -> None:
    registry = Registry()
    join(registry, "tiny", memory=100)
    with pytest.raises(PlanError, match="has 100") as error:
        place(registry, intent())
    assert error.value.data["have"] == 100


@pytest.mark.parametrize(
    ("before", "after", "fabric", "pause"),
    [
        (Method.LIBRARY, Method.ALLOCATE, "emulated", True),
        (Method.LIBRARY, Method.LIBRARY, "emulated", False),
        (Method.LIBRARY, Method.ALLOCATE, PROCESSOR, False),
    ],
)
def test_two_shells_cannot_share_a_fabric(before: Method, after: Method, fabric: str, pause: bool) -> None:
    registry = Registry()
    join(registry, "a", BOTH if fabric == "emulated" else (), fabric)
    old, new = place(registry, intent(before)), place(registry, intent(after), counter=2)
    assert must_pause(registry, old, new) is pause


def test_other_boards_need_no_pause() -> None:
    registry = fleet("a", "b")
    old = on(registry, intent(), ["a"])
    new = on(registry, intent(Method.ALLOCATE), ["b"])
    assert not must_pause(registry, old, new)


def test_a_board_keeps_the_layers_it_has() -> None:
    registry = fleet("a", "b")
    first = place(registry, intent(boards=2))
    swapped = replace(first, stages=tuple(replace(s, boards=(b,)) for s, b in zip(first.stages, "ba", strict=True)))
    for name, assignment in swapped.assignments().items():
        session = registry.board(name).session
        reported = Reported(session, 1, 1, "layers", (), (), 0, 0, held=(assignment,))
        registry.board(name).reported = reported
    assert place(registry, intent(boards=2), counter=2).boards == ("b", "a")


def test_a_board_too_small_for_any_layer_is_left_out_of_the_plan_for_the_others() -> None:
    registry = fleet("a", "c")
    join(registry, "b", memory=2000)
    made = place(registry, intent(Method.ALLOCATE, 3))
    assert "b" not in made.boards
    assert set(made.boards) == {"a", "c"}


def test_what_no_kernel_of_the_shell_takes_is_refused_with_need_and_have() -> None:
    registry = Registry()
    join(registry, "a", part="xc7z020")
    wide = replace(network(), tensors=tuple(replace(t, shape=(4, 1, 8000)) for t in network().tensors))
    with pytest.raises(PlanError, match=r"layer l0 cannot run on board a: it needs 8000 elements in a row"):
        on(registry, intent(), ["a"], model=replace(MODEL, topology=wide))


# Beside other deployments --------------------------------------------------------------------------------------------


def other(name: str, placement: Placement) -> Placement:
    """The same for a deployment of another name."""
    return replace(placement, intent=replace(placement.intent, deployment=name))


def test_a_free_board_is_preferred_to_one_that_must_be_shared() -> None:
    registry = fleet("a", "b")
    first = other("first", on(registry, intent(), ["a"]))
    assert place(registry, intent(boards=1), live=(first,), counter=2).boards == ("b",)
    # Both are asked for: the free one gets more of the work than the one that has half its time left.
    shared = place(registry, intent(boards=2), live=(first,), counter=2)
    assert {stage.boards[0]: len(stage.layers) for stage in shared.stages} == {"a": 1, "b": 3}


def test_modules_of_others_are_used_when_they_are_of_the_kind_and_left_alone_when_not() -> None:
    registry = Registry()
    join(registry, "a", partitions=PARTITIONS[:2])
    pools = replace(
        MODEL,
        digest="2" * 64,
        topology=replace(network(), layers=tuple(replace(layer, kind=Kind.MAX_POOL) for layer in network().layers)),
    )
    first = other("first", on(registry, intent(), ["a"], model=pools))
    (slot,) = first.assignments()["a"].slots
    second = on(registry, intent(), ["a"], live=(first,), counter=2)
    slots = {each.kind: each.partition for each in second.assignments()["a"].slots}
    assert slots[Kind.MAX_POOL] == slot.partition
    assert slots[Kind.CONV2D] != slot.partition


def test_a_stage_that_takes_turns_with_others_is_planned_slower_than_beside_a_free_partition() -> None:
    def period(partitions: int) -> float:
        registry = Registry()
        join(registry, "a", partitions=PARTITIONS[:partitions])
        convs = replace(network(), layers=tuple(replace(each, kind=Kind.CONV2D) for each in network().layers))
        first = other("first", on(registry, intent(), ["a"], model=replace(MODEL, topology=convs)))
        pools = replace(network(), layers=tuple(replace(each, kind=Kind.MAX_POOL) for each in network().layers))
        second = on(registry, intent(), ["a"], live=(first,), model=replace(MODEL, topology=pools))
        return second.period_s

    swap_s = 2 * planner.SWAP_S / 32  # half of the board's time is left
    assert period(1) == pytest.approx(period(2) + swap_s, rel=1e-6)


@pytest.mark.parametrize("method", [Method.LIBRARY, Method.ALLOCATE])
def test_a_refusal_says_what_others_hold(method: Method) -> None:
    registry = Registry()
    need = planner.whole_bytes(network(), planner.BoardModel(1e8, 2**28, None))
    join(registry, "a", memory=need + 10)
    first = other("first", place(registry, intent(method)))
    with pytest.raises(PlanError, match=rf"on board a that has 10 left \({need} of {need + 10} bytes .*held for first"):
        place(registry, intent(method), live=(first,), counter=2)


def test_replicas_of_a_whole_network_go_where_there_is_room_and_a_refusal_names_board_and_holder() -> None:
    registry = Registry()
    need = planner.whole_bytes(network(), planner.BoardModel(1e8, 2**28, None))
    for name in ("a", "b"):
        join(registry, name, ("fixed",), memory=need + 10)
    first = other("first", on(registry, intent(Method.STREAM), ["a"]))
    assert place(registry, intent(Method.STREAM), live=(first,), counter=2).boards == ("b",)
    with pytest.raises(PlanError, match=r"on a that has 10 left .*held for first"):
        on(registry, intent(Method.STREAM), ["a"], live=(first,), counter=2)


def test_boards_on_another_shell_for_others_are_named() -> None:
    registry = fleet("a", "b")
    join(registry, "c", (), PROCESSOR, ())
    first = other("first", on(registry, intent(boards=3), ["a", "b", "c"]))
    found = occupied(registry, intent(Method.ALLOCATE), [first])
    assert found == {name: f"board {name} holds shell partitions for first" for name in ("a", "b")}
    assert occupied(registry, intent(), [first]) == {}
    assert occupied(registry, first.intent, [first]) == {}
