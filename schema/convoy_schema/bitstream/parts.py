"""The parts that Convoy knows: IDCODE, the header's part text, and frame geometry.

The emulated part has the xc7z020's geometry and an IDCODE that no chip can answer, so a real board refuses its images.
"""

from __future__ import annotations

from dataclasses import dataclass

from convoy_schema.bitstream.frames import ColumnSpan, Geometry
from convoy_schema.errors import BitstreamError, shown

#: The top four bits are the silicon's revision, which a configuration port ignores.
REVISION_MASK = 0x0FFFFFFF


@dataclass(frozen=True)
class Part:
    """`text` is how the part field of a .bit header begins."""

    name: str
    text: str
    idcode: int
    geometry: Geometry

    def answers(self, idcode: int) -> bool:
        """Whether this part lets an image with `idcode` in."""
        return (idcode ^ self.idcode) & REVISION_MASK == 0


_CLB, _COLUMN28, _CLOCK, _IO = (36,), (28,), (30,), (42,)

#: Left to right, in minors: 36 a pair of CLB columns, 28 block RAM or DSP, 30 clocking or configuration, 42 I/O.
#: Taken from Project X-Ray's part description and checked against real files by the tests.
_LOGIC_MINORS = (
    *(_IO + _CLOCK + _CLB * 4 + _COLUMN28 + _CLB * 2 + _COLUMN28 + _CLB * 4),
    *(_COLUMN28 + _CLB * 2 + _COLUMN28 + _CLB * 4 + _COLUMN28 + _CLB * 2 + _COLUMN28 + _CLB * 7 + _CLOCK),
    *(_CLB * 2 + _COLUMN28 + _CLB * 13 + _CLOCK + _CLB * 5 + _COLUMN28 + _CLB * 2 + _COLUMN28 + _CLB * 4),
    *(_COLUMN28 + _CLB * 2 + _COLUMN28 + _CLB * 4 + _CLOCK + _IO),
)

_XC7Z020_GEOMETRY = Geometry(
    rows=((0, 0), (1, 0), (1, 1)),
    clock_rows=((1, 1), (1, 0), (0, 0)),
    logic_minors=_LOGIC_MINORS,
    memory_minors=(128,) * 6,
    divide=(34, 3),
    reserved=(
        ColumnSpan(0, 0, 0, 17),  # the processor system, beside the upper two rows
        ColumnSpan(1, 0, 0, 17),
        ColumnSpan(0, 0, 44, 49),  # the configuration centre
        ColumnSpan(1, 0, 44, 49),
    ),
)

XC7Z020 = Part("xc7z020", "7z020", 0x03727093, _XC7Z020_GEOMETRY)

#: Bits 11 to 1 are a manufacturer's number, 0x049 for Xilinx. 0x07F is JEDEC's continuation code, which IEEE 1149.1
#: forbids as an identity: no chip of any maker answers it.
EMULATED_XC7Z020 = Part("emulated-xc7z020", "emulated-xc7z020", 0x037270FF, _XC7Z020_GEOMETRY)

PARTS = {part.name: part for part in (XC7Z020, EMULATED_XC7Z020)}


def part_named(name: str) -> Part:
    """The part of that name; `BitstreamError` that lists the known ones."""
    if name not in PARTS:
        raise BitstreamError(f"part {shown(name)} is not one of {', '.join(PARTS)}", part=name)
    return PARTS[name]


def part_of(idcode: int) -> Part | None:
    """The part that answers `idcode`, or None."""
    return next((part for part in PARTS.values() if part.answers(idcode)), None)
