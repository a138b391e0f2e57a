"""On a register model of the chip: a load is a transaction, whatever fails in it, and waits for hardware end."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from chip_failures import FAILURES, FastTime, mend
from chip_images import module_image, shell_image
from chip_model import ChipModel
from convoy_bitstreams import catalogue, floorplans
from convoy_device.errors import FabricError, ImageRefusedError, LayerRefusedError
from convoy_device.fabric import Fabric
from convoy_device.fabric.pynq.fabric import PynqFabric
from convoy_schema.errors import TopologyError
from convoy_schema.messages.boards import PartitionReport
from convoy_schema.names import digest_of
from convoy_schema.registers import Command, identity
from convoy_schema.topology import Kind
from driven_chip import ModelChip
from served_layers import batch, dense, max_pool, serve

BLANK = tuple(PartitionReport(name, None, False, False) for name in ("west", "centre", "east"))


@pytest.fixture
def model(tmp_path: Path) -> ChipModel:
    return ChipModel(tmp_path / "chip")


@pytest.fixture
def open_fabric(model: ChipModel, tmp_path: Path) -> Iterator[Callable[[], PynqFabric]]:
    """Opens a fabric on the chip; the one before must have been closed, or its process died."""
    opened: list[PynqFabric] = []

    def open_one() -> PynqFabric:
        fabric = PynqFabric(
            ModelChip(model), tmp_path / "state", floorplans=floorplans(), paths=model.paths, waiting=FastTime().waiting
        )
        opened.append(fabric)
        return fabric

    yield open_one
    for fabric in opened:
        fabric.close()


@pytest.fixture
def fabric(open_fabric: Callable[[], PynqFabric]) -> PynqFabric:
    return open_fabric()


@pytest.fixture
def library(fabric: PynqFabric) -> PynqFabric:
    """A fabric with the shell `partitions`."""
    fabric.load_shell(shell_image())
    return fabric


def west(fabric: PynqFabric) -> PartitionReport:
    return fabric.partitions()[0]


def die(fabric: PynqFabric) -> None:
    """What the kernel does when the process of a daemon is killed."""
    fabric._design = None
    fabric._claim.release()


# A shell -------------------------------------------------------------------------------------------------------------


def test_it_is_a_fabric_and_says_what_it_is(fabric: PynqFabric) -> None:
    as_protocol: Fabric = fabric
    facts = as_protocol.facts
    assert (facts.name, facts.part, facts.clock_hz) == ("pynq", "xc7z020", 100_000_000)
    assert facts.shells == ("fixed", "layers", "partitions")
    assert [place.name for place in facts.partitions] == ["west", "centre", "east"]
    assert fabric.shell() == ""
    assert fabric.partitions() == ()
    assert not fabric.runs(Kind.DENSE)


def test_a_shell_leaves_every_partition_blank_and_cut_off(library: PynqFabric, model: ChipModel) -> None:
    assert library.shell() == "partitions"
    assert library.partitions() == BLANK
    assert all(model.is_isolated(report.partition) for report in BLANK)
    assert model.journal == ["flags 0", f"firmware convoy-{digest_of(shell_image())}.bin"]


def test_a_shell_sets_clock_and_memory_port(library: PynqFabric, model: ChipModel) -> None:
    assert model.system.words[0x170] >> 8 & 63 == 5
    assert model.system.words[0x8000] & 1 == model.system.words[0x8014] & 1 == 0


def test_a_clock_that_is_too_fast_is_refused(fabric: PynqFabric, model: ChipModel) -> None:
    model.faults["clock"] = 142e6
    with pytest.raises(FabricError, match="100 MHz, its clock runs at 142"):
        fabric.load_shell(shell_image())
    assert fabric.shell() == ""


def test_fixed_kernels_are_asked_what_they_are(fabric: PynqFabric, model: ChipModel) -> None:
    fabric.load_shell(shell_image("layers"))
    assert fabric.shell() == "layers"
    assert all(fabric.runs(kind) for kind in Kind)
    model.faults["identity"] = 0xC5FF0001
    with pytest.raises(FabricError, match="no kernel of this library"):
        fabric.load_shell(shell_image("layers"))
    assert fabric.shell() == ""
    assert not fabric.runs(Kind.DENSE)


def test_images_for_the_emulated_part_are_refused(fabric: PynqFabric, library: PynqFabric) -> None:
    images = catalogue()
    shell = images.read(images.shell("partitions", "emulated-xc7z020").digest)
    with pytest.raises(ImageRefusedError):
        library.load_shell(shell)
    assert library.shell() == "partitions"
    module = images.read(images.module("partitions", "emulated-xc7z020", "west", Kind.DENSE).digest)
    with pytest.raises(ImageRefusedError, match="emulated"):
        library.configure("west", Kind.DENSE, module)


def test_a_design_of_somebody_else_is_refused_as_a_shell(fabric: PynqFabric) -> None:
    other = shell_image().replace(b"convoy_partitions", b"strangers_design!")
    with pytest.raises(ImageRefusedError, match="strangers_design!"):
        fabric.load_shell(other)
    unknown = shell_image().replace(b"convoy_partitions", b"convoy_partition5")
    with pytest.raises(FabricError, match="'partition5'; this board knows fixed, layers, partitions"):
        fabric.load_shell(unknown)


# A module ------------------------------------------------------------------------------------------------------------


def test_a_module_is_loaded_while_it_is_cut_off(library: PynqFabric, model: ChipModel) -> None:
    library.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    assert west(library) == PartitionReport("west", Kind.DENSE, True, False)
    assert library.runs(Kind.DENSE)
    assert model.journal[-2:] == ["flags 1", f"firmware convoy-{digest_of(module_image('west', Kind.DENSE))}.bin"]
    assert not any(model.paths.firmware.iterdir())
    library.configure("west", Kind.MAX_POOL, module_image("west", Kind.MAX_POOL))
    assert west(library).module is Kind.MAX_POOL
    assert not library.runs(Kind.DENSE)
    assert list(library.phases.milliseconds) == [
        "verify",
        "quiesce",
        "decouple",
        "load",
        "state",
        "identity",
        "recouple",
    ]


def test_a_partition_that_is_not_there_is_refused(library: PynqFabric, fabric: PynqFabric) -> None:
    with pytest.raises(FabricError, match="no partition 'north'; it has west, centre, east"):
        library.configure("north", Kind.DENSE, module_image("west", Kind.DENSE))
    library.load_shell(shell_image("layers"))
    with pytest.raises(FabricError, match="it has none"):
        library.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))


def test_without_a_shell_nothing_is_touched(fabric: PynqFabric) -> None:
    with pytest.raises(FabricError, match="no shell is loaded"):
        fabric.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    with pytest.raises(FabricError, match="no shell is loaded"):
        fabric.run(dense(), batch(dense()))
    fabric.quiesce()


@pytest.mark.parametrize(("inject", "message", "is_decoupler"), FAILURES)
@pytest.mark.parametrize("before", [None, Kind.MAX_POOL])
def test_a_failure_at_any_step_leaves_it_cut_off_and_the_next_good_load_repairs(
    library: PynqFabric,
    model: ChipModel,
    inject: Callable[[ChipModel], None],
    message: str,
    is_decoupler: bool,
    before: Kind | None,
) -> None:
    library.configure("east", Kind.ADD, module_image("east", Kind.ADD))
    if before is not None:
        library.configure("west", before, module_image("west", before))
    inject(model)
    with pytest.raises(FabricError, match=message) as caught:
        library.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    assert caught.value.retryable
    assert west(library) == PartitionReport("west", None, False, True)
    assert model.is_isolated("west") or is_decoupler
    assert not library.runs(Kind.DENSE)
    assert not library.runs(Kind.MAX_POOL)
    assert library.runs(Kind.ADD), "the other partition has nothing to do with it"

    mend(model)
    library.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    assert west(library) == PartitionReport("west", Kind.DENSE, True, False)
    assert not any(model.paths.firmware.iterdir())


@pytest.mark.parametrize(
    "image",
    [
        module_image("centre", Kind.DENSE),
        module_image("west", Kind.DENSE)[:-4000],
        b"nothing of the kind",
        b"",
        shell_image(),
    ],
    ids=["another partition's", "cut", "junk", "empty", "full"],
)
def test_a_bad_image_never_reaches_the_chip(library: PynqFabric, model: ChipModel, image: bytes) -> None:
    library.configure("west", Kind.MAX_POOL, module_image("west", Kind.MAX_POOL))
    before = list(model.journal)
    with pytest.raises(ImageRefusedError) as caught:
        library.configure("west", Kind.DENSE, image)
    assert not caught.value.retryable
    assert model.journal == before
    assert model.is_isolated("west")
    assert west(library) == PartitionReport("west", None, False, True)


def test_an_image_of_another_kind_than_asked_for_is_cut_off(library: PynqFabric, model: ChipModel) -> None:
    with pytest.raises(FabricError, match="should hold a dense"):
        library.configure("west", Kind.DENSE, module_image("west", Kind.ADD))
    assert model.is_isolated("west")


def test_what_was_admitted_once_is_not_read_again(library: PynqFabric, monkeypatch: pytest.MonkeyPatch) -> None:
    library.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the image was checked a second time")

    monkeypatch.setattr("convoy_device.admission.check_partial", fail)
    library.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    with pytest.raises(AssertionError):
        library.configure("west", Kind.ADD, module_image("west", Kind.ADD))


# DMA -----------------------------------------------------------------------------------------------------------------


def test_a_channel_that_will_not_stop_is_reset(library: PynqFabric, model: ChipModel) -> None:
    channel = model.dma().take
    assert channel is not None
    channel.write(0x00, 1)
    channel.write(0x28, 64)
    assert not channel.halted
    library.quiesce()
    assert channel.halted
    assert not channel.armed


def test_an_error_in_a_channel_is_cleared_by_a_reset(library: PynqFabric, model: ChipModel) -> None:
    model.dma("parameter").send.fail(0x40)
    library.quiesce()
    assert model.dma("parameter").send.status == 1


def test_bytes_come_back_from_the_loop(library: PynqFabric) -> None:
    content = np.random.default_rng(1).integers(0, 256, 1 << 16, dtype=np.uint8)
    assert np.array_equal(library.loop_back(content), content)
    assert np.array_equal(library.loop_back(content[: 1 << 10]), content[: 1 << 10])


# Runs ----------------------------------------------------------------------------------------------------------------


def test_a_layer_runs_with_its_parameters_loaded_once(library: PynqFabric, model: ChipModel) -> None:
    layer = dense()
    commands = serve(model, layer)
    library.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    for rows in (1, 4, 2):
        assert np.array_equal(library.run(layer, batch(layer, rows)), layer.run(batch(layer, rows)))
    assert commands == [Command.LOAD, Command.RUN, Command.RUN, Command.RUN]
    assert library.run(layer, batch(layer, 0)).shape == (0, 3)


def test_two_layers_of_a_kind_take_turns_on_one_module(library: PynqFabric, model: ChipModel) -> None:
    first, second = dense(12, 3), dense(20, 5)
    commands = serve(model, first, second)
    library.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    for layer in (first, second, first):
        assert np.array_equal(library.run(layer, batch(layer)), layer.run(batch(layer)))
    assert commands == [Command.LOAD, Command.RUN] * 3


def test_parameters_are_loaded_again_after_the_module_was(library: PynqFabric, model: ChipModel) -> None:
    layer = dense()
    commands = serve(model, layer)
    image = module_image("west", Kind.DENSE)
    for _ in range(2):
        library.configure("west", Kind.DENSE, image)
        library.run(layer, batch(layer))
    assert commands == [Command.LOAD, Command.RUN] * 2


def test_a_kernel_without_parameters_is_given_none(library: PynqFabric, model: ChipModel) -> None:
    layer = max_pool()
    commands = serve(model, layer)
    library.configure("east", Kind.MAX_POOL, module_image("east", Kind.MAX_POOL))
    assert np.array_equal(library.run(layer, batch(layer)), layer.run(batch(layer)))
    assert commands == [Command.RUN]


def test_memory_is_allocated_once(model: ChipModel, tmp_path: Path) -> None:
    chip = ModelChip(model)
    fabric = PynqFabric(chip, tmp_path / "state", floorplans=floorplans(), paths=model.paths)
    fabric.load_shell(shell_image())
    layer = dense()
    serve(model, layer)
    fabric.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    for _ in range(10):
        fabric.run(layer, batch(layer))
    first = chip.allocations
    fabric.run(layer, batch(layer, 3000))
    grown = chip.allocations
    for rows in (1, 3000, 17):
        fabric.run(layer, batch(layer, rows))
    assert (first, chip.allocations) == (4, grown)
    fabric.load_shell(shell_image())  # the model fails it while memory is allocated
    fabric.close()
    assert chip.allocated == []


@pytest.mark.parametrize(
    ("fault", "value", "message"),
    [
        ("dma-error", 0x20, "receiving: slave error"),
        ("dma-error", 0x40, "decode error"),
        ("stream-stuck", True, "should take less than"),
        ("kernel-hangs", True, "should take less than"),
    ],
)
def test_a_run_that_fails_cuts_the_module_off_until_it_is_loaded_anew(
    library: PynqFabric, model: ChipModel, fault: str, value: object, message: str
) -> None:
    layer = dense()
    serve(model, layer)
    library.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    library.run(layer, batch(layer))
    model.faults[fault] = value
    with pytest.raises(FabricError, match=message):
        library.run(layer, batch(layer))
    assert model.is_isolated("west")
    for channel in (model.dma().send, model.dma().take, model.dma("parameter").send):
        assert channel is not None
        assert channel.halted, "DMA stands still"
        assert channel.left is None
        assert not channel.armed
    assert west(library) == PartitionReport("west", None, False, True)
    assert not library.runs(Kind.DENSE)
    with pytest.raises(FabricError, match="no such kernel or coupled module"):
        library.run(layer, batch(layer))
    model.faults.clear()
    library.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    assert np.array_equal(library.run(layer, batch(layer)), layer.run(batch(layer)))


def test_a_sending_channel_that_fails_is_told_from_a_receiving_one(library: PynqFabric, model: ChipModel) -> None:
    layer = dense()
    serve(model, layer)
    library.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    model.dma().fails_receiving = False
    model.dma("parameter").fails_receiving = False
    model.faults["dma-error"] = 0x40
    with pytest.raises(FabricError, match="parameter DMA, sending: decode error"):
        library.run(layer, batch(layer))


def test_a_shell_of_fixed_kernels_is_loaded_anew_after_a_run_that_failed(fabric: PynqFabric, model: ChipModel) -> None:
    layer = dense()
    serve(model, layer)
    fabric.load_shell(shell_image("layers"))
    assert np.array_equal(fabric.run(layer, batch(layer)), layer.run(batch(layer)))
    model.faults["kernel-hangs"] = True
    with pytest.raises(FabricError, match="should take less than"):
        fabric.run(layer, batch(layer))
    model.faults.clear()
    assert np.array_equal(fabric.run(layer, batch(layer)), layer.run(batch(layer)))
    assert [entry for entry in model.journal if entry.startswith("flags")] == ["flags 0", "flags 0"]


def test_a_shell_that_is_one_network_says_so(fabric: PynqFabric, model: ChipModel) -> None:
    fabric.load_shell(shell_image("fixed"))
    assert fabric.shell() == "fixed"
    model.faults["identity"] = identity(Kind.DENSE)
    with pytest.raises(FabricError, match="should hold a whole network"):
        fabric.load_shell(shell_image("fixed"))
    model.faults.clear()
    fabric.load_shell(shell_image("fixed"))
    with pytest.raises(FabricError, match="computes its network as a whole"):
        fabric.run(dense(), batch(dense()))


def test_a_layer_that_is_too_large_and_arrays_that_are_wrong_cost_nothing(
    library: PynqFabric, model: ChipModel
) -> None:
    layer = dense(70_000 - 64_000, 3)
    serve(model, layer)
    library.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    with pytest.raises(TopologyError):
        library.run(layer, batch(dense()))
    library.configure("east", Kind.MAX_POOL, module_image("east", Kind.MAX_POOL))
    with pytest.raises(LayerRefusedError, match="elements in a row"):
        library.run(max_pool(2048), batch(max_pool(2048)))
    assert library.runs(Kind.DENSE)
    assert library.runs(Kind.MAX_POOL)


# Daemons that come and go --------------------------------------------------------------------------------------------


def test_a_second_daemon_is_kept_out(fabric: PynqFabric, open_fabric: Callable[[], PynqFabric]) -> None:
    with pytest.raises(FabricError, match="another daemon has this board's logic"):
        open_fabric()


def test_a_new_daemon_takes_over_what_runs(
    library: PynqFabric, model: ChipModel, open_fabric: Callable[[], PynqFabric]
) -> None:
    library.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    model.faults["state"] = "write error"
    with pytest.raises(FabricError):
        library.configure("east", Kind.ADD, module_image("east", Kind.ADD))
    model.faults.clear()
    model.root.joinpath("manager", "state").write_text("operating\n")
    model.dma().send.write(0x00, 1)
    (model.paths.firmware / "convoy-left.bin").write_bytes(b"left")
    (model.paths.firmware / "somebodys.bin").write_bytes(b"not ours")
    die(library)
    fabric = open_fabric()
    assert fabric.shell() == "partitions"
    assert fabric.partitions() == (
        PartitionReport("west", Kind.DENSE, True, False),
        PartitionReport("centre", None, False, False),
        PartitionReport("east", None, False, True),
    )
    assert model.dma().send.halted
    assert [file.name for file in model.paths.firmware.iterdir()] == ["somebodys.bin"]
    layer = dense()
    serve(model, layer)
    assert np.array_equal(fabric.run(layer, batch(layer)), layer.run(batch(layer)))


def test_a_module_that_does_not_answer_a_new_daemon_is_cut_off(
    library: PynqFabric, model: ChipModel, open_fabric: Callable[[], PynqFabric]
) -> None:
    library.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    die(library)
    model.faults["kernel-hangs"] = True
    fabric = open_fabric()
    assert west(fabric) == PartitionReport("west", None, False, True)
    assert model.is_isolated("west")


def power_cycle(model: ChipModel) -> None:
    model.power_on()


def somebody_else_configured(model: ChipModel) -> None:
    model.last_full = "/home/xilinx/base.bit"
    model.blocks.clear()


def the_last_load_failed(model: ChipModel) -> None:
    model.root.joinpath("manager", "state").write_text("write error\n")
    model.blocks.clear()


def the_record_is_junk(model: ChipModel) -> None:
    (model.root.parent / "state" / "loaded.json").write_text("{")
    model.blocks.clear()


def the_kernels_are_others(model: ChipModel) -> None:
    model.faults["identity"] = 0


def memory_is_denied(model: ChipModel) -> None:
    model.faults["memory"] = True


@pytest.mark.parametrize(
    "event",
    [
        power_cycle,
        somebody_else_configured,
        the_last_load_failed,
        the_record_is_junk,
        the_kernels_are_others,
        memory_is_denied,
    ],
)
def test_a_chip_that_is_not_as_it_was_counts_as_blank(
    fabric: PynqFabric,
    model: ChipModel,
    open_fabric: Callable[[], PynqFabric],
    event: Callable[[ChipModel], None],
) -> None:
    fabric.load_shell(shell_image("layers"))
    die(fabric)
    event(model)
    # Where nothing is configured any more, touching a register would hang: the model raises BusHang.
    later = open_fabric()
    assert later.shell() == ""
    assert later.partitions() == ()


def test_a_full_load_that_fails_leaves_a_blank_board_and_the_next_one_repairs(
    library: PynqFabric, model: ChipModel
) -> None:
    library.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    for fault, value in (("flags", errno.EACCES), ("firmware", errno.EINVAL), ("state", "write error")):
        model.faults[fault] = value
        with pytest.raises(FabricError):
            library.load_shell(shell_image())
        assert library.shell() == ""
        assert library.partitions() == ()
        assert not library.runs(Kind.DENSE)
        model.faults.clear()
    library.load_shell(shell_image())
    assert library.partitions() == BLANK
