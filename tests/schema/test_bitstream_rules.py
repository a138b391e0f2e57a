"""Rules are data: what ships is read back as what it says, and a file of another form is refused by name."""

from __future__ import annotations

from importlib import resources

import pytest
from convoy_schema.bitstream import XC7Z020, Command, Finding, Register, Rule, parse_rules, shipped
from convoy_schema.errors import BitstreamError, FloorplanError
from convoy_schema.floorplan import parse_regions
from hypothesis import given, settings
from hypothesis import strategies as st
from real_bitstreams import COLUMNS, floorplan_of, frames_of

TEXT = (resources.files("convoy_schema.bitstream") / "rules.toml").read_text(encoding="utf-8")


def test_the_shipped_rules_say_what_the_board_s_reference_says() -> None:
    rules = shipped().partial
    names = {Register(register).name for register in rules.registers}
    assert names == {"CRC", "FAR", "FDRI", "CMD", "MASK", "CTL0", "IDCODE"}
    commands = {Command(command).name for command in rules.commands}
    assert commands == {"RCRC", "WCFG", "SHUTDOWN", "NULL", "GRESTORE", "START", "DESYNC"}
    assert {(mask, value) for _, mask, value in rules.control} == {(0x100, 0x100), (0x400, 0x400), (0x100, 0)}
    assert (rules.passes, rules.least_burst, rules.whole, rules.cleared) == (2, 2, True, 0x100)
    assert rules.parked == {0x03BE0000}
    assert parse_rules(TEXT) == shipped()


def test_full_images_may_not_set_where_the_chip_boots_from() -> None:
    assert shipped().full.values[Register.WBSTAR] == {0}
    assert Command.IPROG not in shipped().full.commands


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("[partial]", "[partial", "must be TOML"),
        ("[partial]", "a = " + "{a = " * 1000 + "\n[partial]", "must be TOML"),
        ("[partial]", "[part]", "unknown key 'part'"),
        ("passes = 2", 'passes = "two"', "partial.passes must be of type int"),
        ("passes = 2", "passes = true", "partial.passes must be of type int"),
        ("passes = 2", "passes = 17", "1 to 16"),
        ("whole = true", "whole = 1", "partial.whole must be of type bool"),
        ("whole = true", "hole = true", "unknown key partial.'hole'"),
        ('"CRC", "FAR"', '"CRC", "FARE"', "'FARE' of partial.registers"),
        ('"NULL", "WCFG"', '"NULL", 1', "1 of partial.commands"),
        ("mask = 0x100, value = 0x100", "mask = 0x100", "register, mask and value"),
        ("mask = 0x100, value = 0x100", 'mask = 0x100, value = "0"', "words of 32 bits"),
        ("parked = [0x03BE0000]", "parked = [-1]", "words of 32 bits"),
        ('["frames"]]', "[]]", "a list of steps"),
        ('["frames"]]', '["frames", "NULL"]]', "may stand anywhere"),
        ('["frames"]]', '["frames", "JUMP"]]', "'JUMP' of partial.sequences"),
        ("TIMER = [0]", "TIMER = 0", "full.values must be lists"),
        ("TIMER = [0]", "TIMES = [0]", "'TIMES' of full.values"),
        ("cleared = 0x100", "", "partial.cleared"),
    ],
)
def test_a_wrong_file_is_refused_by_name(before: str, after: str, words: str) -> None:
    assert before in TEXT
    with pytest.raises(BitstreamError, match=words):
        parse_rules(TEXT.replace(before, after, 1))


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_no_text_crashes_the_parser(data: st.DataObject) -> None:
    lines = TEXT.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        lines[data.draw(st.integers(0, len(lines) - 1))] = data.draw(
            st.sampled_from(["", "[full.values]", "passes = {}", "sequences = [[[]]]", "control = [1]", "values = []"])
        )
    try:
        parse_rules("\n".join(lines))
    except BitstreamError:
        return


def test_every_rule_says_why() -> None:
    assert all(len(rule.why) > 20 for rule in Rule)
    assert str(Finding(Rule.PAD, "zeros", "a pad holds data", 7)) == "pad: a pad holds data (word 7); expected: zeros"
    assert str(Finding(Rule.PAD, "", "a pad holds data")) == "pad: a pad holds data"


# Floorplans of any design ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("design", ["prio", "prio_linux"])
def test_a_floorplan_needs_part_and_partitions_alone(design: str) -> None:
    part, regions = parse_regions(floorplan_of(design))
    assert part is XC7Z020
    assert list(regions) == [partition for owner, partition in COLUMNS if owner == design]
    for partition, frames in regions.items():
        assert frames.tolist() == frames_of(*COLUMNS[design, partition]).tolist()


AREA = 'areas = [{ clock_region = "X0Y1", columns = [[26, 27]] }]'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("part = ", "must be TOML"),
        ("", "part is missing"),
        ('part = "xc7z045"', "xc7z020"),
        ('part = "xc7z020"\npartitions = [1]', "must be a table"),
        ('part = "xc7z020"\n[[partitions]]\nname = "a"', "areas is missing"),
        ('part = "xc7z020"\n[[partitions]]\nname = ""\n' + AREA, "names of their own"),
        ('part = "xc7z020"\n' + f'[[partitions]]\nname = "a"\n{AREA}\n' * 2, "names of their own"),
        ('part = "xc7z020"\n[[partitions]]\nname = "a"\nareas = []', "no columns"),
        ('part = "xc7z020"\n[[partitions]]\nname = "a"\n' + AREA.replace("26, 27", "10, 11"), "processor"),
    ],
)
def test_a_wrong_floorplan_is_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(FloorplanError, match=words):
        parse_regions(text)
