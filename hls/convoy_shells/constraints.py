"""The XDC of a shell's partitions, and the sites that each of them owns, from its floorplan.

The same columns decide what the checker allows (`Floorplan.regions`), so Vivado's script compares the region that the
tools derive from these constraints with them and stops if they differ. `plan` and `build` call it.
"""

from __future__ import annotations

import re
from collections import defaultdict

from convoy_schema.bitstream import Geometry
from convoy_schema.errors import FloorplanError
from convoy_schema.floorplan import Floorplan, PartitionPlan

from convoy_shells.sites import Rectangle, Use, check_pairs, number, rectangles, use

_HEAD = """\
# Made from the floorplan of shell {shell}: change that, not this.
"""

_PARTITION = """
create_pblock {pblock}
add_cells_to_pblock [get_pblocks {pblock}] [get_cells {cell}]
{ranges}
set_property RESET_AFTER_RECONFIG true [get_pblocks {pblock}]
set_property SNAPPING_MODE ON [get_pblocks {pblock}]
set_property HD.RECONFIGURABLE true [get_cells {cell}]
"""


def sites(geometry: Geometry, plan: PartitionPlan) -> tuple[Rectangle, ...]:
    """The sites of a partition: rectangles that touch one above the other are one.

    Raises `FloorplanError` where a run splits a pair of interconnect columns, or where the columns of block-RAM
    contents are not those of the block RAMs among the logic columns.
    """
    parts: dict[tuple[str, int, int], list[tuple[int, int]]] = defaultdict(list)
    for area in plan.areas:
        row = int(re.sub(r"X[01]Y", "", area.clock_region))
        memories: list[int] = []
        for first, last in area.columns:
            check_pairs(first, last, f"partition {plan.name}, {area.clock_region}")
            memories += [number(geometry, c) for c in range(first, last + 1) if use(geometry, c) is Use.MEMORY]
            for found in rectangles(geometry, row, first, last):
                parts[found.type, found.left, found.right].append((found.bottom, found.top))
        named = [column for first, last in area.memory_columns for column in range(first, last + 1)]
        if sorted(named) != memories:
            raise FloorplanError(
                f"partition {plan.name}, {area.clock_region}: its logic columns hold the block RAMs of columns "
                f"{memories}, memory_columns name {named}; Vivado writes both or neither"
            )
    return tuple(
        Rectangle(site, left, right, bottom, top)
        for (site, left, right), spans in parts.items()
        for bottom, top in _joined(spans)
    )


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for bottom, top in sorted(spans):
        if joined and joined[-1][1] + 1 == bottom:
            joined[-1] = (joined[-1][0], top)
        else:
            joined.append((bottom, top))
    return joined


def pblock(partition: str) -> str:
    """Name of a partition's pblock."""
    return f"pblock_{partition}"


def xdc(plan: Floorplan) -> str:
    """The constraints of every partition of a shell; only a heading for a shell without any."""
    blocks = [_HEAD.format(shell=plan.shell)]
    for partition in plan.partitions:
        name = pblock(partition.name)
        ranges = "\n".join(
            f"resize_pblock [get_pblocks {name}] -add {{{rectangle}}}"
            for rectangle in sites(plan.part.geometry, partition)
        )
        blocks.append(_PARTITION.format(pblock=name, cell=partition.name, ranges=ranges))
    return "".join(blocks)
