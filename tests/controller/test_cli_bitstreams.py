"""`convoy bitstream`: what a person or a program learns of an image, and how one gets into the catalogue."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bitstream_mutations import MUTATIONS, RESETTING, mutate, plain
from command_line import Run, in_home
from convoy_bitstreams import catalogue, catalogue_with, floorplans
from convoy_controller.cli import app
from convoy_controller.image_facts import image_facts
from convoy_schema.bitstream import EMULATED_XC7Z020, FRAME_WORDS, XC7Z020, write_full, write_partial
from convoy_schema.errors import BitstreamError
from convoy_schema.names import digest_of
from convoy_schema.topology import Kind
from hypothesis import given, settings
from hypothesis import strategies as st
from real_bitstreams import COLUMNS, FULL, PARTIALS, floorplan_of, frames_of, path_of, real
from typer.testing import CliRunner

GEOMETRY = XC7Z020.geometry
PLAN = floorplans()["partitions"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("check", FILE, ...)` in a home of its own."""
    return in_home(tmp_path / "home", monkeypatch, "bitstream")


def made(columns: tuple[int, ...] = (26, 27), memory: tuple[int, ...] = ()) -> bytes:
    frames = frames_of(columns, memory, ((1, 0),))
    return write_partial(XC7Z020, "made", frames, np.ones((frames.size, FRAME_WORDS), dtype=np.uint32))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A partial for columns 26 and 27 of X0Y1."""
    path = tmp_path / "module.bit"
    path.write_bytes(made())
    return path


def module_of(part: object = XC7Z020, partition: str = "west", fill: int = 1) -> bytes:
    """A partial for one of our own partitions."""
    region = PLAN.regions[partition]
    frames = np.full((region.size, FRAME_WORDS), fill, dtype=np.uint32)
    return write_partial(part, "convoy_module", region, frames)  # type: ignore[arg-type]


# Inspect --------------------------------------------------------------------------------------------------------------


def test_a_partial_is_described(run: Run, image: Path) -> None:
    said = run("inspect", image).output
    for words in ("IDCODE 03727093: xc7z020", "partial, 72 frames, each written 2 x", "X0Y1", "26-27", "right (3 are"):
        assert words in said
    facts = json.loads(run("inspect", image, "--json").output)
    assert (facts["kind"], facts["part"], facts["frames"], facts["passes"]) == ("partial", "xc7z020", 72, 2)
    assert facts["columns"] == [
        {"clock_region": "X0Y1", "kind": "logic", "first": 26, "last": 27, "frames": 72},
    ]
    assert facts["digest"] == digest_of(made())
    assert facts["resets"]
    assert (facts["crc"], facts["crc_writes"], facts["stray_words"]) == ("right", 3, 0)
    assert {"register", "opcode", "words", "value", "meaning", "word"} == set(facts["packets"][0])
    assert [packet["meaning"] for packet in facts["packets"]][-1] == "DESYNC"


def test_a_full_image_is_described(run: Run, tmp_path: Path) -> None:
    frames = np.zeros((GEOMETRY.memory_frames, FRAME_WORDS), dtype=np.uint32)
    (tmp_path / "full.bit.gz").write_bytes(gzip.compress(write_full(EMULATED_XC7Z020, "shell", frames)))
    said = run("inspect", tmp_path / "full.bit.gz").output
    assert "full, 9996 frames, each written 1 x" in said
    assert "emulated-xc7z020" in said


@pytest.mark.parametrize("name", [*PARTIALS, FULL])
def test_real_files_are_described(run: Run, name: str) -> None:
    facts = json.loads(run("inspect", path_of(name), "--json").output)
    assert (facts["header_part"], facts["part"], facts["crc"]) == ("7z020clg400", "xc7z020", "right")
    assert facts["header_says_partial"] == (facts["kind"] == "partial") == (name != FULL)
    if name != FULL:
        columns, memory, rows = COLUMNS[PARTIALS[name]]
        assert {(c["kind"], c["first"], c["last"]) for c in facts["columns"]} == {
            ("logic", columns[0], columns[-1]),
            *(("memory", column, column) for column in memory),
        }
        assert len({c["clock_region"] for c in facts["columns"]}) == len(rows)


def test_what_is_wrong_is_described_too(run: Run, image: Path) -> None:
    image.write_bytes(mutate(made(), MUTATIONS["flip a data bit"][0], GEOMETRY))
    assert "damaged" in run("inspect", image).output
    image.write_bytes(mutate(made(), MUTATIONS["appended image"][0], GEOMETRY))
    assert "words that should not be there" in run("inspect", image).output
    image.write_bytes(mutate(made(), MUTATIONS["an address of no frame"][0], GEOMETRY))
    run("inspect", image)
    image.write_bytes(b"no image")
    assert "preamble" in run("inspect", image, code=1).output
    run("inspect", image.parent / "nothing", code=3)
    run("inspect", image.parent, code=3)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_no_image_is_beyond_description(data: st.DataObject) -> None:
    content = bytearray(made())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, 600) | st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        image_facts(bytes(content))
    except BitstreamError:
        return


# Check ----------------------------------------------------------------------------------------------------------------


def test_columns_alone_are_enough(run: Run, image: Path) -> None:
    said = run("check", image, "--partition", "pr_0", "--columns", "X0Y1:26-27").output
    assert said.startswith("accepted for partition pr_0 of xc7z020: it sets its 72 frames and nothing else")
    assert "CRCs are right" in said
    run("check", image, "--partition", "pr_0", "--columns", "X0Y1:26", "--columns", "X0Y1:27")
    run("check", image, "--partition", "pr_0", "--columns", "X0Y1:26,27")
    assert "not compared" in run("check", image, "--partition", "a", "--columns", "X0Y1:26-27", "--no-crc").output
    image.write_bytes(made((20, 23), (2,)))
    run("check", image, "--partition", "m", "--columns", "X0Y1:20-23", "--memory-columns", "X0Y1:2")
    said = run("check", image, "--partition", "m", "--columns", "X0Y1:20-23", code=1).output
    assert "memory column 2 of clock region X0Y1" in said


def test_a_refusal_is_told_to_people_and_programs(run: Run, image: Path) -> None:
    said = run("check", image, "--partition", "pr_1", "--columns", "X0Y1:28-29", code=1).output
    for words in ("refused for partition pr_1", "frames-outside: 72 frames", "column 26 of", "expected: ", "because "):
        assert words in said
    verdict = json.loads(run("check", image, "--partition", "p", "--columns", "X0Y1:28-29", "--json", code=1).output)
    assert (verdict["accepted"], verdict["partition"], verdict["part"], verdict["frames"]) == (
        False,
        "p",
        "xc7z020",
        72,
    )
    assert {finding["rule"] for finding in verdict["findings"]} == {"frames-outside", "reset-mask"}
    assert set(verdict["findings"][0]) == {"rule", "expected", "came", "word", "why"}
    assert verdict["crc"] == "not compared"


@pytest.mark.parametrize("mutation", [*MUTATIONS, *RESETTING])
def test_every_mutation_ends_with_1_and_a_reason(run: Run, image: Path, mutation: str) -> None:
    change, rule = {**MUTATIONS, **RESETTING}[mutation]
    image.write_bytes(mutate(made(), change, GEOMETRY))
    verdict = json.loads(run("check", image, "--partition", "p", "--columns", "X0Y1:26-27", "--json", code=1).output)
    assert rule in {finding["rule"] for finding in verdict["findings"]}
    assert verdict["crc"] == ("wrong" if rule == "crc" else "not compared")


def test_a_floorplan_of_any_design_will_do(run: Run, image: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(floorplan_of("prio"))
    run("check", image, "--partition", "pr_0", "--floorplan", plan)
    said = run("check", image, "--partition", "pr_1", "--floorplan", plan, code=1).output
    assert "72 frames lie outside, some of them in pr_0" in said
    assert "it has pr_0, pr_1" in run("check", image, "--partition", "pr_9", "--floorplan", plan, code=3).output
    plan.write_text(
        'part = "xc7z020"\n[[partitions]]\nname = "a"\nareas = [{ clock_region = "X9Y9", columns = [[1, 2]] }]'
    )
    assert "X0Y0 to X1Y2" in run("check", image, "--partition", "a", "--floorplan", plan, code=2).output
    run("check", image, "--partition", "a", "--floorplan", tmp_path / "nothing.toml", code=3)
    plan.write_bytes(b"\xff\xfe")
    run("check", image, "--partition", "a", "--floorplan", plan, code=2)


def test_our_own_shells_are_known_by_name(run: Run, image: Path) -> None:
    image.write_bytes(module_of())
    run("check", image, "--partition", "west", "--floorplan", "partitions")
    image.write_bytes(module_of(EMULATED_XC7Z020))
    assert "IDCODE 037270FF" in run("check", image, "--partition", "west", "--floorplan", "partitions", code=1).output
    run("check", image, "--partition", "west", "--floorplan", "partitions", "--part", "emulated-xc7z020")


@pytest.mark.parametrize("name", PARTIALS)
def test_real_files_fit_their_own_partition_alone(run: Run, tmp_path: Path, name: str) -> None:
    design, own = PARTIALS[name]
    plan = tmp_path / "plan.toml"
    plan.write_text(floorplan_of(design))
    for _, partition in (place for place in COLUMNS if place[0] == design):
        code = 0 if partition == own else 1
        run("check", path_of(name), "--partition", partition, "--floorplan", plan, code=code)


def test_a_handoff_names_part_and_partitions_but_no_columns(run: Run) -> None:
    file, handoff = path_of("prio_pr_0_gpio.bit"), path_of("prio.hwh.gz")
    said = run("check", file, "--partition", "pr_0", "--hwh", handoff, code=2).output
    assert "not their columns" in " ".join(said.split())
    run("check", file, "--partition", "pr_0", "--hwh", handoff, "--columns", "X0Y1:26-27")
    said = run("check", file, "--partition", "pr_7", "--hwh", handoff, "--columns", "X0Y1:26-27", code=3).output
    assert "it has pr_0, pr_1, pr_2, pr_3, pr_4, pr_5" in said
    run("check", path_of(FULL), "--full", "--hwh", handoff)


def test_full_images_are_checked_as_such(run: Run, image: Path, tmp_path: Path) -> None:
    assert "frames-missing" in run("check", image, "--full", code=1).output
    frames = np.zeros((GEOMETRY.memory_frames, FRAME_WORDS), dtype=np.uint32)
    full = tmp_path / "full.bit"
    full.write_bytes(write_full(EMULATED_XC7Z020, "shell", frames))
    assert "as a shell" in run("check", full, "--full", "--part", "emulated-xc7z020").output
    run("check", full, "--full", "--floorplan", "partitions", code=1)
    run("check", full, "--full", "--partition", "west", code=2)
    said = run("check", full, "--partition", "p", "--columns", "X0Y1:26", "--part", "emulated-xc7z020", code=1).output
    assert "it is a full image" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "which partition"),
        (("--partition", "p"), "give a floorplan"),
        (("--partition", "p", "--columns", "X0Y1:26", "--floorplan", "partitions"), "give a floorplan"),
        (("--partition", "p", "--columns", "26-27"), "must be a clock region and columns"),
        (("--partition", "p", "--columns", "X0Y1:3-9"), "processor"),
        (("--partition", "p", "--columns", "X0Y1:99"), "not inside clock region"),
        (("--partition", "p", "--columns", "X0Y1:27-26"), "columns"),
        (("--partition", "p", "--columns", "X0Y1:26", "--part", "xc7z045"), "is not one of xc7z020"),
        (("--partition", "p", "--columns", "X0Y1:26", "--hwh", "IMAGE"), "handoff"),
        (("--partition", "p", "--columns", "X0Y1:26", "--rules", "IMAGE"), "not text"),
    ],
)
def test_wrong_usage_ends_with_2(run: Run, image: Path, arguments: tuple[str, ...], words: str) -> None:
    given_arguments = [str(image) if argument == "IMAGE" else argument for argument in arguments]
    assert words in " ".join(run("check", image, *given_arguments, code=2).output.replace("│", " ").split())


def test_other_rules_may_be_given(run: Run, image: Path, tmp_path: Path) -> None:
    from importlib import resources

    shipped = (resources.files("convoy_schema.bitstream") / "rules.toml").read_text(encoding="utf-8")
    rules = tmp_path / "rules.toml"
    rules.write_text(shipped.replace("passes = 2", "passes = 3"))
    where = ("--partition", "p", "--columns", "X0Y1:26-27", "--rules", rules)
    assert "72 frames are written 2 x" in run("check", image, *where, code=1).output
    rules.write_text(shipped.replace("passes = 2", "passes = 0"))
    assert "partial.passes must be 1 to 16" in " ".join(run("check", image, *where, code=2).output.split())
    image.write_bytes(plain(made(), GEOMETRY))
    run("check", image, *where[:-2])


# Add ------------------------------------------------------------------------------------------------------------------


def test_a_module_that_is_added_is_published(run: Run, image: Path, tmp_path: Path) -> None:
    home = tmp_path / "home" / "bitstreams"
    assert catalogue_with(home) is catalogue()
    image.write_bytes(module_of())
    where = ("--shell", "partitions", "--partition", "west", "--kind", "dense")
    added = json.loads(run("add", image, *where, "--json").output)
    assert (added["part"], added["kind"], added["digest"]) == ("xc7z020", "dense", digest_of(module_of()))
    assert Path(added["manifest"]).is_file()
    found = catalogue_with(home)
    entry = found.module("partitions", "xc7z020", "west", Kind.DENSE)
    assert found.read(entry.digest) == module_of()
    assert len(found.modules) == len(catalogue().modules) + 1
    assert found.shells == catalogue().shells
    # Another one takes its place; the same one again changes nothing.
    image.write_bytes(module_of(fill=2))
    for _ in range(2):
        assert "added dense for partition west of shell partitions" in run("add", image, *where).output
    found = catalogue_with(home)
    assert found.read(found.module("partitions", "xc7z020", "west", Kind.DENSE).digest) == module_of(fill=2)
    assert len(found.modules) == len(catalogue().modules) + 1


def test_an_own_image_stands_in_for_one_that_comes_along(run: Run, image: Path, tmp_path: Path) -> None:
    image.write_bytes(module_of(EMULATED_XC7Z020, "east"))
    where = ("--shell", "partitions", "--partition", "east", "--kind", "add", "--part", "emulated-xc7z020")
    run("add", image, *where)
    found = catalogue_with(tmp_path / "home" / "bitstreams")
    assert found.read(found.module("partitions", EMULATED_XC7Z020.name, "east", Kind.ADD).digest) == image.read_bytes()
    assert len(found.modules) == len(catalogue().modules)


def test_a_shell_is_added(run: Run, image: Path, tmp_path: Path) -> None:
    frames = np.zeros((GEOMETRY.memory_frames, FRAME_WORDS), dtype=np.uint32)
    image.write_bytes(write_full(XC7Z020, "convoy_layers", frames))
    assert "added shell layers and part xc7z020" in run("add", image, "--shell", "layers").output
    found = catalogue_with(tmp_path / "home" / "bitstreams")
    assert found.read(found.shell("layers", "xc7z020").digest) == image.read_bytes()
    said = run("add", image, "--shell", "fixed", code=1).output
    assert "one image is for one place" in said
    run("inspect", image)


def test_what_may_not_be_loaded_is_not_added(run: Run, image: Path, tmp_path: Path) -> None:
    where = ("--shell", "partitions", "--partition", "west", "--kind", "dense")
    assert "frames-missing" in run("add", image, *where, code=1).output
    image.write_bytes(module_of(EMULATED_XC7Z020))
    run("add", image, *where, code=1)
    image.write_bytes(mutate(module_of(), RESETTING["unmask everything"][0], GEOMETRY))
    assert "reset-mask" in run("add", image, *where, code=1).output
    image.write_bytes(mutate(module_of(), MUTATIONS["flip a data bit"][0], GEOMETRY))
    assert "damaged" in run("add", image, *where, code=1).output
    assert not (tmp_path / "home").exists()
    image.write_bytes(module_of())
    run("add", image, "--shell", "partitions", "--partition", "west", code=2)
    run("add", image, "--shell", "partitions", "--partition", "west", "--kind", "convolve", code=2)
    run("add", image, "--shell", "partitions", "--partition", "north", "--kind", "dense", code=3)
    run("add", image, "--shell", "mine", code=3)
    run("add", image, "--shell", "partitions", code=1)
    assert not (tmp_path / "home").exists()


def test_a_model_takes_the_images_that_were_added(run: Run, image: Path, tmp_path: Path) -> None:
    image.write_bytes(module_of())
    run("add", image, "--shell", "partitions", "--partition", "west", "--kind", "conv2d")
    samples = tmp_path / "samples.npz"
    np.savez(samples, np.random.default_rng(1).random((8, 1, 28, 28), dtype=np.float32))
    result = CliRunner().invoke(app, ["model", "import", "lenet5", "--calibration", str(samples), "--json"])
    assert result.exit_code == 0, result.output
    from convoy_controller.database import publications
    from convoy_controller.database.engine import open_database

    database = open_database(f"sqlite:///{tmp_path / 'home' / 'convoy.db'}")
    bundle = publications.bundle_of(publications.find_model(database, "lenet5", "1"))
    database.close()
    entry = next(module for module in bundle.modules if module.part == "xc7z020")
    assert (entry.partition, entry.kind, entry.digest) == ("west", Kind.CONV2D, digest_of(module_of()))
    assert replace(entry, part=EMULATED_XC7Z020.name) not in bundle.modules


def test_real_files_are_no_modules_of_our_shells(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "real.bit"
    file.write_bytes(real("prio_pr_0_gpio.bit"))
    said = run("add", file, "--shell", "partitions", "--partition", "west", "--kind", "dense", code=1).output
    assert "refused" in said
