import random
from collections.abc import Sequence
from dataclasses import replace

import board_models as models
import numpy as np
import pytest
from convoy_device.fabric import Runnable
from convoy_device.fabric.processor import ProcessorFabric
from convoy_device.modules import Modules
from convoy_device.stage import Array, Stage
from convoy_device.verification import plan_stage
from convoy_schema import codec
from convoy_schema.frames import Frame, TensorData, choose
from convoy_schema.layers import load, prepare
from convoy_schema.messages.desired import Assignment, Hop
from convoy_schema.names import Generation
from convoy_schema.topics import FrameTopic, Topics
from convoy_schema.topology import Kind
from hypothesis import given, settings
from hypothesis import strategies as st

TOPICS = Topics("main")
FABRIC = ProcessorFabric()


def no_image(digest: str) -> bytes:
    raise AssertionError("nothing is swapped on a processor")


MODULES = Modules(FABRIC, no_image)


def make_stage(model: models.Model, assignment: Assignment, most_queued: int = 4096) -> Stage:
    plan = plan_stage(assignment, model.verified, FABRIC.facts)
    chosen = model.topology.layers[plan.start : plan.end]
    layers = [prepare(layer, model.topology, load(layer, model.blobs)) for layer in chosen]
    return Stage(plan, layers, "board-x", TOPICS, most_queued)


def through(stage: Stage, now: float) -> tuple[str, Frame]:
    """Compute the next frame; what leaves, and for where."""
    job = stage.next(now)
    assert job is not None
    tensors = stage.compute(job, lambda layer, inputs, upcoming: MODULES.run(layer, inputs, {}, upcoming))
    topic, payload = stage.outgoing(job, tensors, now)
    stage.computed(job, 0.001, now)
    return topic, codec.decode(Frame, payload)


@pytest.mark.parametrize("model", [models.digits(images=False), models.residual(), models.copies(4, images=False)])
def test_any_cut_gives_what_one_board_gives(model: models.Model) -> None:
    layers = model.topology.layers
    topology = model.topology
    for cut in range(1, len(layers)):
        boards = ("a", "b")
        first, second = (make_stage(model, a) for a in models.place(model, (cut,), boards))
        assignments = models.place(model, (cut,), boards)
        start = models.frame(assignments[0], {topology.input: model.values[topology.input]})
        assert first.accept(models.address(assignments[0], "a"), start, 0.0) == ""
        topic, middle = through(first, 0.0)
        assert topic == "convoy/1/main/from/board-x/to/b/demo/1-1/1"
        assert {tensor.name for tensor in middle.tensors} == set(topology.crossing(cut))
        assert second.accept(models.address(assignments[1], "b", "a"), middle, 0.0) == ""
        topic, end = through(second, 0.0)
        assert topic == "convoy/1/main/from/board-x/to/gateway-1/demo/1-1/2"
        assert end.stage == 2
        assert end.batch == start.batch
        assert end.requests == start.requests
        assert [tensor.name for tensor in end.tensors] == [topology.output]
        assert end.tensors[0].data == model.values[topology.output].tobytes()


@pytest.mark.parametrize("left", [("pool-1",), ("conv-1", "dense-1"), ("conv-1", "pool-1", "conv-2", "dense-1")])
def test_layers_left_to_the_processor_never_reach_the_fabric(left: tuple[str, ...]) -> None:
    model = models.digits(images=False)
    stage = make_stage(model, replace(models.alone(model), processor=left))
    asked: list[tuple[str, tuple[Kind, ...]]] = []

    def run(layer: Runnable, inputs: Sequence[Array], upcoming: Sequence[Kind]) -> Array:
        asked.append((layer.name, tuple(upcoming)))
        return MODULES.run(layer, inputs, {}, upcoming)

    values = {"image": model.values["image"]}
    stage.forward(values, run)
    assert np.array_equal(values["logits"], model.values["logits"])
    kinds = [layer.kind for layer in model.topology.layers if layer.name not in left]
    assert stage.kinds == tuple(kinds)
    assert [name for name, _ in asked] == [layer.name for layer in model.topology.layers if layer.name not in left]
    for at, (_, upcoming) in enumerate(asked):
        assert upcoming == (*kinds[at + 1 :], *kinds[: at + 1])


def test_residence_is_taken_off_the_budget_and_noted() -> None:
    model = models.copies(images=False)
    assignment = models.alone(model)
    stage = make_stage(model, assignment)
    frame = replace(models.frame(assignment, {"t-0": model.values["t-0"]}, budget_ms=100.0), residence_us=(7,))
    assert stage.accept(models.address(assignment, "board-x"), frame, 10.0) == ""
    _, left = through(stage, 10.025)
    assert left.residence_us[0] == 7
    assert left.residence_us[1] == pytest.approx(25_000, abs=2)
    assert left.budget_ms == pytest.approx(75.0, abs=0.01)
    pulse = stage.pulse()
    assert (pulse.frames, pulse.rows, pulse.busy_us) == (1, 4, 1000)
    assert pulse.residence_us == pytest.approx(25_000, abs=2)
    assert stage.pulse().residence_us == 0  # of the last second, and nothing came since


def test_a_frame_whose_budget_runs_out_in_the_queue_is_not_computed() -> None:
    model = models.copies(images=False)
    assignment = models.alone(model)
    stage = make_stage(model, assignment)
    for budget_ms in (10.0, 1000.0):
        frame = models.frame(assignment, {"t-0": model.values["t-0"]}, budget_ms=budget_ms)
        assert stage.accept(models.address(assignment, "board-x"), frame, 0.0) == ""
    job = stage.next(0.010)
    assert job is not None
    assert job.frame.budget_ms == 1000.0
    assert stage.refused == {"budget": 1}
    assert stage.next(0.010) is None


def test_credits_are_the_room_that_is_left_and_bounded_by_the_board() -> None:
    model = models.copies(images=False)
    assignment = models.alone(model, queue_frames=50)
    stage = make_stage(model, assignment, most_queued=2)
    frame = models.frame(assignment, {"t-0": model.values["t-0"]})
    assert stage.credits == 2
    outcomes = [stage.accept(models.address(assignment, "board-x"), frame, 0.0) for _ in range(3)]
    assert outcomes == ["", "", "queue"]
    assert (stage.queued, stage.credits) == (2, 0)
    assert stage.pulse().refused == {"queue": 1}


MODEL = models.residual()
MIDDLE = models.place(MODEL, (1, 2), ("a", "b", "c"))[1]
GOOD = models.frame(MIDDLE, {"t-0": MODEL.values["t-0"], "t-1": MODEL.values["t-1"]})
ADDRESS = models.address(MIDDLE, "board-x", "a")


def tensors(**change: object) -> tuple[TensorData, ...]:
    return (replace(GOOD.tensors[0], **change), GOOD.tensors[1])  # type: ignore[arg-type]


def test_a_good_frame_is_taken_whatever_the_order_of_its_tensors() -> None:
    stage = make_stage(MODEL, MIDDLE)
    assert stage.accept(ADDRESS, GOOD, 0.0) == ""
    assert stage.accept(ADDRESS, replace(GOOD, tensors=GOOD.tensors[::-1]), 0.0) == ""
    assert through(stage, 0.0)[1].tensors == through(stage, 0.0)[1].tensors


@pytest.mark.parametrize(
    ("frame", "address", "reason"),
    [
        (replace(GOOD, generation=Generation(1, 2)), ADDRESS, "generation"),
        (GOOD, replace(ADDRESS, generation=Generation(2, 1)), "generation"),
        (replace(GOOD, deployment="other"), ADDRESS, "generation"),
        (replace(GOOD, stage=2), ADDRESS, "stage"),
        (GOOD, replace(ADDRESS, stage=0), "stage"),
        (GOOD, replace(ADDRESS, sender="c"), "sender"),
        (GOOD, replace(ADDRESS, sender="gateway-1"), "sender"),
        (replace(GOOD, tensors=()), ADDRESS, "shape"),
        (replace(GOOD, tensors=GOOD.tensors[:1]), ADDRESS, "shape"),
        (replace(GOOD, tensors=(GOOD.tensors[0], GOOD.tensors[0])), ADDRESS, "shape"),
        (replace(GOOD, tensors=tensors(name="t-2")), ADDRESS, "shape"),
        (replace(GOOD, tensors=tensors(shape=())), ADDRESS, "shape"),
        (replace(GOOD, tensors=tensors(shape=(4, 4, 2))), ADDRESS, "shape"),
        (replace(GOOD, tensors=tensors(shape=(3, 8), data=bytes(24))), ADDRESS, "shape"),
        (replace(GOOD, tensors=tensors(data=bytes(31))), ADDRESS, "shape"),
        (replace(GOOD, tensors=tensors(dtype="uint8")), ADDRESS, "shape"),
        (
            replace(GOOD, tensors=tuple(replace(t, shape=(5, 8), data=bytes(40)) for t in GOOD.tensors)),
            ADDRESS,
            "shape",
        ),
        (replace(GOOD, budget_ms=0.0), ADDRESS, "budget"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused_and_counted(frame: Frame, address: FrameTopic, reason: str) -> None:
    stage = make_stage(MODEL, MIDDLE)
    assert stage.accept(address, frame, 0.0) == reason
    assert stage.pulse().refused == {reason: 1}
    assert stage.queued == 0


def test_the_first_stage_takes_frames_from_the_gateway_they_name_only() -> None:
    model = models.copies(images=False)
    assignment = models.alone(model)
    stage = make_stage(model, assignment)
    frame = models.frame(assignment, {"t-0": model.values["t-0"]}, gateway="gateway-2")
    assert stage.accept(models.address(assignment, "board-x", "gateway-1"), frame, 0.0) == "sender"
    assert stage.accept(models.address(assignment, "board-x", "gateway-2"), frame, 0.0) == ""


@given(st.lists(st.integers(1, 20), min_size=1, max_size=5), st.integers(0, 2**62))
def test_replicas_are_chosen_by_weight_and_by_nothing_but_the_batch(weights: list[int], first: int) -> None:
    hops = tuple(Hop(f"b-{index}", weight) for index, weight in enumerate(weights))
    model = models.copies(2, images=False)
    assignment = replace(models.place(model, (1,), ("a", "b"))[0], next=hops)
    stage = make_stage(model, assignment)
    chosen = []
    for counter in range(first, first + sum(weights)):
        frame = models.frame(assignment, {"t-0": model.values["t-0"]}, counter=counter)
        stage.accept(models.address(assignment, "board-x"), frame, 0.0)
        topic, _ = through(stage, 0.0)
        chosen.append(topic.split("/")[6])
        assert chosen[-1] == choose(frame.batch, hops).board
    assert [chosen.count(hop.board) for hop in hops] == weights


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_comes_is_taken_or_counted(seed: int) -> None:
    chance = random.Random(seed)
    stage = make_stage(MODEL, MIDDLE, most_queued=3)
    taken = refused = 0
    for step in range(40):
        frame = replace(
            GOOD,
            stage=chance.choice((1, 1, 2)),
            budget_ms=chance.choice((0.0, 5.0, 100.0)),
            tensors=chance.choice((GOOD.tensors, GOOD.tensors[:1])),
        )
        if stage.accept(ADDRESS, frame, step * 0.001):
            refused += 1
        else:
            taken += 1
        if chance.random() < 0.4 and stage.queued:
            job = stage.next(step * 0.001)
            if job is not None:
                stage.computed(job, 0.001, step * 0.001)
        assert stage.queued <= 3
        assert stage.credits == 3 - stage.queued
    pulse = stage.pulse()
    late = pulse.refused.get("budget", 0)
    assert sum(pulse.refused.values()) >= refused
    assert pulse.frames + stage.queued + sum(pulse.refused.values()) == 40
    assert pulse.frames + stage.queued <= taken <= pulse.frames + stage.queued + late


def test_rows_of_a_batch_are_computed_apart() -> None:
    model = models.digits(images=False)
    assignment = models.alone(model)
    whole, single = make_stage(model, assignment), make_stage(model, assignment)
    image = model.values["image"]
    whole.accept(models.address(assignment, "board-x"), models.frame(assignment, {"image": image}), 0.0)
    together = np.frombuffer(through(whole, 0.0)[1].tensors[0].data, np.int8).reshape(4, 10)
    for row in range(4):
        frame = models.frame(assignment, {"image": image[row : row + 1]})
        single.accept(models.address(assignment, "board-x"), frame, 0.0)
        assert through(single, 0.0)[1].tensors[0].data == together[row].tobytes()
