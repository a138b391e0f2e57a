"""docs/bring-your-own-layer.md names every place where its example is, and nothing that is not there."""

import re
from pathlib import Path

import pytest
from convoy_schema.topology import Kind

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "bring-your-own-layer.md").read_text()
SOURCES = ("schema", "device", "controller", "hls", "bitstreams")
#: How the example is spelled: on the wire, in Python, in C++, and in ONNX.
NAMES = ("global-average-pool", "GLOBAL_AVERAGE_POOL", "global_average_pool", "GlobalAveragePool")
NAMED = re.findall(r"`((?:schema|device|controller|hls|bitstreams|tests)/[\w/.-]+)`", GUIDE)
#: Named although the example needs nothing there, because another layer may.
OTHERS = {"schema/convoy_schema/streams.py", "schema/convoy_schema/limits.py", "bitstreams/generate.py"}


def names_the_example(path: Path) -> bool:
    return any(name in path.read_text(encoding="utf-8") for name in NAMES)


def test_every_source_that_names_the_example_is_in_the_guide() -> None:
    sources = [
        path
        for folder in SOURCES
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".hpp", ".cpp", ".toml", ".tcl") and "images" not in path.parts
    ]
    there = {path.relative_to(ROOT).as_posix() for path in sources if names_the_example(path)}
    assert there - set(NAMED) == set()


@pytest.mark.parametrize("name", sorted(set(NAMED)))
def test_what_the_guide_names_is_there(name: str) -> None:
    assert (ROOT / name).exists()
    if name.endswith((".py", ".hpp", ".cpp", ".toml")) and not name.startswith("tests/") and name not in OTHERS:
        assert names_the_example(ROOT / name)


def test_a_kind_is_numbered_by_its_place_so_that_new_ones_are_appended() -> None:
    assert [kind.value for kind in Kind][:4] == ["conv2d", "max-pool", "average-pool", "global-average-pool"]
