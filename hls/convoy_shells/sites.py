"""Where a column of the frame address lies on the chip: SLICE, DSP48 and RAMB sites of the xc7z020.

Constraints name sites, the checker names columns; this is the map between the two. It does not read floorplans.
`constraints` calls it.

The numbers follow from the widths of the columns (in `convoy_schema.bitstream.parts`): a column of 36 minors is one
pair of SLICE_X numbers, one of 28 minors is a column of block RAM or of DSPs. Checked against real bitstreams: every
SLICE number, RAMB36_X2 and X3, DSP48_X2. Of columns 6, 9, 14 and 17 (below X0Y1 only) and of 56, 59, 64 and 67 it is
only known how many hold block RAM and how many DSPs, and the order here is a guess: `MAPPED` marks them. A partition
with all of 56 to 67, as those that ship have, owns the same sites whichever way round they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from convoy_schema.bitstream import Geometry
from convoy_schema.errors import FloorplanError

#: Sites of one column in one clock region. A RAMB36 is two RAMB18.
ROWS: Final = {"SLICE": 50, "DSP48": 20, "RAMB18": 20, "RAMB36": 10}

_CLB, _SPECIAL = 36, 28


class Use(Enum):
    """What a column holds."""

    CLB = "clb"
    MEMORY = "memory"
    DSP = "dsp"
    OTHER = "other"  # I/O, clocks, configuration: nothing that a partition can own


#: Block RAM or DSP, for columns of 28 minors from left to right. False: only how many of each there are is known.
MAPPED: Final = {
    6: (Use.MEMORY, False),
    9: (Use.DSP, False),
    14: (Use.DSP, False),
    17: (Use.MEMORY, False),
    22: (Use.MEMORY, True),
    25: (Use.DSP, True),
    36: (Use.MEMORY, True),
    56: (Use.DSP, False),
    59: (Use.MEMORY, False),
    64: (Use.MEMORY, False),
    67: (Use.DSP, False),
}


@dataclass(frozen=True)
class Rectangle:
    """Sites of one type, from the lower left to the upper right one, ends included."""

    type: str
    left: int
    right: int
    bottom: int
    top: int

    def __str__(self) -> str:
        return f"{self.type}_X{self.left}Y{self.bottom}:{self.type}_X{self.right}Y{self.top}"

    @property
    def count(self) -> int:
        """How many sites it holds; on a chip's gaps in a row of numbers fewer are real."""
        return (self.right - self.left + 1) * (self.top - self.bottom + 1)


def use(geometry: Geometry, column: int) -> Use:
    """What a logic column holds."""
    minors = geometry.logic_minors[column]
    if minors == _CLB:
        return Use.CLB
    return MAPPED[column][0] if minors == _SPECIAL else Use.OTHER


def number(geometry: Geometry, column: int) -> int:
    """The X of a column's sites; of a column of slices, the lower one of its two."""
    kind = use(geometry, column)
    before = sum(use(geometry, other) is kind for other in range(column))
    return 2 * before if kind is Use.CLB else before


def check_pairs(first: int, last: int, where: str) -> None:
    """Refuse a run of columns that splits a pair of interconnect columns (an even one and the next)."""
    if first % 2 or not last % 2:
        raise FloorplanError(
            f"{where}: columns {first} to {last} must begin with an even column and end with an odd one: interconnect "
            "stands back to back in such pairs, and Vivado would shrink the region to whole ones"
        )


def rectangles(geometry: Geometry, region: int, first: int, last: int) -> tuple[Rectangle, ...]:
    """Every site of columns `first` to `last` in the clock region `region` rows up, as few rectangles as there can be.

    A run of columns is a rectangle of slices, one of DSPs and one each of RAMB18 and RAMB36, where it has any.
    """
    found: list[Rectangle] = []
    kinds = {Use.CLB: ("SLICE",), Use.DSP: ("DSP48",), Use.MEMORY: ("RAMB18", "RAMB36")}
    for kind, types in kinds.items():
        columns = [column for column in range(first, last + 1) if use(geometry, column) is kind]
        if not columns:
            continue
        left, right = number(geometry, columns[0]), number(geometry, columns[-1]) + (kind is Use.CLB)
        for site in types:
            found.append(Rectangle(site, left, right, ROWS[site] * region, ROWS[site] * (region + 1) - 1))
    return tuple(found)
