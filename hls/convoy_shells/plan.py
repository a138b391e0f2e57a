"""The Tcl dictionary that hls/shells/*.tcl build one shell from: names, addresses, partitions, kernels, files.

Everything in it comes from the floorplan and from what `hls/convoy_hls` compiles; the scripts hold no number that
could differ. `build` writes it, tests read it back with tclsh.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Union

from convoy_schema.addresses import NETWORK
from convoy_schema.errors import FloorplanError
from convoy_schema.floorplan import Floorplan

from convoy_shells import verilog
from convoy_shells.constraints import pblock, sites

#: The part with its package and speed grade, as the tools name it. The PYNQ-Z2 carries this one.
DEVICES: Final = {"xc7z020": "xc7z020clg400-1"}
#: Bits of a DMA's length register: the largest that the driver may ask for in one go is 2^26 - 1 bytes.
LENGTH_BITS: Final = 26
VENDOR, LIBRARY, VERSION = "convoy", "hls", "1.0"

#: Source and top function of a kernel, where they are not called after its kind.
_OTHERS: Final = {NETWORK: ("lenet5", "lenet5_chain")}

Value = Union[str, int, float, Path, "Mapping[str, Value]", "Sequence[Value]"]


@dataclass(frozen=True)
class Folders:
    """Where the scripts find and put things: sources of the kernels, their projects, and the generated files."""

    sources: Path
    headers: Path
    kernels: Path
    generated: Path


def shell_plan(plan: Floorplan, folders: Folders) -> dict[str, Value]:
    """The dictionary of one shell; raises `FloorplanError` where no shell can be built from the floorplan."""
    if plan.addresses is None:
        raise FloorplanError(f"floorplan {plan.shell}: a shell is built to its addresses, and there are none")
    if plan.part.name not in DEVICES:
        raise FloorplanError(f"floorplan {plan.shell}: shells are built for {', '.join(DEVICES)}, not {plan.part.name}")
    for partition in plan.partitions:
        if not partition.name.isidentifier():
            raise FloorplanError(f"floorplan {plan.shell}: {partition.name!r} would be no instance name in Verilog")
    addresses = plan.addresses
    folder = folders.generated
    return {
        "shell": plan.shell,
        "part": DEVICES[plan.part.name],
        "clock_mhz": plan.clock_hz / 1e6,
        "clock_ns": 1e9 / plan.clock_hz,
        "length_bits": LENGTH_BITS,
        "vendor": VENDOR,
        "library": LIBRARY,
        "version": VERSION,
        "cflags": f"-std=c++14 -I{folders.headers}",
        "kernel_folder": folders.kernels,
        "top": verilog.top_name(plan.shell),
        "top_file": folder / "top.v",
        "constraints": folder / "partitions.xdc",
        "module_files": {place.name: folder / f"{place.name}.v" for place in plan.partitions},
        "activation_dma": _hex(addresses.activation_dma),
        "parameter_dma": _hex(addresses.parameter_dma),
        "activation_switch": _hex(addresses.activation_switch),
        "parameter_switch": _hex(addresses.parameter_switch),
        "slots": [
            {
                "cell": identifier(slot.name),
                "vlnv": vlnv(slot.name) if not plan.partitions else "",
                "registers": _hex(slot.registers),
                "registers_decoupler": _hex(slot.registers_decoupler),
                "streams_decoupler": _hex(slot.streams_decoupler),
            }
            for slot in addresses.slots
        ],
        "partitions": {
            place.name: {
                "module": verilog.module_name(place.name),
                "pblock": pblock(place.name),
                "sites": [str(rectangle) for rectangle in sites(plan.part.geometry, place)],
            }
            for place in plan.partitions
        },
        "kernels": [_kernel(name, folders) for name in kernel_names(plan)],
    }


def kernel_names(plan: Floorplan) -> list[str]:
    """What has to be compiled for a shell: each kind, or the one network that is in its fixed logic."""
    slots = plan.addresses.slots if plan.addresses else ()
    if [slot.name for slot in slots] == [NETWORK]:
        return [NETWORK]
    return [kind.value for kind in plan.kinds]


def identifier(name: str) -> str:
    """A kind's or slot's name as Verilog, C and Vivado can take it."""
    return name.replace("-", "_")


def source_and_top(name: str) -> tuple[str, str]:
    """The C++ file of a kernel, below `kernels/`, and the function in it that becomes the IP."""
    source, top = _OTHERS.get(name, (identifier(name), identifier(name)))
    return f"{source}.cpp", top


def vlnv(name: str) -> str:
    """A kernel's identity in Vivado's catalogue."""
    return f"{VENDOR}:{LIBRARY}:{source_and_top(name)[1]}:{VERSION}"


def to_tcl(plan: Mapping[str, Value]) -> str:
    """A script that sets `plan` to the dictionary."""
    return f"set plan {_word(plan)}\n"


def _kernel(name: str, folders: Folders) -> dict[str, Value]:
    source, top = source_and_top(name)
    return {
        "name": name,
        "cell": identifier(name),
        "top": top,
        "vlnv": vlnv(name),
        "source": folders.sources / source,
    }


def _hex(address: int) -> str:
    return f"0x{address:08X}"


def _word(value: Value) -> str:
    if isinstance(value, Mapping):
        return "{" + " ".join(f"{_word(key)} {_word(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "{" + " ".join(map(_word, value)) + "}"
    text = value.as_posix() if isinstance(value, Path) else str(value)
    if any(character in text for character in "{}\\"):
        raise FloorplanError(f"{text!r} cannot be handed to Tcl: a path must be without braces and backslashes")
    return "{" + text + "}"
