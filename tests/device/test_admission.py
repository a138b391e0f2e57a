"""No image comes near the fabric unseen: refused with a reason and before anything is touched, admitted at no cost."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import board_models as models
import numpy as np
import pytest
from bitstream_mutations import MUTATIONS, RESETTING, Draft, mutate
from convoy_bitstreams import catalogue, floorplans
from convoy_device.admission import Admission
from convoy_device.errors import ImageRefusedError
from convoy_device.fabric.emulated import EmulatedFabric
from convoy_device.fabric.port import accept
from convoy_schema.bitstream import EMULATED_XC7Z020, XC7Z020, Command, Register, write_partial
from convoy_schema.bundle import Method
from convoy_schema.messages.boards import PartitionReport, Phase
from convoy_schema.messages.desired import Slot
from convoy_schema.names import digest_of
from convoy_schema.topology import Kind
from fleet_bench import boards_on, config_of, fleet_on

PART = EMULATED_XC7Z020.name
GEOMETRY = EMULATED_XC7Z020.geometry
PLAN = floorplans()["partitions"]


@cache
def module(partition: str, kind: Kind) -> bytes:
    return catalogue().read(catalogue().module("partitions", PART, partition, kind).digest)


@cache
def shell(name: str) -> bytes:
    return catalogue().read(catalogue().shell(name, PART).digest)


@cache
def evil(name: str = "unmask a static column") -> bytes:
    """A module for `west` with right CRCs, which resets part of the static design as well."""
    return mutate(module("west", Kind.CONV2D), {**MUTATIONS, **RESETTING}[name][0], GEOMETRY)


def made() -> Admission:
    return Admission(PART, floorplans())


def test_every_image_of_the_catalogue_is_admitted_to_its_own_place() -> None:
    admission, images = made(), catalogue()
    for entry in images.modules:
        content = images.read(entry.digest)
        for partition in PLAN.regions:
            if partition == entry.partition:
                admission.check_module(partition, entry.digest, content)
            else:
                with pytest.raises(
                    ImageRefusedError, match=f"partition {partition}: frames-outside: .* in {entry.partition}"
                ):
                    admission.check_module(partition, entry.digest, content)
    for entry_of_shell in images.shells:
        admission.check_shell(entry_of_shell.digest, images.read(entry_of_shell.digest))


@pytest.mark.parametrize("name", [*MUTATIONS, *RESETTING])
def test_a_refusal_names_the_rule_and_can_be_told_by_a_program(name: str) -> None:
    image, (_, rule) = evil(name), {**MUTATIONS, **RESETTING}[name]
    with pytest.raises(ImageRefusedError) as caught:
        made().check_module("west", digest_of(image), image)
    error = caught.value
    assert (error.code, error.retryable) == ("image-refused", False)
    assert rule == error.data["rule"] or "more rules are broken" in str(error)
    assert error.data["digest"] == digest_of(image)
    assert error.data["partition"] == "west"


def test_the_port_alone_would_have_taken_it() -> None:
    """Why the check is made: identity, CRC and places of all frames are right, as silicon sees them."""
    for name in ("unmask a static column", "no START", "other control bits", "no masks"):
        assert accept(evil(name), EMULATED_XC7Z020, PLAN.regions["west"])
        with pytest.raises(ImageRefusedError):
            made().check_module("west", "0" * 64, evil(name))


def test_a_shell_is_no_module_and_a_module_is_no_shell() -> None:
    admission = made()
    with pytest.raises(ImageRefusedError, match="it is a full image"):
        admission.check_module("west", "0" * 64, shell("layers"))
    with pytest.raises(ImageRefusedError, match="as a shell: "):
        admission.check_shell("0" * 64, module("west", Kind.ADD))
    draft = Draft.of(shell("layers"), GEOMETRY)
    draft.set(draft.packets(Register.CMD, Command.NULL)[0], Command.IPROG)
    with pytest.raises(ImageRefusedError, match="command IPROG"):
        admission.check_shell("0" * 64, draft.sealed())


def test_what_has_no_place_is_refused() -> None:
    frames = np.zeros((PLAN.regions["west"].size, 101), dtype=np.uint32)
    real = write_partial(XC7Z020, "x", PLAN.regions["west"], frames)
    with pytest.raises(ImageRefusedError, match=r"IDCODE 03727093 \(xc7z020\)|names part '7z020'"):
        made().check_module("west", "0" * 64, real)
    Admission(XC7Z020.name, floorplans()).check_module("west", "0" * 64, real)
    with pytest.raises(ImageRefusedError, match="no floorplan of a partition 'north'"):
        made().check_module("north", "0" * 64, real)
    with pytest.raises(ImageRefusedError, match="no floorplan of a partition 'west'"):
        Admission(PART, {"layers": floorplans()["layers"]}).check_module("west", "0" * 64, real)
    processor = Admission("processor", floorplans())
    with pytest.raises(ImageRefusedError, match="takes none"):
        processor.check_shell("0" * 64, shell("layers"))
    with pytest.raises(ImageRefusedError, match="no floorplan"):
        processor.check_module("west", "0" * 64, real)


def test_an_admitted_image_costs_a_look_up() -> None:
    admission, image = made(), module("west", Kind.CONV2D)
    admission.check_module("west", "1" * 64, image)
    begun = time.thread_time()
    for _ in range(10_000):
        admission.check_module("west", "1" * 64, image)
    assert (time.thread_time() - begun) / 10_000 < 50e-6


def test_what_is_remembered_is_bounded() -> None:
    admission = made()
    admission._admitted = {(f"{number:064x}", "west") for number in range(1024)}
    admission.check_module("west", "f" * 64, module("west", Kind.ADD))
    assert admission._admitted == {("f" * 64, "west")}


# A board --------------------------------------------------------------------------------------------------------------


def with_evil_module(good: models.Model) -> models.Model:
    """Version 2 of a model, signed by the fleet's own key: its conv2d for `west` is altered."""
    image = evil()
    modules = tuple(
        replace(entry, digest=digest_of(image)) if (entry.partition, entry.kind) == ("west", Kind.CONV2D) else entry
        for entry in good.bundle.modules
        if entry.part == PART
    )
    bundle = replace(good.bundle, version="2", modules=modules)
    return models.signed(bundle, good.topology, {**good.blobs, digest_of(image): image})


def test_a_board_refuses_a_signed_image_that_lies_and_keeps_what_it_had(broker: Any, tmp_path: Path) -> None:
    kinds = (Kind.CONV2D, Kind.MAX_POOL, Kind.DENSE)
    needed = [catalogue().shell("partitions", PART).digest]
    needed += [
        catalogue().module("partitions", PART, place, kind).digest for place in ("west", "east") for kind in kinds
    ]
    good = models.with_images(models.digits(), needed)
    bad = with_evil_module(good)
    slots = (Slot("west", Kind.CONV2D), Slot("east", Kind.MAX_POOL))
    old = models.alone(good, method=Method.LIBRARY, slots=slots)
    new = models.alone(bad, method=Method.LIBRARY, slots=slots, generation=models.SECOND)

    async def scenario() -> None:
        async with fleet_on(broker.url) as fleet, boards_on(config_of(broker.url, tmp_path, fabric="emulated")):
            fleet.publish(good)
            fleet.desire({"board-1": (old,)})
            await fleet.until_phase(Phase.READY, "board-1")
            held = fleet.reported["board-1"].partitions
            fleet.publish(bad)
            fleet.desire({"board-1": (old, new)}, revision=2)
            await fleet.until_phase(Phase.FAILED, "board-1", generation=models.SECOND)
            report = fleet.report("board-1", models.SECOND)
            assert report is not None
            assert (report.code, report.retryable) == ("image-refused", False)
            assert digest_of(evil())[:12] in report.message
            assert "partition west: reset-mask: the reset mask of column" in report.message
            assert fleet.reported["board-1"].partitions == held
            await fleet.infer(old, "board-1", good, 5)

    asyncio.run(scenario())


def test_a_board_without_a_shell_refuses_one_that_lies_and_stays_blank(broker: Any, tmp_path: Path) -> None:
    draft = Draft.of(shell("layers"), GEOMETRY)
    draft.set(draft.packets(Register.WBSTAR)[0], 0x400000)
    image = draft.sealed()
    good = models.digits()
    shells = tuple(
        replace(entry, digest=digest_of(image)) if (entry.shell, entry.part) == ("layers", PART) else entry
        for entry in good.bundle.shells
    )
    bad = models.signed(replace(good.bundle, shells=shells), good.topology, {**good.blobs, digest_of(image): image})
    assignment = models.alone(bad)

    async def scenario() -> None:
        async with fleet_on(broker.url) as fleet, boards_on(config_of(broker.url, tmp_path, fabric="emulated")):
            fleet.publish(bad)
            fleet.desire({"board-1": (assignment,)})
            await fleet.until_phase(Phase.FAILED, "board-1")
            report = fleet.report("board-1")
            assert report is not None
            assert (report.code, report.retryable) == ("image-refused", False)
            assert "value: WBSTAR is set to 00400000" in report.message
            assert fleet.reported["board-1"].shell == ""

    asyncio.run(scenario())


def test_a_swap_at_run_time_asks_too(tmp_path: Path) -> None:
    """The last look before the fabric: an image that the stage's verification never saw."""
    from convoy_device.store import Store
    from convoy_device.workbench import Workbench
    from convoy_schema.topics import Topics

    store = Store(tmp_path / "store", 2**26)
    fabric = EmulatedFabric(tmp_path / "fabric", floorplans=floorplans())
    fabric.load_shell(shell("partitions"))
    digest = digest_of(evil())
    store._write(store._artifacts / digest, evil())
    workbench = Workbench("board-1", Topics("main"), store, fabric, 4)
    with pytest.raises(ImageRefusedError, match="reset-mask"):
        workbench.modules._swap_in(Kind.CONV2D, {("west", Kind.CONV2D): digest}, ())
    assert fabric.partitions()[0] == PartitionReport("west", None, False)
    fabric.close()
    store.close()
