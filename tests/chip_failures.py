"""What can go wrong at each step of loading a module into `west`, injected into the register model, and mended again.

Also time that does not pass by itself, for deadlines.
"""

from __future__ import annotations

import errno

from chip_blocks import DecouplerModel
from chip_model import ChipModel
from convoy_device.fabric.pynq.waiting import Waiting
from convoy_schema.registers import identity
from convoy_schema.topology import Kind


class FastTime:
    """A clock that runs on with every look, so that no test waits for a deadline."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        self.now += 0.0002
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def waiting(self) -> Waiting:
        return Waiting(self.clock, self.sleep)


def no_firmware_folder(model: ChipModel) -> None:
    model.paths.firmware.rmdir()


def flags_refused(model: ChipModel) -> None:
    model.faults["flags"] = errno.EACCES


def firmware_refused(model: ChipModel) -> None:
    model.faults["firmware"] = errno.ETIMEDOUT


def bad_state(model: ChipModel) -> None:
    model.faults["state"] = "write complete error"


def streams_decoupler_stuck(model: ChipModel) -> None:
    decoupler = model.slot("west").streams_decoupler
    assert decoupler is not None
    decoupler.write(0, 0)
    decoupler.stuck = True


def registers_decoupler_stuck(model: ChipModel) -> None:
    decoupler = model.slot("west").registers_decoupler
    assert decoupler is not None
    decoupler.write(0, 0)
    decoupler.stuck = True


def wrong_identity(model: ChipModel) -> None:
    model.faults["identity"] = identity(Kind.ADD)


def another_version(model: ChipModel) -> None:
    model.faults["identity"] = identity(Kind.DENSE) + 1


def no_identity(model: ChipModel) -> None:
    model.faults["identity-invalid"] = True


def identity_never_comes(model: ChipModel) -> None:
    model.faults["kernel-hangs"] = True


def dma_neither_stops_nor_resets(model: ChipModel) -> None:
    model.faults["dma-stuck"] = True
    model.faults["reset-stuck"] = True
    for which in ("activation", "parameter"):
        model.dma(which).send.status &= ~1


#: What goes wrong, what the error must speak of, and whether the decoupler itself is what failed.
FAILURES = [
    (no_firmware_folder, "cannot be written", False),
    (flags_refused, "flags refused '1'", False),
    (firmware_refused, "firmware refused 'convoy-", False),
    (bad_state, "'operating' after a load, it says 'write complete error'", False),
    (streams_decoupler_stuck, "decoupler of west's streams should be decoupled", True),
    (registers_decoupler_stuck, "decoupler of west's registers should be decoupled", True),
    (wrong_identity, "should hold a dense .* a add", False),
    (another_version, "no kernel of this library and version", False),
    (no_identity, "without saying what it is", False),
    (identity_never_comes, "west: the kernel's run should take less", False),
    (dma_neither_stops_nor_resets, "activation DMA: its reset should take less", False),
]


def mend(model: ChipModel) -> None:
    """Take every failure back; what it left behind in the chip stays."""
    model.faults.clear()
    model.paths.firmware.mkdir(exist_ok=True)
    for decoupler in (model.slot("west").registers_decoupler, model.slot("west").streams_decoupler):
        assert isinstance(decoupler, DecouplerModel)
        decoupler.stuck = False
    for which in ("activation", "parameter"):
        model.dma(which).words.clear()
