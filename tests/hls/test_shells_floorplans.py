"""One floorplan makes pblocks, partition table, capability message and allowed columns, and all four agree."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from convoy_bitstreams import floorplans
from convoy_device.fabric.emulated import EmulatedFabric
from convoy_schema.addresses import NETWORK
from convoy_schema.bitstream import FRAME_WORDS, XC7Z020, Block, FrameAddress, Region, check_partial, write_partial
from convoy_schema.errors import FloorplanError
from convoy_schema.floorplan import Area, PartitionPlan, parse
from convoy_shells import sites
from convoy_shells.constraints import sites as sites_of
from convoy_shells.constraints import xdc
from convoy_shells.plan import Folders, kernel_names, shell_plan, to_tcl
from shell_recorder import SHELLS, needs_tclsh, workplace

GEOMETRY = XC7Z020.geometry
FOLDERS = Folders(Path("/sources"), Path("/headers"), Path("/kernels"), Path("/files"))
TABLE = "[addresses]\nactivation_dma = 0x40400000\nparameter_dma = 0x40410000\nactivation_switch = 0x40420000\n"
TABLE += 'parameter_switch = 0x40430000\n[[addresses.slots]]\nname = "network"\nregisters = 0x40440000\n'
SMALL = 'shell = "s"\npart = "xc7z020"\nclock_hz = 1\nmemory_bytes = 2\nusable_bytes = 1\n[[kernels]]\nkind = "dense"\n'
SMALL += "channels = 1\nrow = 2\nfeatures = 3\n"


def plan_of(
    name: str, region: str, columns: tuple[tuple[int, int], ...], memory: tuple[int, ...] = ()
) -> PartitionPlan:
    return PartitionPlan(name, (Area(region, columns, tuple((c, c) for c in memory)),))


# ---- the map from columns to sites -----------------------------------------------------------------------------------


def test_the_chip_has_as_many_sites_as_its_data_sheet_says() -> None:
    found: dict[str, int] = defaultdict(int)
    for column in range(len(GEOMETRY.logic_minors)):
        for region in range(3):
            rows = [(1, 1), (1, 0), (0, 0)][region]
            # Column 18 holds no slices beside the processor either, though it takes part in the reset mask.
            if GEOMETRY.is_reserved(*rows, column) or (column == 18 and region):
                continue
            for rectangle in sites.rectangles(GEOMETRY, region, column, column):
                found[rectangle.type] += rectangle.count
    assert found["SLICE"] == 13_300
    assert found["DSP48"] == 220
    assert found["RAMB36"] == 140
    assert found["RAMB18"] == 280


@pytest.mark.parametrize(
    ("columns", "slices"),
    [
        ((26, 27), (36, 39)),
        ((28, 29), (40, 43)),
        ((30, 31), (44, 47)),
        ((38, 39), (56, 59)),
        ((40, 41), (60, 63)),
        ((42, 43), (64, 67)),
        ((20, 23), (28, 33)),
        ((34, 37), (50, 55)),
        ((40, 43), (60, 67)),
        ((60, 63), (94, 101)),
        ((68, 71), (106, 113)),
        ((44, 49), (68, 79)),  # the configuration centre
        ((19, 32), (26, 49)),  # what there is beside the processor
        ((53, 58), (84, 93)),
    ],
)
def test_slices_of_columns_that_real_bitstreams_show(columns: tuple[int, int], slices: tuple[int, int]) -> None:
    (found,) = (r for r in sites.rectangles(GEOMETRY, 1, *columns) if r.type == "SLICE")
    assert (found.left, found.right, found.bottom, found.top) == (*slices, 50, 99)


def test_block_ram_and_dsps_of_columns_that_real_bitstreams_show() -> None:
    assert str(sites.rectangles(GEOMETRY, 1, 22, 22)[1]) == "RAMB36_X2Y10:RAMB36_X2Y19"
    assert str(sites.rectangles(GEOMETRY, 2, 36, 36)[1]) == "RAMB36_X3Y20:RAMB36_X3Y29"
    assert str(sites.rectangles(GEOMETRY, 0, 25, 25)[0]) == "DSP48_X2Y0:DSP48_X2Y19"
    # A partition of columns 53 to 59 owned DSP48_X3 and RAMB36_X4; X0Y0 has X0 to X2 of both.
    assert {str(r).split("Y")[0] for r in sites.rectangles(GEOMETRY, 1, 53, 59)} == {
        "SLICE_X84",
        "DSP48_X3",
        "RAMB18_X4",
        "RAMB36_X4",
    }
    left = {r.type: (r.left, r.right) for r in sites.rectangles(GEOMETRY, 0, 0, 33)}
    assert left == {"SLICE": (0, 49), "DSP48": (0, 2), "RAMB18": (0, 2), "RAMB36": (0, 2)}


def test_the_runs_that_vivado_really_made_are_whole_pairs_of_columns() -> None:
    for first, last in ((26, 27), (28, 29), (30, 31), (38, 39), (20, 23), (34, 37), (60, 63), (68, 71)):
        sites.check_pairs(first, last, "there")
    # Asked for X38 to X45 (columns 27 to 30), Vivado took X40 to X43 (28 and 29).
    with pytest.raises(FloorplanError, match="columns 27 to 30 must begin with an even column"):
        sites.check_pairs(27, 30, "there")


# ---- the constraints -------------------------------------------------------------------------------------------------


def test_regions_above_one_another_are_one_rectangle() -> None:
    west = floorplans()["partitions"].partitions[0]
    assert [str(rectangle) for rectangle in sites_of(GEOMETRY, west)] == [
        "SLICE_X28Y50:SLICE_X47Y149",
        "DSP48_X2Y20:DSP48_X2Y59",
        "RAMB18_X2Y20:RAMB18_X2Y59",
        "RAMB36_X2Y10:RAMB36_X2Y29",
    ]
    apart = PartitionPlan("a", (Area("X1Y0", ((60, 63),)), Area("X1Y2", ((60, 63),))))
    assert len(sites_of(GEOMETRY, apart)) == 2


def test_the_partitions_are_as_large_as_the_floorplan_says() -> None:
    sizes = {}
    for partition in floorplans()["partitions"].partitions:
        found: dict[str, int] = defaultdict(int)
        for rectangle in sites_of(GEOMETRY, partition):
            found[rectangle.type] += rectangle.count
        sizes[partition.name] = (found["SLICE"], found["DSP48"], found["RAMB36"])
    assert sizes == {"west": (2000, 40, 20), "centre": (2500, 40, 30), "east": (2500, 40, 30)}


@pytest.mark.parametrize(
    ("partition", "reason"),
    [
        (plan_of("a", "X1Y1", ((35, 38),)), "a, X1Y1: columns 35 to 38 must begin"),
        (plan_of("a", "X1Y1", ((34, 36),)), "end with an odd one"),
        (plan_of("a", "X1Y1", ((34, 37),)), r"the block RAMs of columns \[3\], memory_columns name \[\]"),
        (plan_of("a", "X1Y1", ((38, 39),), (3,)), "Vivado writes both or neither"),
    ],
)
def test_a_partition_that_vivado_would_change_is_refused(partition: PartitionPlan, reason: str) -> None:
    with pytest.raises(FloorplanError, match=reason):
        sites_of(GEOMETRY, partition)


def test_a_plan_that_no_shell_can_be_built_from_is_refused() -> None:
    with pytest.raises(FloorplanError, match="built to its addresses"):
        shell_plan(parse(SMALL), FOLDERS)
    emulated = SMALL.replace('"xc7z020"', '"emulated-xc7z020"')
    with pytest.raises(FloorplanError, match="built for xc7z020, not emulated-xc7z020"):
        shell_plan(parse(emulated + TABLE), FOLDERS)
    area = '[[partitions]]\nname = "left-hand"\nareas = [{ clock_region = "X0Y1", columns = [[20, 21]] }]\n'
    table = TABLE.replace('"network"', '"left-hand"') + "registers_decoupler = 0x40450000\n"
    with pytest.raises(FloorplanError, match="no instance name"):
        shell_plan(parse(SMALL + area + table + "streams_decoupler = 0x40460000\n"), FOLDERS)
    braces = shell_plan(parse(SMALL + TABLE), Folders(Path("/a}"), Path("/"), Path("/"), Path("/")))
    with pytest.raises(FloorplanError, match="cannot be handed to Tcl"):
        to_tcl(braces)


def test_a_shell_of_one_network_compiles_that_and_the_others_every_kind() -> None:
    plans = floorplans()
    assert kernel_names(plans["fixed"]) == [NETWORK]
    for shell in ("layers", "partitions"):
        assert kernel_names(plans[shell]) == [kind.value for kind in plans[shell].kinds]


# ---- all four agree --------------------------------------------------------------------------------------------------


def frames_of_pblocks(text: str) -> dict[str, set[int]]:
    """The frames below the sites of each pblock of an XDC, counted from the widths of the columns anew."""
    frames: dict[str, set[int]] = defaultdict(set)
    column_of: dict[tuple[str, int], int] = {}
    seen: dict[str, int] = defaultdict(int)
    for column, minors in enumerate(GEOMETRY.logic_minors):
        if minors == 36:
            for x in (seen["SLICE"], seen["SLICE"] + 1):
                column_of["SLICE", x] = column
            seen["SLICE"] += 2
    site = r"(\w+)_X(\d+)Y(\d+):\w+_X(\d+)Y(\d+)"
    for name, kind, left, bottom, right, top in re.findall(rf"pblock_(\w+)\] -add {{{site}}}", text):
        height = {"SLICE": 50, "DSP48": 20, "RAMB18": 20, "RAMB36": 10}[kind]
        assert int(bottom) % height == 0, "whole clock regions"
        assert (int(top) + 1) % height == 0, "whole clock regions"
        for region in range(int(bottom) // height, (int(top) + 1) // height):
            half, row = GEOMETRY.clock_rows[region]
            for x in range(int(left), int(right) + 1):
                if kind == "SLICE":
                    column = column_of[kind, x]
                    add(frames[name], Block.LOGIC, half, row, column)
                elif kind == "RAMB36":
                    add(frames[name], Block.MEMORY, half, row, x)
    return frames


def add(frames: set[int], block: Block, half: int, row: int, column: int) -> None:
    for minor in range(GEOMETRY.minors(block)[column]):
        frames.add(GEOMETRY.number(FrameAddress(block, half, row, column, minor)))


@pytest.mark.parametrize("shell", SHELLS)
def test_pblocks_and_allowed_columns_agree(shell: str) -> None:
    plan = floorplans()[shell]
    pblocks = frames_of_pblocks(xdc(plan))
    assert set(pblocks) == set(plan.regions)
    for name, frames in pblocks.items():
        region = set(plan.regions[name].tolist())
        assert frames <= region
        # What no slice and no contents stand for: the columns that block RAMs and DSPs themselves are in.
        rest = {GEOMETRY.address(number) for number in region - frames}
        assert {GEOMETRY.logic_minors[address.column] for address in rest} <= {28}
        assert {address.block for address in rest} <= {Block.LOGIC}


def test_the_capability_message_names_the_same_partitions(tmp_path: Path) -> None:
    facts = EmulatedFabric(tmp_path, floorplans=floorplans()).facts
    plan = floorplans()["partitions"]
    assert [(place.name, set(place.kinds)) for place in facts.partitions] == [
        (place.name, set(plan.kinds)) for place in plan.partitions
    ]
    assert set(re.findall(r"create_pblock pblock_(\w+)", xdc(plan))) == {place.name for place in facts.partitions}
    assert set(facts.shells) == set(floorplans())


@needs_tclsh
def test_the_shells_partition_table_is_the_floorplans(tmp_path: Path) -> None:
    place = workplace("partitions", tmp_path / "shell")
    for tool in ("vitis_hls", "vivado"):
        assert place.run(tool).returncode == 0
    names = {partition.name for partition in place.plan.partitions}
    assert {tuple(words) for words in place.made("vivado", "pblock")} == {(f"pblock_{name}", name) for name in names}
    found: dict[str, set[str]] = defaultdict(set)
    for pblock, rectangle in place.made("vivado", "sites"):
        found[pblock.removeprefix("pblock_")].add(rectangle)
    expected = {p.name: {str(rectangle) for rectangle in sites_of(GEOMETRY, p)} for p in place.plan.partitions}
    assert found == expected


def test_the_checker_takes_what_covers_the_partition_and_nothing_beside_it() -> None:
    plan = floorplans()["partitions"]
    for name, frames in plan.regions.items():
        content = np.zeros((len(frames), FRAME_WORDS), dtype=np.uint32)
        image = write_partial(XC7Z020, "module", frames, content)
        for other, allowed in plan.regions.items():
            assert check_partial(image, Region(XC7Z020, other, allowed)).is_accepted is (name == other)


# ---- the Tcl dictionary ----------------------------------------------------------------------------------------------


@needs_tclsh
@pytest.mark.parametrize("shell", SHELLS)
def test_tcl_reads_back_what_was_written(shell: str, tmp_path: Path) -> None:
    written = shell_plan(floorplans()[shell], FOLDERS)
    (tmp_path / "plan.tcl").write_text(to_tcl(written), encoding="utf-8")
    script = 'source plan.tcl\nforeach {key value} $plan { puts "$key=[llength $value]=$value" }\n'
    done = subprocess.run(["tclsh"], input=script, cwd=tmp_path, capture_output=True, text=True, check=True)
    read = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert set(read) == set(written)
    for key, value in written.items():
        if isinstance(value, (list, dict)):
            assert read[key].startswith(f"{len(value) * (2 if isinstance(value, dict) else 1)}=")
        elif key != "cflags":
            assert read[key] == f"1={value}"
