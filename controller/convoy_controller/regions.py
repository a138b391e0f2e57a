"""Which region an image is checked for: from a floorplan, or from columns, with a handoff's word on part and names.

Text and bytes in, a `Region` out; files are read by the command line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from convoy_schema.bitstream import Indices, Part, Region
from convoy_schema.floorplan import Area, PartitionPlan, Spans, frames_of

from convoy_controller.errors import NotFoundError, RegionError
from convoy_controller.handoff import Handoff

_COLUMNS = re.compile(r"(X[01]Y\d):(\d{1,4}(?:-\d{1,4})?(?:,\d{1,4}(?:-\d{1,4})?)*)")


def region_in(regions: Mapping[str, Indices], part: Part, partition: str) -> Region:
    """One partition of a floorplan; raises `NotFoundError` that lists the others."""
    if partition not in regions:
        known = ", ".join(regions) or "none"
        raise NotFoundError(f"the floorplan has no partition {partition!r}; it has {known}")
    others = {name: frames for name, frames in regions.items() if name != partition}
    return Region(part, partition, regions[partition], others)


def region_from(part: Part, partition: str, columns: Sequence[str], memory_columns: Sequence[str]) -> Region:
    """A region of columns such as X0Y1:20-23,26; raises `RegionError` or `FloorplanError` for what cannot be one."""
    logic, memory = _areas(columns, "--columns"), _areas(memory_columns, "--memory-columns")
    places = dict.fromkeys((*logic, *memory))
    areas = tuple(Area(place, logic.get(place, ()), memory.get(place, ())) for place in places)
    frames = frames_of(part.geometry, PartitionPlan(partition, areas))
    if not frames.size:
        raise RegionError("a partition needs columns: give --columns X0Y1:20-23")
    return Region(part, partition, frames)


def check_handoff(handoff: Handoff, partition: str) -> None:
    """Raise `NotFoundError` unless the design has that partition, as far as its handoff names any."""
    if handoff.partitions and partition not in handoff.partitions:
        known = ", ".join(handoff.partitions)
        raise NotFoundError(f"the handoff of {handoff.design} has no partition {partition!r}; it has {known}")


def _areas(texts: Sequence[str], option: str) -> dict[str, Spans]:
    found: dict[str, Spans] = {}
    for text in texts:
        match = _COLUMNS.fullmatch(text)
        if match is None:
            raise RegionError(
                f"{option} must be a clock region and columns, such as X0Y1:20-23 or X1Y0:36,38-41; {text!r} came"
            )
        spans = []
        for piece in match[2].split(","):
            first, _, last = piece.partition("-")
            spans.append((int(first), int(last or first)))
        found[match[1]] = (*found.get(match[1], ()), *spans)
    return found
