"""Real Vivado files, wherever they are, and the partitions of the designs that they are of."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from convoy_schema.bitstream import XC7Z020, ColumnSpan, Indices, Region

#: (half, row) of the clock regions Y2, Y1 and Y0.
ALL_ROWS = ((0, 0), (1, 0), (1, 1))
MIDDLE_ROW = ((1, 0),)

#: design, partition: logic columns, memory columns, rows; from the implemented regions, not from the constraints.
COLUMNS = {
    ("prio", "pr_0"): ((26, 27), (), MIDDLE_ROW),
    ("prio", "pr_1"): ((28, 29), (), MIDDLE_ROW),
    ("prio", "pr_2"): ((30, 31), (), MIDDLE_ROW),
    ("prio", "pr_3"): ((38, 39), (), MIDDLE_ROW),
    ("prio", "pr_4"): ((40, 41), (), MIDDLE_ROW),
    ("prio", "pr_5"): ((42, 43), (), MIDDLE_ROW),
    ("prio_linux", "pr_0"): ((20, 23), (2,), ALL_ROWS),
    ("prio_linux", "pr_1"): ((28, 29), (), ALL_ROWS),
    ("prio_linux", "pr_2"): ((34, 37), (3,), ALL_ROWS),
    ("prio_linux", "pr_3"): ((40, 43), (), ALL_ROWS),
    ("prio_linux", "pr_4"): ((60, 63), (), ALL_ROWS),
    ("prio_linux", "pr_5"): ((68, 71), (), ALL_ROWS),
}
PARTIALS = {
    "prio_pr_0_gpio.bit": ("prio", "pr_0"),
    "prio_pr_3_uart.bit": ("prio", "pr_3"),
    "prio_linux_pr_1_gpio.bit": ("prio_linux", "pr_1"),
    "prio_linux_pr_2_iic.bit": ("prio_linux", "pr_2"),
}
FULL = "prio.bit.gz"


def path_of(name: str) -> Path:
    """Where a real file is; skips the test where it is absent."""
    given_folder = os.environ.get("CONVOY_DATA")
    roots = [Path(given_folder)] if given_folder else []
    roots.append(Path(__file__).resolve().parents[1].parent / "shared")
    for root in roots:
        for folder in (root / "bitstreams", root):
            if (folder / name).is_file():
                return folder / name
    pytest.skip(f"{name} is not here: set CONVOY_DATA to the folder that has bitstreams/")


def real(name: str) -> bytes:
    """A real file, unpacked; skips the test where it is absent."""
    content = path_of(name).read_bytes()
    return gzip.decompress(content) if name.endswith(".gz") else content


def region_of(design: str, partition: str) -> Region:
    """The region of a real partition."""
    return Region(XC7Z020, partition, frames_of(*COLUMNS[design, partition]))


def frames_of(columns: tuple[int, ...], memory: tuple[int, ...], rows: tuple[tuple[int, int], ...]) -> Indices:
    """Frames of the columns from the first to the last, in each row."""
    geometry = XC7Z020.geometry
    pieces = [geometry.span(0, ColumnSpan(*row, columns[0], columns[-1])) for row in rows]
    pieces += [geometry.span(1, ColumnSpan(*row, column, column)) for row in rows for column in memory]
    return np.sort(np.concatenate(pieces))


def floorplan_of(design: str) -> str:
    """A floorplan of a design, as its owner would write one."""
    lines = ['part = "xc7z020"']
    for (owner, partition), (columns, memory, rows) in COLUMNS.items():
        if owner != design:
            continue
        side = "X1" if columns[0] >= 34 else "X0"
        lines += ["[[partitions]]", f'name = "{partition}"', "areas = ["]
        for row in rows:
            region = side + {(0, 0): "Y2", (1, 0): "Y1", (1, 1): "Y0"}[row]
            spans = f"columns = [[{columns[0]}, {columns[-1]}]]"
            spans += f", memory_columns = [[{memory[0]}, {memory[0]}]]" if memory else ""
            lines.append(f'    {{ clock_region = "{region}", {spans} }},')
        lines.append("]")
    return "\n".join(lines)
