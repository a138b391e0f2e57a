"""The static design of a shell, driven by its addresses: DMAs, stream switches, a slot for each kernel or partition.

`convoy_schema.addresses` says which port a slot has; Vivado's scripts build the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from convoy_schema import addresses
from convoy_schema.addresses import Addresses

from convoy_device.errors import FabricError
from convoy_device.fabric.pynq.chip import Chip
from convoy_device.fabric.pynq.decoupler import Decoupler
from convoy_device.fabric.pynq.dma import Dma
from convoy_device.fabric.pynq.kernel import KernelRegisters
from convoy_device.fabric.pynq.switch import StreamSwitch
from convoy_device.fabric.pynq.waiting import Waiting

#: Control registers of the processor's first high-performance port (reading, writing), which DMA goes through. Bit 0
#: makes it 32 bits wide; ours are 64, and an earlier overlay may have set it.
_PORT_WIDTHS = (0xF800_8000, 0xF800_8014)
_NARROW = 1 << 0


@dataclass(frozen=True)
class Slot:
    """Where a kernel is, or can be loaded: number, registers, and for a partition its decouplers."""

    name: str
    index: int
    kernel: KernelRegisters
    registers_decoupler: Decoupler | None
    streams_decoupler: Decoupler | None

    @property
    def is_coupled(self) -> bool:
        """Whether nothing cuts it off."""
        return not any(decoupler.is_decoupled for decoupler in self._decouplers)

    def decouple(self) -> None:
        """Cut off streams, then registers; tries both before it raises."""
        failure: FabricError | None = None
        for decoupler in reversed(self._decouplers):
            try:
                decoupler.decouple()
            except FabricError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    @property
    def _decouplers(self) -> tuple[Decoupler, ...]:
        return tuple(filter(None, (self.registers_decoupler, self.streams_decoupler)))


class Design:
    """Drivers of one loaded shell."""

    def __init__(self, chip: Chip, table: Addresses, waiting: Waiting) -> None:
        self._chip = chip
        self.activations = Dma(chip, table.activation_dma, "activation", waiting, receives=True)
        self.parameters = Dma(chip, table.parameter_dma, "parameter", waiting, receives=False)
        count = len(table.slots)
        self._activation_switch = StreamSwitch(chip, table.activation_switch, count + 1, waiting)
        # A switch has two outputs or more; for one slot the second leads nowhere.
        self._parameter_switch = StreamSwitch(chip, table.parameter_switch, max(count, 2), waiting)
        self.slots = {slot.name: _slot(chip, index, slot, waiting) for index, slot in enumerate(table.slots)}

    def open_memory_port(self) -> None:
        """Make the port to memory as wide as the design has it."""
        for register in _PORT_WIDTHS:
            self._chip.write(register, self._chip.read(register) & ~_NARROW)

    def quiesce(self) -> None:
        """Stop both DMAs."""
        self.activations.quiesce()
        self.parameters.quiesce()

    def connect(self, slot: Slot) -> None:
        """Lead both DMAs' streams to `slot` and its results back; only while nothing flows."""
        self._activation_switch.connect({slot.index + 1: 0, 0: slot.index + 1})
        self._parameter_switch.connect({slot.index: 0})

    def loop_back(self) -> None:
        """Lead what the activation DMA sends straight back to it."""
        self._activation_switch.connect({0: 0})
        self._parameter_switch.connect({})

    def disconnect(self) -> None:
        """Let nothing flow anywhere."""
        self._activation_switch.connect({})
        self._parameter_switch.connect({})


def _slot(chip: Chip, index: int, slot: addresses.Slot, waiting: Waiting) -> Slot:
    def decoupler(base: int, what: str) -> Decoupler | None:
        return Decoupler(chip, base, f"the decoupler of {slot.name}'s {what}", waiting) if base else None

    return Slot(
        slot.name,
        index,
        KernelRegisters(chip, slot.registers, slot.name, waiting),
        decoupler(slot.registers_decoupler, "registers"),
        decoupler(slot.streams_decoupler, "streams"),
    )
