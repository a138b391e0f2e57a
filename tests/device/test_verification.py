import dataclasses
from dataclasses import replace

import board_models as models
import pytest
from convoy_bitstreams import catalogue
from convoy_device.errors import (
    AssignmentError,
    BundleMismatchError,
    ModuleMissingError,
    PartMismatchError,
    ShellMismatchError,
    VerificationError,
)
from convoy_device.fabric import FabricFacts
from convoy_device.fabric.processor import ProcessorFabric
from convoy_device.verification import plan_stage, verify_model
from convoy_schema.bundle import Method
from convoy_schema.errors import SignatureError
from convoy_schema.messages.boards import Partition
from convoy_schema.messages.desired import Hop, Slot
from convoy_schema.topology import Kind
from convoy_schema.trust import Trust
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PART = catalogue().shells[0].part
PARTITIONS = tuple(Partition(name) for name in ("west", "centre", "east"))
FACTS = FabricFacts("emulated", PART, ("layers", "partitions"), PARTITIONS, 100_000_000, 2**28)
PROCESSOR = ProcessorFabric().facts


def test_a_signed_model_is_accepted_and_others_are_named() -> None:
    model = models.copies(images=False)
    announcement = model.announcement
    assert verify_model(announcement, models.TRUSTED, announcement.digest) == model.verified
    with pytest.raises(BundleMismatchError, match="the assignment names bundle 0000") as caught:
        verify_model(announcement, models.TRUSTED, "0" * 64)
    assert caught.value.retryable
    with pytest.raises(SignatureError, match="not signed by the trusted key"):
        verify_model(announcement, Trust(Ed25519PrivateKey.generate().public_key()), announcement.digest)
    with pytest.raises(SignatureError):
        verify_model(replace(announcement, topology=b"other"), models.TRUSTED, announcement.digest)


def test_a_plan_names_what_crosses_and_what_is_needed() -> None:
    model = models.digits()
    first, last = models.place(model, (3,), ("a", "b"))
    plan = plan_stage(first, model.verified, FACTS)
    assert (plan.start, plan.end, plan.takes, plan.gives) == (0, 3, ("image",), ("c2",))
    assert plan.shell == "layers"
    assert plan.shell_image == catalogue().shell("layers", PART).digest
    assert plan.images == {}
    layers = model.topology.layers
    assert plan.parameters == (layers[0].parameters, layers[2].parameters)
    assert set(plan.golden) == {"image", "c2"}
    assert set(plan.needs) == {*plan.parameters, *plan.golden.values()}
    assert plan_stage(last, model.verified, FACTS).takes == ("c2",)


def test_tensors_that_pass_through_are_taken_and_given() -> None:
    model = models.residual(images=False)
    middle = models.place(model, (1, 2), ("a", "b", "c"))[1]
    plan = plan_stage(middle, model.verified, PROCESSOR)
    assert set(plan.takes) == {"t-0", "t-1"}
    assert set(plan.gives) == {"t-0", "t-2"}


def test_a_fabric_without_shells_takes_any_method_without_images() -> None:
    model = models.digits(images=False)
    for method in (Method.ALLOCATE, Method.LIBRARY):
        plan = plan_stage(models.alone(model, method=method), model.verified, PROCESSOR)
        assert (plan.shell, plan.shell_image, plan.images) == ("", None, {})


def test_a_shell_that_does_not_fit_is_named_with_what_there_is() -> None:
    model = models.copies()
    facts = dataclasses.replace(FACTS, shells=("fixed", "layers"))
    with pytest.raises(ShellMismatchError, match="library needs shell 'partitions', this board has fixed, layers") as e:
        plan_stage(models.alone(model, method=Method.LIBRARY), model.verified, facts)
    assert e.value.code == "shell-mismatch"
    assert not e.value.retryable
    assert e.value.data == {"need": "partitions", "have": ("fixed", "layers")}


def library(*slots: tuple[str, Kind]) -> tuple[Slot, ...]:
    return tuple(Slot(partition, kind) for partition, kind in slots)


def test_images_are_those_of_the_slots_and_for_other_kinds_every_slot() -> None:
    model = models.digits()
    slots = library(("west", Kind.CONV2D), ("east", Kind.DENSE))
    plan = plan_stage(models.alone(model, method=Method.LIBRARY, slots=slots), model.verified, FACTS)
    assert set(plan.images) == {
        ("west", Kind.CONV2D),
        ("east", Kind.DENSE),
        ("west", Kind.MAX_POOL),
        ("east", Kind.MAX_POOL),
    }
    for (partition, kind), digest in plan.images.items():
        assert digest == catalogue().module("partitions", PART, partition, kind).digest


@pytest.mark.parametrize(
    ("slots", "error", "message"),
    [
        ((), ModuleMissingError, "layers of kind conv2d need a module"),
        ((("north", Kind.CONV2D),), AssignmentError, "no partition 'north', only centre, east, west"),
        ((("west", Kind.CONV2D), ("west", Kind.DENSE)), AssignmentError, "two slots name the same partition"),
    ],
)
def test_slots_that_cannot_be_filled_are_refused(
    slots: tuple[tuple[str, Kind], ...], error: type[VerificationError], message: str
) -> None:
    model = models.digits()
    assignment = models.alone(model, method=Method.LIBRARY, slots=library(*slots))
    with pytest.raises(error, match=message):
        plan_stage(assignment, model.verified, FACTS)


def test_an_image_for_another_part_is_no_image() -> None:
    model = models.digits()
    foreign = tuple(replace(image, part="xc7z010") for image in model.bundle.modules)
    assignment = models.alone(model, method=Method.LIBRARY, slots=library(("west", Kind.CONV2D)))
    with pytest.raises(ModuleMissingError, match="no image of module conv2d for partition west of emulated") as caught:
        plan_stage(assignment, replace(model.verified, bundle=replace(model.bundle, modules=foreign)), FACTS)
    assert caught.value.code == "module-missing"


def test_layers_on_the_processor_need_no_module_and_no_slot() -> None:
    model = models.digits()
    rest = ("pool-1", "dense-1")
    slots = library(("west", Kind.CONV2D))
    plan = plan_stage(
        replace(models.alone(model, method=Method.LIBRARY, slots=slots), processor=rest), model.verified, FACTS
    )
    assert {kind for _, kind in plan.images} == {Kind.CONV2D}
    every = tuple(layer.name for layer in model.topology.layers)
    bare = plan_stage(replace(models.alone(model, method=Method.LIBRARY), processor=every), model.verified, FACTS)
    assert (dict(bare.images), bare.shell) == ({}, "partitions")
    assert set(bare.parameters) <= set(bare.needs)
    with pytest.raises(ModuleMissingError, match="it has no slot"):
        plan_stage(replace(models.alone(model, method=Method.LIBRARY), processor=rest), model.verified, FACTS)


def test_a_bundle_for_other_parts_is_refused_with_both_named() -> None:
    model = models.digits()
    other = dataclasses.replace(FACTS, part="xc7z010")
    with pytest.raises(PartMismatchError, match=r"this board is a xc7z010, .* are for emulated-xc7z020") as caught:
        plan_stage(models.alone(model), model.verified, other)
    assert (caught.value.code, caught.value.retryable) == ("part-mismatch", False)
    # Without images it says nothing about parts: what is needed is there, or missed by name.
    bare = models.digits(images=False)
    assert plan_stage(models.alone(bare), bare.verified, other).shell_image is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": ()}, "names no layer"),
        ({"layers": ("copy-9",)}, "no layer 'copy-9'"),
        ({"layers": ("copy-1", "copy-3")}, "do not follow each other"),
        ({"layers": ("copy-2",)}, "contradict each other"),
        ({"next": ()}, "contradict each other"),
        ({"stage": 1, "next": (Hop("b"),)}, "contradict each other"),
        ({"previous": ("a",)}, "stage 0 names 1 senders"),
        ({"batch_rows": 4096}, "4096 rows of t-0 take .* bytes, a frame holds"),
    ],
)
def test_an_assignment_that_contradicts_its_model_is_refused(change: dict[str, object], message: str) -> None:
    model = models.copies(3, width=100, images=False)
    good = models.place(model, (1,), ("a", "b"))[0]
    plan_stage(good, model.verified, PROCESSOR)
    with pytest.raises(AssignmentError, match=message):
        plan_stage(replace(good, **change), model.verified, PROCESSOR)  # type: ignore[arg-type]


def test_an_assignment_of_another_model_is_refused() -> None:
    model, other = models.copies(images=False), models.copies(name="other", images=False)
    with pytest.raises(AssignmentError, match="is of copies 1, its bundle of other 1"):
        plan_stage(models.alone(model), other.verified, PROCESSOR)


def test_a_stage_that_cannot_be_tested_is_refused() -> None:
    model = models.copies(images=False)
    bare = replace(model.verified, bundle=replace(model.bundle, golden=model.bundle.golden[:-1]))
    with pytest.raises(AssignmentError, match="no golden values of t-2"):
        plan_stage(models.alone(model), bare, PROCESSOR)
