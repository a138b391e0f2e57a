"""The floorplans that ship are sound, and a wrong one is refused by the key that is wrong."""

from __future__ import annotations

from contextlib import suppress
from itertools import combinations

import numpy as np
import pytest
from convoy_bitstreams import floorplans
from convoy_schema.bitstream import XC7Z020, Block
from convoy_schema.errors import FloorplanError
from convoy_schema.floorplan import Floorplan, parse
from convoy_schema.topology import Kind
from hypothesis import given, settings
from hypothesis import strategies as st

HEAD = 'shell = "s"\npart = "xc7z020"\nclock_hz = 1\nmemory_bytes = 2\nusable_bytes = 1\n'
KERNEL = '[[kernels]]\nkind = "dense"\nchannels = 1\nrow = 2\nfeatures = 3\n'
GEOMETRY = XC7Z020.geometry


def partition(name: str, region: str = "X0Y1", columns: str = "[[20, 21]]", memory: str = "[]") -> str:
    area = f'{{ clock_region = "{region}", columns = {columns}, memory_columns = {memory} }}'
    return f'[[partitions]]\nname = "{name}"\nareas = [{area}]\n'


def test_the_three_shells_are_there() -> None:
    plans = floorplans()
    assert set(plans) == {"fixed", "layers", "partitions"}
    for plan in plans.values():
        assert plan.part is XC7Z020
        assert plan.clock_hz == 100_000_000
        assert plan.memory_bytes == 512 * 2**20
        assert plan.usable_bytes == 128 * 2**20
        assert set(plan.kinds) == (set() if plan.shell == "fixed" else set(Kind))
        assert plan.is_network is (plan.shell == "fixed")
    assert [p.name for p in plans["partitions"].partitions] == ["west", "centre", "east"]
    assert plans["partitions"].fixed_kernels == ()
    for shell in ("layers", "fixed"):
        assert plans[shell].partitions == ()
        assert plans[shell].fixed_kernels == plans[shell].kernels
        assert len(plans[shell].static) == GEOMETRY.memory_frames


def test_the_partitions_cover_whole_columns_of_fabric_and_leave_the_rest_static() -> None:
    plan = floorplans()["partitions"]
    sizes = {name: len(region) for name, region in plan.regions.items()}
    assert sizes == {"west": 2 * (416 + 128), "centre": 1040 + 384, "east": 1040 + 384}
    everything = np.concatenate([plan.static, *plan.regions.values()])
    assert np.array_equal(np.sort(everything), np.arange(GEOMETRY.memory_frames))
    for region in plan.regions.values():
        addresses = [GEOMETRY.address(number) for number in region.tolist()]
        assert not any(GEOMETRY.is_reserved(a.half, a.row, a.column) for a in addresses if a.block == Block.LOGIC)
        columns = {(a.block, a.half, a.row, a.column) for a in addresses}
        assert sum(GEOMETRY.minors(block)[column] for block, _, _, column in columns) == len(region)
        assert (1, 1) not in {(a.half, a.row) for a in addresses}


def test_no_name_begins_another() -> None:
    names = [p.name for p in floorplans()["partitions"].partitions]
    assert not any(a.startswith(b) or b.startswith(a) for a, b in combinations(names, 2))


def test_a_small_floorplan_is_read() -> None:
    plan = parse(HEAD + partition("a", memory="[[2, 2]]") + KERNEL)
    assert (plan.shell, plan.clock_hz, plan.memory_bytes, plan.usable_bytes) == ("s", 1, 2, 1)
    assert plan.kernels[0].kind is Kind.DENSE
    assert plan.kernels[0].window == 0
    # Two CLB columns of 36 frames and 128 of block-RAM contents, all in the row above Y0.
    assert len(plan.regions["a"]) == 72 + 128
    assert {GEOMETRY.address(n).row for n in plan.regions["a"].tolist()} == {0}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("shell = ", "TOML"),
        ("a = " + "[" * 2000, "TOML"),
        (HEAD.replace("clock_hz = 1", f"clock_hz = {'[0, ' * 20}0{']' * 20}") + KERNEL, "clock_hz must be of type int"),
        (HEAD + partition("a", columns="[[0, 99999999999]]") + KERNEL, "columns"),
        (HEAD + partition("a", "X1Y0", columns="[[34, 99999999999]]") + KERNEL, "columns"),
        ("", "shell is missing"),
        (HEAD.replace('"s"', '"S!"') + KERNEL, "shell 'S!'"),
        (HEAD.replace("xc7z020", "xc7z045") + KERNEL, "xc7z045"),
        (HEAD.replace("clock_hz = 1", "clock_hz = 0") + KERNEL, "clock_hz must be 1 or more"),
        (HEAD.replace("clock_hz = 1", "clock_hz = true") + KERNEL, "clock_hz must be of type int"),
        (HEAD.replace("usable_bytes = 1", "usable_bytes = 3") + KERNEL, "usable_bytes exceed"),
        (HEAD, "one kernel or more"),
        (HEAD + "kernels = []", "one kernel or more"),
        (HEAD + "kernels = [1]", "must be a table"),
        (HEAD + KERNEL + KERNEL, "each kind once"),
        (HEAD + KERNEL.replace("dense", "dance"), "kind must be one of"),
        (HEAD + KERNEL.replace("row = 2", ""), "row is missing"),
        (HEAD + KERNEL.replace("row = 2", "row = 65537"), "row must be an integer"),
        (HEAD + KERNEL.replace("row = 2", "row = 2000-01-01"), "strings and integers"),
        (HEAD + KERNEL + "rows = 2", "unknown key 'rows'"),
        (HEAD + "colour = 1\n" + KERNEL, "unknown key 'colour'"),
        (HEAD + partition("a", "X2Y0") + KERNEL, "'X2Y0'"),
        (HEAD + partition("a", "X0Y3") + KERNEL, "X0Y0 to X1Y2"),
        (HEAD + partition("a", columns="[[20, 40]]") + KERNEL, "not inside clock region"),
        (HEAD + partition("a", "X1Y1", columns="[[60, 74]]") + KERNEL, "columns"),
        (HEAD + partition("a", columns="[[5, 6]]") + KERNEL, "processor"),
        (HEAD + partition("a", "X1Y2", columns="[[43, 44]]") + KERNEL, "configuration logic"),
        (HEAD + partition("a", memory="[[3, 3]]") + KERNEL, "not inside"),
        (HEAD + partition("a", columns="[]") + KERNEL, "without columns"),
        (HEAD + partition("a", columns="[[2, 1]]") + KERNEL, "pairs"),
        (HEAD + partition("a", columns="[20]") + KERNEL, "pairs"),
        (HEAD + partition("a", columns="[[20, 22], [22, 23]]") + KERNEL, "twice"),
        (HEAD + partition("a") + partition("b", columns="[[21, 22]]") + KERNEL, "overlap"),
        (HEAD + partition("rp1") + partition("rp10", columns="[[23, 23]]") + KERNEL, "begin another"),
        (HEAD + partition("a") + partition("a", columns="[[23, 23]]") + KERNEL, "begin another"),
    ],
)
def test_a_wrong_floorplan_is_refused_by_its_key(text: str, reason: str) -> None:
    with pytest.raises(FloorplanError, match=reason):
        parse(text)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_no_text_crashes_it(text: str) -> None:
    for candidate in (text, HEAD + text, HEAD + KERNEL + text):
        with suppress(FloorplanError):
            assert isinstance(parse(candidate), Floorplan)
