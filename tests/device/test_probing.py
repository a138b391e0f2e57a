"""A fabric is asked whether it still answers: by a register of what is configured, and of nothing that is cut off."""

from pathlib import Path

import pytest
from chip_failures import FastTime
from chip_images import module_image, shell_image
from chip_model import ChipModel
from convoy_bitstreams import catalogue, floorplans
from convoy_device.errors import FabricError
from convoy_device.fabric.emulated import MEMORY_FILE, EmulatedFabric
from convoy_device.fabric.processor import ProcessorFabric
from convoy_device.fabric.pynq.fabric import PynqFabric
from convoy_schema.topology import Kind
from driven_chip import ModelChip


def test_a_board_s_kernels_say_what_they_are(tmp_path: Path) -> None:
    model = ChipModel(tmp_path / "chip")
    fabric = PynqFabric(
        ModelChip(model), tmp_path / "state", floorplans=floorplans(), paths=model.paths, waiting=FastTime().waiting
    )
    fabric.probe()  # blank: there is nothing to ask
    fabric.load_shell(shell_image())
    model.faults["identity"] = 0xDEADBEEF
    fabric.probe()  # every partition is cut off
    model.faults.clear()
    fabric.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    fabric.probe()
    model.faults["identity"] = 0xDEADBEEF
    with pytest.raises(FabricError, match="answers 0xDEADBEEF"):
        fabric.probe()
    model.faults.clear()
    fabric.load_shell(shell_image("layers"))
    fabric.probe()
    fabric.close()


def test_the_emulated_part_s_memory_is_read(tmp_path: Path) -> None:
    fabric = EmulatedFabric(tmp_path, floorplans=floorplans())
    fabric.probe()
    images = catalogue()
    fabric.load_shell(images.read(images.shell("layers", "emulated-xc7z020").digest))
    fabric.probe()
    (tmp_path / MEMORY_FILE).write_bytes(b"")
    with pytest.raises(FabricError, match="it was cut"):
        fabric.probe()
    fabric.close()


def test_a_processor_has_nothing_to_ask() -> None:
    ProcessorFabric().probe()
