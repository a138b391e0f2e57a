import itertools
from collections.abc import Sequence

import pytest
from convoy_device.effects import ModuleLoad
from convoy_device.errors import FabricError
from convoy_device.fabric import Fabric
from convoy_device.modules import Modules
from convoy_device.placement import held, module_loads
from convoy_schema.messages.boards import PartitionReport
from convoy_schema.topology import Kind
from hypothesis import given, settings
from hypothesis import strategies as st

KINDS = (Kind.CONV2D, Kind.MAX_POOL, Kind.DENSE, Kind.ADD)


class Slots:
    """Partitions as `Modules` sees them: what is loaded, and how often."""

    def __init__(self, names: Sequence[str]) -> None:
        self.held: dict[str, PartitionReport] = {name: PartitionReport(name, None, False) for name in names}
        self.loads = 0
        self.ran: list[Kind] = []

    def partitions(self) -> tuple[PartitionReport, ...]:
        return tuple(self.held.values())

    def configure(self, partition: str, kind: Kind, image: bytes) -> None:
        assert image == f"{partition} {kind.value}".encode()
        self.held[partition] = PartitionReport(partition, kind, True)
        self.loads += 1

    def runs(self, kind: Kind) -> bool:
        return any(report.module is kind for report in self.held.values())

    def run(self, layer: object, inputs: object) -> object:
        kind = layer.kind  # type: ignore[attr-defined]
        assert self.runs(kind)
        self.ran.append(kind)
        return inputs


class Layer:
    def __init__(self, kind: Kind) -> None:
        self.kind = kind


def modules_on(slots: Slots) -> Modules:
    fabric: Fabric = slots  # type: ignore[assignment]
    return Modules(fabric, lambda partition, digest: digest.encode())


def images_of(names: Sequence[str], kinds: Sequence[Kind]) -> dict[tuple[str, Kind], str]:
    return {(name, kind): f"{name} {kind.value}" for name in names for kind in kinds}


def run_rounds(modules: Modules, stage: Sequence[Kind], images: dict[tuple[str, Kind], str], rounds: int) -> None:
    for _ in range(rounds):
        for index, kind in enumerate(stage):
            upcoming = tuple(stage[(index + 1 + ahead) % len(stage)] for ahead in range(len(stage)))
            modules.run(Layer(kind), [], images, upcoming)  # type: ignore[arg-type]


def fewest(stage: Sequence[Kind], places: int, rounds: int) -> int:
    """Fewest loads that any choice of victims needs, by trying them all."""
    states: dict[frozenset[Kind], int] = {frozenset(): 0}
    for kind in list(stage) * rounds:
        after: dict[frozenset[Kind], int] = {}
        for there, loads in states.items():
            if kind in there:
                choices = [(there, loads)]
            elif len(there) < places:
                choices = [(there | {kind}, loads + 1)]
            else:
                choices = [((there - {victim}) | {kind}, loads + 1) for victim in there]
            for state, cost in choices:
                after[state] = min(cost, after.get(state, cost))
        states = after
    return min(states.values())


@settings(max_examples=80)
@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6), st.integers(1, 3), st.integers(1, 4))
def test_every_layer_runs_and_nothing_swaps_less(stage: list[Kind], places: int, rounds: int) -> None:
    names = [f"p-{index}" for index in range(places)]
    slots = Slots(names)
    modules = modules_on(slots)
    run_rounds(modules, stage, images_of(names, KINDS), rounds)
    assert slots.ran == stage * rounds
    assert slots.loads == modules.swaps
    # In hindsight the last round could leave a module be that an endless future would not.
    assert fewest(stage, places, rounds) <= slots.loads <= fewest(stage, places, rounds + 1)


def test_what_another_stage_uses_goes_last() -> None:
    slots = Slots(("west", "east"))
    modules = modules_on(slots)
    slots.configure("west", Kind.CONV2D, b"west conv2d")
    slots.configure("east", Kind.MAX_POOL, b"east max-pool")
    modules.use("other", (Kind.CONV2D,))
    modules.run(Layer(Kind.DENSE), [], images_of(("west", "east"), KINDS), (Kind.DENSE,))  # type: ignore[arg-type]
    assert {name: report.module for name, report in slots.held.items()} == {"west": Kind.CONV2D, "east": Kind.DENSE}
    modules.release("other")
    run_rounds(modules, (Kind.ADD, Kind.DENSE), images_of(("west", "east"), KINDS), 1)
    assert {name: report.module for name, report in slots.held.items()} == {"west": Kind.ADD, "east": Kind.DENSE}


def test_a_degraded_partition_is_the_last_resort() -> None:
    slots = Slots(("west", "east"))
    modules = modules_on(slots)
    slots.held["west"] = PartitionReport("west", None, False, degraded=True)
    slots.configure("east", Kind.CONV2D, b"east conv2d")
    modules.run(Layer(Kind.DENSE), [], images_of(("west", "east"), KINDS), (Kind.CONV2D,))  # type: ignore[arg-type]
    assert slots.held["east"].module is Kind.DENSE


def test_a_kind_without_an_image_for_any_partition_is_an_error() -> None:
    modules = modules_on(Slots(("west",)))
    with pytest.raises(FabricError, match="no partition may hold module dense"):
        modules.run(Layer(Kind.DENSE), [], images_of(("north",), KINDS), ())  # type: ignore[arg-type]


def test_shells_without_partitions_never_swap() -> None:
    slots = Slots(())
    modules = modules_on(slots)
    with pytest.raises(AssertionError):
        modules.run(Layer(Kind.DENSE), [], {}, ())  # type: ignore[arg-type]
    assert slots.loads == 0


class Plan:
    """As much of a `StagePlan` as placement looks at."""

    def __init__(self, *slots: tuple[str, Kind]) -> None:
        self.assignment = self
        self.slots = tuple(Slot(*slot) for slot in slots)
        self.images = {slot: f"{slot[0]} {slot[1].value}" for slot in slots}


class Slot:
    def __init__(self, partition: str, kind: Kind) -> None:
        self.partition, self.kind = partition, kind


@given(st.data())
def test_placement_fills_every_slot_that_nobody_holds(data: st.DataObject) -> None:
    names = ("west", "centre", "east")
    loaded = st.sampled_from((None, *KINDS))
    reports = tuple(
        PartitionReport(name, data.draw(loaded), data.draw(st.booleans()), data.draw(st.booleans())) for name in names
    )
    slots = [(name, data.draw(st.sampled_from(KINDS))) for name in names if data.draw(st.booleans())]
    live = [(name, data.draw(st.sampled_from(KINDS))) for name in names if data.draw(st.booleans())]
    taken = held([Plan(*live)], reports)  # type: ignore[list-item]
    loads = module_loads(Plan(*slots), reports, taken)  # type: ignore[arg-type]
    by_name = {report.partition: report for report in reports}
    assert all(by_name[name].module is kind for name, kind in live if name in taken)
    for name, kind in itertools.chain(slots):
        report = by_name[name]
        is_there = report.module is kind and report.coupled and not report.degraded
        expected = name not in taken and not is_there
        assert (ModuleLoad(name, kind, f"{name} {kind.value}") in loads) is expected
    assert {load.partition for load in loads} <= {name for name, _ in slots}
