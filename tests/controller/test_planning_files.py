"""Boards as files describe them, boards by name, and the pipeline drawn."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from convoy_bitstreams import catalogue, floorplans
from convoy_controller.errors import ProfileError
from convoy_controller.planner import model_of
from convoy_controller.planning.costing import SWAP_S
from convoy_controller.planning.instance import BoardKind, Instance, LayerLoad, Wish
from convoy_controller.planning.naming import name_boards
from convoy_controller.planning.profiles import Profile, boards_of, kernels_of, shipped, written
from convoy_controller.planning.solution import Solution, Stage
from convoy_controller.planning.solver import solve
from convoy_controller.planning.timeline import FRAMES, draw, schedule
from convoy_schema.bitstream import EMULATED_XC7Z020
from convoy_schema.bundle import Method
from convoy_schema.messages.boards import Capability, Partition
from convoy_schema.processors import ProcessorRate
from convoy_schema.topology import Kind
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

# Files of boards


def write(folder: Path, text: str) -> Path:
    path = folder / "boards.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_pynq_z2_is_what_its_floorplan_says() -> None:
    board, plan = shipped()["pynq-z2"], floorplans()["partitions"]
    assert (board.part, board.clock_hz, board.memory_bytes) == (plan.part.name, plan.clock_hz, plan.usable_bytes)
    assert board.partitions == len(plan.partitions)
    model = board.model(Method.LIBRARY)
    assert model.kernels == plan.kernels
    assert (model.partitions, model.missing, model.processor) == (3, (), None)
    assert board.model(Method.ALLOCATE).partitions is None
    assert board.model(Method.ALLOCATE).missing == ()
    assert board.model(Method.LIBRARY, processor=True).processor is not None
    assert kernels_of(EMULATED_XC7Z020.name, Method.LIBRARY) == plan.kernels
    assert kernels_of("another", Method.LIBRARY) == ()
    assert kernels_of("emulated-xc7z020", Method.LIBRARY) == kernels_of("xc7z020", Method.LIBRARY) != ()


def test_a_swap_is_reckoned_as_long_as_the_largest_modules_image_takes() -> None:
    images = catalogue()
    places, part = floorplans()["partitions"].partitions, EMULATED_XC7Z020.name
    sizes = [len(images.read(images.module("partitions", part, place.name, Kind.CONV2D).digest)) for place in places]
    assert shipped()["pynq-z2"].swap_s == SWAP_S
    assert pytest.approx(max(sizes) / 145e6, rel=0.01) == SWAP_S


rates = st.none() | st.builds(ProcessorRate, st.floats(1, 1e15), st.floats(1, 1e15), st.floats(0, 60))
capabilities = st.builds(
    Capability,
    session=st.just(1),
    part=st.sampled_from(["xc7z020", "emulated-xc7z020", "processor", "other"]),
    fabric=st.sampled_from(["emulated", "pynq", "processor"]),
    shells=st.just(("layers", "partitions", "fixed")),
    partitions=st.integers(1, 4).map(lambda count: tuple(Partition(f"p{n}") for n in range(count))),
    clock_hz=st.integers(1, 10**9),
    memory_bytes=st.integers(1, 2**40),
    queue_frames=st.integers(1, 4096),
    software=st.just("0"),
    processor=rates,
)


@given(capabilities, st.sampled_from(list(Method)))
def test_a_boards_profile_is_to_the_planner_what_the_board_is(board: Capability, method: Method) -> None:
    assert Profile.of("it", board).model(method, processor=True) == model_of(board, method)


@given(
    st.lists(st.tuples(capabilities, st.integers(1, 1000), st.floats(0.1, 100)), min_size=1, max_size=4),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=10),
)
def test_boards_that_were_written_are_read_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, boards: list[tuple[Capability, int, float]], stem: str
) -> None:
    made = []
    for number, (board, count, factor) in enumerate(boards):
        profile = Profile.of(f"{stem}{number}", board)
        slowed = profile.slowed(factor)
        made.append((slowed if slowed.clock_hz >= 1 and slowed.processor_macs_per_s <= 1e15 else profile, count))
        made[-1] = (replace(made[-1][0], processor_bytes_per_s=min(1e15, made[-1][0].processor_bytes_per_s)), count)
    path = tmp_path_factory.mktemp("written") / "boards.toml"
    path.write_text(written(made, ["measured: all of it"]), encoding="utf-8")
    assert boards_of(path) == made


def test_a_file_lists_boards_of_known_and_of_its_own_profiles(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        [[profiles]]
        name = "small"
        clock_hz = 50_000_000
        memory_bytes = 1_000_000
        partitions = 1
        partition_dsps = 10

        [[boards]]
        profile = "pynq-z2"
        count = 3

        [[boards]]
        profile = "pynq-z2"
        name = "far"
        link_bytes_per_s = 1e5

        [[boards]]
        profile = "small"
        count = 2
        """,
    )
    found = boards_of(path)
    assert [(profile.name, count) for profile, count in found] == [("pynq-z2", 3), ("far", 1), ("small", 2)]
    assert found[1][0].link_bytes_per_s == 1e5
    missing = dict(found[2][0].model(Method.LIBRARY).missing)
    assert missing[Kind.CONV2D].startswith("its module needs")
    assert "there are 10 in the smallest partition" in missing[Kind.CONV2D]
    assert Kind.MAX_POOL not in missing


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no board"),
        ("[[boards]]\nprofile = 'none'", "profile 'none' is not one of pynq-z2"),
        ("[[boards]]\nprofile = 'pynq-z2'\ncount = 0", "count must be a whole number from 1"),
        ("[[boards]]\nprofile = 'pynq-z2'\ncount = true", "count must be a whole number"),
        ("[[boards]]\nprofile = 'pynq-z2'\nclock = 1", "'clock' is not one of name"),
        ("[[boards]]\nprofile = 'pynq-z2'\nclock_hz = 0", "clock_hz must be a number from 1 on, 0 came"),
        ("[[boards]]\nprofile = 'pynq-z2'\nswap_s = nan", "swap_s must be a number from 0 on"),
        ("[[boards]]\nprofile = 'pynq-z2'\npartitions = 1.5", "partitions must be a whole number"),
        ("[[boards]]\nprofile = 'pynq-z2'\nname = ''", "name must be a text"),
        ("[[boards]]\nprofile = 'pynq-z2'\n[[boards]]\nprofile = 'pynq-z2'", "give it another `name`"),
        ("[[profiles]]\nname = 'x'\nclock_hz = 1", "memory_bytes is missing"),
        ("boards = 3", r"boards must be written as \[\[boards\]\]"),
        ("boards = [", "is not a TOML file"),
        ("boards = " + "[" * 2000, "is not a TOML file"),
        ("boards = 0x" + "f" * 5000, "is not a TOML file"),
        ("[[boards]]\nprofile = ['pynq-z2']", r"profile \['pynq-z2'\] is not one of"),
    ],
)
def test_a_fault_is_named_by_entry_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        boards_of(write(tmp_path, text))


def test_a_file_that_is_not_there_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="is not a TOML file"):
        boards_of(tmp_path / "none.toml")
    with pytest.raises(ProfileError, match="at most 1048576 are read"):
        boards_of(write(tmp_path, "#" * 1_100_000))


def test_a_partitionless_board_has_no_module_and_too_few_dsps_no_kernels(tmp_path: Path) -> None:
    path = write(tmp_path, "[[boards]]\nprofile = 'pynq-z2'\npartitions = 0\ndsps = 20\n")
    ((profile, _),) = boards_of(path)
    assert "no partition" in dict(profile.model(Method.LIBRARY).missing)[Kind.DENSE]
    assert "DSPs, there are 20" in dict(profile.model(Method.ALLOCATE).missing)[Kind.IDENTITY]


# Named boards


def stage(first: int, last: int, kind: str, replicas: int = 1) -> Stage:
    return Stage(first, last, kind, replicas, 1.0, 0.0, 0.0, 0, 0.0)


LAYERS = ("a", "b", "c", "d")


def test_boards_are_taken_in_order() -> None:
    stages = (stage(0, 2, "x"), stage(2, 3, "y"), stage(3, 4, "x", 2))
    named = {"x": ["x1", "x2", "x3", "x4"], "y": ["y1"]}
    assert name_boards(stages, LAYERS, (1, 1, 1, 1), named, {}) == (("x1",), ("y1",), ("x2", "x3"))


def test_of_boards_of_a_kind_those_that_hold_more_of_a_stage_get_it() -> None:
    stages = (stage(0, 2, "x"), stage(2, 4, "x"))
    named = {"x": ["x1", "x2", "x3"]}
    held = {"x1": {"c"}, "x3": {"a", "b"}, "x2": {"c", "d"}}
    assert name_boards(stages, LAYERS, (5, 5, 5, 5), named, held) == (("x3",), ("x2",))
    # Large parameters count for more than many of them, and what has none saves nothing.
    assert name_boards(stages, LAYERS, (1, 1, 9, 1), named, held) == (("x3",), ("x2",))
    assert name_boards(stages, LAYERS, (0, 0, 0, 0), named, held) == (("x1",), ("x2",))


# The time line


def planned(replicas: bool) -> Solution:
    layers = tuple(LayerLoad(f"l{at}", "a", 0, 0) for at in range(2))
    kind = BoardKind("board", 2, (1.0, 1.0), 10, 1.0)
    crossing = (0.0, 0.5 if not replicas else 50.0, 0.0)
    return solve(Instance("two", layers, crossing, (kind,), batch_rows=1), Wish(replicate=replicas))


@pytest.mark.parametrize("replicas", [False, True])
def test_the_drawn_schedule_never_overlaps_and_settles_at_the_period(replicas: bool) -> None:
    plan = planned(replicas)
    bars = schedule(plan, 8)
    for row in range(plan.boards):
        for is_link in (False, True):
            own = [bar for bar in bars if bar.row == row and bar.is_link is is_link]
            assert all(before.end <= after.begin + 1e-12 for before, after in pairwise(own))
    ends = sorted({bar.frame: bar.end for bar in bars}.values())
    assert (ends[-1] - ends[1]) / 6 == pytest.approx(plan.period_s)


def test_a_time_line_is_written_as_an_image(tmp_path: Path) -> None:
    path = tmp_path / "plan.png"
    draw(planned(False), "two layers", path)
    with Image.open(path) as image:
        colours = image.convert("RGB").getcolors(100_000)
        assert image.width > 1000
    assert colours is not None
    assert len(colours) > FRAMES
    with pytest.raises(ValueError, match="unknown file extension"):
        draw(planned(False), "two layers", tmp_path / "plan.nothing")
