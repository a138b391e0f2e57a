"""A shell's address table is sound as shipped, and a wrong one is refused by what is wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from convoy_bitstreams import floorplans
from convoy_schema.addresses import BLOCK_BYTES, NETWORK, WINDOW, Addresses, Slot, parse
from convoy_schema.errors import FloorplanError
from convoy_schema.floorplan import parse as parse_floorplan
from convoy_schema.topology import Kind
from hypothesis import given
from hypothesis import strategies as st

TABLE: dict[str, Any] = {
    "activation_dma": 0x4040_0000,
    "parameter_dma": 0x4041_0000,
    "activation_switch": 0x43C0_0000,
    "parameter_switch": 0x43C1_0000,
    "slots": [
        {
            "name": "west",
            "registers": 0x43D0_0000,
            "registers_decoupler": 0x43E0_0000,
            "streams_decoupler": 0x43E1_0000,
        },
        {"name": "dense", "registers": 0x43D1_0000},
    ],
}
PLAN = """shell = "s"
part = "xc7z020"
clock_hz = 1
memory_bytes = 2
usable_bytes = 1
[[kernels]]
kind = "dense"
channels = 1
row = 2
features = 3
[[kernels]]
kind = "add"
channels = 1
row = 2
features = 3
inputs = 2
[addresses]
activation_dma = 0x4040_0000
parameter_dma = 0x4041_0000
activation_switch = 0x43C0_0000
parameter_switch = 0x43C1_0000
"""
WEST = '[[partitions]]\nname = "west"\nareas = [{ clock_region = "X0Y1", columns = [[20, 21]] }]\n'


def slots(*names: str, decouplers: bool = False) -> str:
    text = ""
    for number, name in enumerate(names):
        text += f'[[addresses.slots]]\nname = "{name}"\nregisters = 0x43D{number}_0000\n'
        if decouplers:
            text += f"registers_decoupler = 0x43E{number}_0000\nstreams_decoupler = 0x43F{number}_0000\n"
    return text


def test_every_shell_has_addresses_of_its_own_blocks() -> None:
    for name, plan in floorplans().items():
        table = plan.addresses
        assert table is not None
        assert len(set(table.blocks)) == len(table.blocks)
        assert all(block in WINDOW and block % BLOCK_BYTES == 0 for block in table.blocks)
        names = [slot.name for slot in table.slots]
        if name == "partitions":
            assert names == [place.name for place in plan.partitions]
            assert all(slot.registers_decoupler and slot.streams_decoupler for slot in table.slots)
        elif name == "layers":
            assert set(names) == {kind.value for kind in Kind}
        else:
            assert names == [NETWORK]


def test_a_table_is_read_whole() -> None:
    found = parse(TABLE)
    assert found == Addresses(
        0x4040_0000,
        0x4041_0000,
        0x43C0_0000,
        0x43C1_0000,
        (Slot("west", 0x43D0_0000, 0x43E0_0000, 0x43E1_0000), Slot("dense", 0x43D1_0000)),
    )
    assert found.index("dense") == 1
    with pytest.raises(FloorplanError, match="no slot 'north'; there are west, dense"):
        found.index("north")


def wrong(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    table = copy.deepcopy(TABLE)
    change(table)
    return table


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("parameter_dma"), "parameter_dma must be a multiple .* None came"),
        (lambda t: t.update(activation_dma=0x4040_0004), "multiple of 0x10000 from 0x40000000 to 0x7FFFFFFF"),
        (lambda t: t.update(activation_dma=0x8000_0000), "0x80000000 came"),
        (lambda t: t.update(activation_dma=True), "True came"),
        (lambda t: t.update(activation_dma="0x40400000"), "'0x40400000' came"),
        (lambda t: t.update(activation_dma=t["parameter_dma"]), "two blocks have the same address"),
        (lambda t: t["slots"][1].update(registers=0x43E1_0000), "two blocks have the same address"),
        (lambda t: t["slots"][1].update(name="west"), "a name of its own, west, west came"),
        (lambda t: t["slots"][1].update(name="No!"), "slot"),
        (lambda t: t["slots"][1].update(name=3), "must be a string, 3 came"),
        (lambda t: t["slots"][0].pop("streams_decoupler"), "needs both registers_decoupler and streams_decoupler"),
        (lambda t: t["slots"].append(3), "must be a table, 3 came"),
        (lambda t: t.update(slots=[]), "slots must be 1 to 15 tables"),
        (lambda t: t.update(slots="west"), "slots must be 1 to 15 tables"),
        (lambda t: t.update(gpio=1), "unknown key 'gpio'"),
        (lambda t: t["slots"][0].update(gpio=1), "unknown key 'gpio'"),
    ],
)
def test_what_is_wrong_is_named(change: Callable[[dict[str, Any]], Any], message: str) -> None:
    with pytest.raises(FloorplanError, match=message):
        parse(wrong(change))


@given(
    st.recursive(
        st.integers() | st.text() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_nothing_crashes_it(table: object) -> None:
    with pytest.raises(FloorplanError):
        parse(table)


@given(st.dictionaries(st.sampled_from([*TABLE, "other"]), st.integers() | st.just(TABLE["slots"])))
def test_half_a_table_is_refused_or_whole(table: dict[str, Any]) -> None:
    try:
        found = parse(table)
    except FloorplanError:
        return
    assert set(table) == set(TABLE)
    assert all(block % BLOCK_BYTES == 0 for block in found.blocks)


@pytest.mark.parametrize("fits", [slots("dense", "add"), slots("add", "dense"), slots(NETWORK)])
def test_slots_are_the_shells_kernels_or_one_network(fits: str) -> None:
    assert parse_floorplan(PLAN + fits).addresses is not None
    assert parse_floorplan(PLAN[: PLAN.index("[addresses]")]).addresses is None


@pytest.mark.parametrize(
    "text",
    [
        PLAN + slots("dense"),
        PLAN + slots("dense", "add", "identity"),
        PLAN + slots("dense", "add", decouplers=True),
        PLAN + slots("west", decouplers=True),
        PLAN + slots("dense", "add") + WEST,
        PLAN + slots("west") + WEST,
        PLAN + slots("east", decouplers=True) + WEST,
    ],
)
def test_slots_of_something_else_are_refused(text: str) -> None:
    with pytest.raises(FloorplanError, match="the slots of its addresses must be"):
        parse_floorplan(text)


def test_partitions_are_slots_in_their_order() -> None:
    assert parse_floorplan(PLAN + slots("west", decouplers=True) + WEST).addresses is not None
