"""Where the processor finds what it drives in a shell: byte addresses of AXI-Lite blocks, and ports of the switches.

The table `[addresses]` of a floorplan: Vivado's scripts assign these addresses, the board's driver uses them, and so no
hardware handoff has to travel with an image. `parse` checks the table; `convoy_schema.floorplan` calls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from convoy_schema.errors import FloorplanError, TopicError, shown
from convoy_schema.names import check_name

#: The window of the processor's first general-purpose master port, and the bytes that each block takes of it.
WINDOW: Final = range(0x4000_0000, 0x8000_0000)
BLOCK_BYTES: Final = 0x1_0000
#: What an AXI4-Stream switch has at most, the DMA's port included.
SWITCH_PORTS: Final = 16
#: The slot of a shell that holds one whole network in a single block of registers.
NETWORK: Final = "network"


@dataclass(frozen=True)
class Slot:
    """A kernel, or the partition that one is loaded into. `name` is the partition's, the kind's, or `NETWORK`.

    A partition has two decouplers: of its registers, and of its streams, so that a module can be asked what it is
    before anything streams into it. 0 where there is none.
    """

    name: str
    registers: int
    registers_decoupler: int = 0
    streams_decoupler: int = 0

    @property
    def blocks(self) -> tuple[int, ...]:
        """Addresses of the blocks that it has."""
        return tuple(filter(None, (self.registers, self.registers_decoupler, self.streams_decoupler)))


@dataclass(frozen=True)
class Addresses:
    """Two DMAs and two stream switches in front of the slots.

    On the activation switch, a crossbar, the activation DMA is port 0 of both sides and slot n (from 0) port n + 1; on
    the parameter switch the parameter DMA is the only input and slot n is output n.
    """

    activation_dma: int
    parameter_dma: int
    activation_switch: int
    parameter_switch: int
    slots: tuple[Slot, ...]

    @property
    def blocks(self) -> tuple[int, ...]:
        """Addresses of every block."""
        shared = (self.activation_dma, self.parameter_dma, self.activation_switch, self.parameter_switch)
        return (*shared, *(block for slot in self.slots for block in slot.blocks))

    def index(self, name: str) -> int:
        """Number of the slot called `name`, from 0; raises `FloorplanError`."""
        for index, slot in enumerate(self.slots):
            if slot.name == name:
                return index
        known = ", ".join(slot.name for slot in self.slots)
        raise FloorplanError(f"addresses: there is no slot {shown(name)}; there are {known}", slot=name)


def parse(table: Any) -> Addresses:
    """The table `[addresses]` of a floorplan; raises `FloorplanError` that says what must be there and what came."""
    if not isinstance(table, dict):
        raise FloorplanError(f"addresses must be a table, {shown(table)} came")
    shared = [field.name for field in fields(Addresses) if field.name != "slots"]
    _refuse_unknown(table, {*shared, "slots"}, "addresses")
    slots = table.get("slots")
    if not isinstance(slots, list) or not 1 <= len(slots) < SWITCH_PORTS:
        raise FloorplanError(f"addresses: slots must be 1 to {SWITCH_PORTS - 1} tables, {shown(slots)} came")
    found = Addresses(slots=tuple(map(_slot, slots)), **{key: _address(table, key, "addresses") for key in shared})
    names = [slot.name for slot in found.slots]
    if len(set(names)) != len(names):
        raise FloorplanError(f"addresses: each slot has a name of its own, {', '.join(names)} came")
    if len(set(found.blocks)) != len(found.blocks):
        raise FloorplanError("addresses: two blocks have the same address")
    return found


def _slot(table: Any) -> Slot:
    if not isinstance(table, dict):
        raise FloorplanError(f"addresses: each of slots must be a table, {shown(table)} came")
    decouplers = ("registers_decoupler", "streams_decoupler")
    _refuse_unknown(table, {"name", "registers", *decouplers}, "a slot")
    if not isinstance(table.get("name"), str):
        raise FloorplanError(f"addresses: a slot's name must be a string, {shown(table.get('name'))} came")
    try:
        name = check_name(table["name"], "slot")
    except TopicError as error:
        raise FloorplanError(f"addresses: {error}") from error
    if len(set(decouplers) & set(table)) == 1:
        raise FloorplanError(f"addresses: slot {name} needs both {' and '.join(decouplers)}, or neither", slot=name)
    keys = ("registers", *(key for key in decouplers if key in table))
    return Slot(name, **{key: _address(table, key, f"slot {name}") for key in keys})


def _address(table: Mapping[str, Any], key: str, where: str) -> int:
    value = table.get(key)
    if type(value) is not int or value not in WINDOW or value % BLOCK_BYTES:
        came = f"0x{value:08X}" if type(value) is int else shown(value)
        raise FloorplanError(
            f"{where}: {key} must be a multiple of 0x{BLOCK_BYTES:X} from 0x{WINDOW.start:08X} to "
            f"0x{WINDOW.stop - 1:08X}, {came} came",
            key=key,
        )
    return value


def _refuse_unknown(table: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        raise FloorplanError(f"{where}: unknown key {shown(unknown[0])}; known are {', '.join(sorted(known))}")
