"""The driver's small parts: waits that end, buffers that are reused and given back in order, records, claims."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from chip_failures import FastTime
from chip_images import module_image, shell_image
from chip_model import ChipModel
from convoy_bitstreams import floorplans
from convoy_device.errors import FabricError, ImageRefusedError
from convoy_device.fabric.opening import FABRICS
from convoy_device.fabric.pynq.buffers import Buffers
from convoy_device.fabric.pynq.claim import Claim
from convoy_device.fabric.pynq.dma import MOST_BYTES, Dma
from convoy_device.fabric.pynq.images import shell_of, to_bin
from convoy_device.fabric.pynq.phases import Phases
from convoy_device.fabric.pynq.record import Record, RecordKeeper
from convoy_schema.topology import Kind
from driven_chip import ModelChip

KIB = 1024


@pytest.fixture
def chip(tmp_path: Path) -> ModelChip:
    """A chip with the shell `partitions`."""
    chip = ModelChip(ChipModel(tmp_path / "chip"))
    content = to_bin(shell_image())
    (chip.model.paths.firmware / "shell.bin").write_bytes(content)
    chip.download(tmp_path / "shell.bit", "shell.bin")
    return chip


# Waiting -------------------------------------------------------------------------------------------------------------


def test_a_wait_ends_with_what_it_waits_for() -> None:
    time = FastTime()
    time.waiting.until(lambda: time.now > 0.5, 1.0, "the half second")
    assert 0.5 < time.now < 0.6


def test_a_wait_ends_with_its_deadline_and_names_what_never_came() -> None:
    time = FastTime()
    with pytest.raises(FabricError, match=r"the moon should take less than 0.25 s and did not happen"):
        time.waiting.until(lambda: False, 0.25, "the moon")
    assert 0.25 <= time.now < 0.3


def test_what_came_while_the_thread_slept_counts() -> None:
    time = FastTime()
    seen: list[float] = []

    def comes_late() -> bool:
        seen.append(time.now)
        time.now += 10
        return len(seen) > 1

    assert time.waiting.within(comes_late, 1.0)


# Buffers -------------------------------------------------------------------------------------------------------------


def test_a_buffer_is_reused_and_says_whether_it_was_written_to(chip: ModelChip) -> None:
    buffers = Buffers(chip)
    (first,) = buffers.reserve([("a", 100)])
    (again,) = buffers.reserve([("a", 8000)])
    assert first.is_fresh
    assert not again.is_fresh
    assert first.memory is again.memory
    assert chip.allocations == 1


def test_growth_gives_everything_back_first_and_everything_is_fresh(chip: ModelChip) -> None:
    buffers = Buffers(chip)
    buffers.reserve([("a", 100), ("b", 100)])
    grown = buffers.reserve([("a", 100), ("b", 100 * KIB)])
    assert [buffer.is_fresh for buffer in grown] == [True, True]
    assert len(chip.allocated) == 2
    buffers.free()  # the model fails another order than the reverse one
    assert chip.allocated == []


def test_the_bound_holds(chip: ModelChip) -> None:
    buffers = Buffers(chip, most_bytes=64 * KIB)
    for name in range(100):
        buffers.reserve([("work", 8 * KIB), (name, 8 * KIB)])
        assert buffers.held_bytes <= 64 * KIB
    with pytest.raises(FabricError, match="131072 bytes of buffers are needed at once, 65536 are to be had"):
        buffers.reserve([("big", 128 * KIB)])


def test_large_buffers_are_not_doubled(chip: ModelChip) -> None:
    (buffer,) = Buffers(chip).reserve([("a", 5 * 1024 * KIB + 1)])
    assert buffer.capacity == 6 * 1024 * KIB


# DMA -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, -1, MOST_BYTES + 1])
def test_a_transfer_of_no_bytes_or_too_many_is_refused(chip: ModelChip, size: int) -> None:
    dma = Dma(chip, 0x4040_0000, "activation", FastTime().waiting, receives=True)
    with pytest.raises(FabricError, match="takes 1 to 67108863"):
        dma.send.begin(0x1000_0000, size)


def test_a_channel_that_halts_is_not_waited_for(chip: ModelChip) -> None:
    dma = Dma(chip, 0x4040_0000, "activation", FastTime().waiting, receives=True)
    dma.receive.begin(0x1000_0000, 64)
    channel = chip.model.dma().take
    assert channel is not None
    channel.status |= 1
    with pytest.raises(FabricError, match="receiving: the channel stopped by itself"):
        dma.receive.wait(1.0)


def test_more_than_there_is_room_for_is_an_error(chip: ModelChip) -> None:
    dma = Dma(chip, 0x4040_0000, "activation", FastTime().waiting, receives=True)
    chip.write(0x43C0_0040, 0)
    chip.write(0x43C0_0000, 2)
    dma.receive.begin(0x1000_0000, 8)
    dma.send.begin(0x1000_1000, 64)
    with pytest.raises(FabricError, match="internal error"):
        dma.receive.wait(1.0)
    dma.quiesce()
    assert chip.model.dma().send.halted


# Images --------------------------------------------------------------------------------------------------------------


def test_the_sync_word_comes_in_the_kernels_order() -> None:
    for image in (shell_image(), module_image("west", Kind.DENSE)):
        assert bytes.fromhex("aa995566") in image
        assert to_bin(image)[48:52] == bytes.fromhex("665599aa")


def test_a_shell_is_known_by_its_design() -> None:
    for name in floorplans():
        assert shell_of(shell_image(name)) == name
    with pytest.raises(ImageRefusedError, match=r"no \.bit file"):
        shell_of(b"")


# What outlives a process ---------------------------------------------------------------------------------------------


@pytest.fixture
def keeper(tmp_path: Path) -> Callable[[], RecordKeeper]:
    (tmp_path / "boot_id").write_text("first\n")
    return lambda: RecordKeeper(tmp_path, tmp_path / "boot_id")


def test_a_record_lasts_until_the_next_boot(keeper: Callable[[], RecordKeeper], tmp_path: Path) -> None:
    writing = keeper()
    assert writing.recall() is None
    writing.loaded("partitions", "d" * 64)
    writing.degraded("west", True)
    writing.degraded("east", True)
    writing.degraded("west", False)
    assert keeper().recall() == Record("partitions", "d" * 64, "first", ("east",))
    (tmp_path / "boot_id").write_text("second\n")
    assert keeper().recall() is None
    writing.forget()
    (tmp_path / "boot_id").write_text("first\n")
    assert keeper().recall() is None


@pytest.mark.parametrize(
    "junk", ["", "{", "[]", "3", '{"shell": 1}', json.dumps({"shell": "", "image": "", "boot": ""})]
)
def test_junk_is_no_record(keeper: Callable[[], RecordKeeper], tmp_path: Path, junk: str) -> None:
    (tmp_path / "loaded.json").write_text(junk)
    assert keeper().recall() is None


def test_only_the_last_shell_is_kept(keeper: Callable[[], RecordKeeper], tmp_path: Path) -> None:
    keeper().keep_shell(b"one", "1")
    file = keeper().keep_shell(b"two", "2")
    assert file == keeper().shell_file("2")
    assert [found.name for found in tmp_path.glob("*.bit")] == ["shell-2.bit"]
    file.write_bytes(b"cut in the middl")
    assert keeper().keep_shell(b"two", "2").read_bytes() == b"two"


def test_a_claim_keeps_others_out_until_it_is_released(tmp_path: Path) -> None:
    first = Claim(tmp_path / "run" / "lock")
    with pytest.raises(FabricError, match="another daemon"):
        Claim(tmp_path / "run" / "lock")
    first.release()
    first.release()
    Claim(tmp_path / "run" / "lock").release()


def test_phases_add_up_and_keep_their_order() -> None:
    time = FastTime()
    phases = Phases(time.clock)
    for name in ("b", "a", "b"):
        with phases.phase(name):
            time.now += 1
    assert list(phases.milliseconds) == ["b", "a"]
    assert phases.milliseconds["b"] == pytest.approx(2000, rel=0.01)
    with pytest.raises(ValueError, match="inside"), phases.phase("c"):
        raise ValueError("inside")
    assert "c" in phases.milliseconds


def test_the_fabric_can_be_asked_for_by_name() -> None:
    assert "pynq" in FABRICS
