"""The rules that let other compilers take the kernels too (hls/README.md), as far as text shows them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import convoy_hls
import pytest

ROOT = Path(convoy_hls.__file__).parent
#: What synthesis sees: no counters, and not the edge, which is for Vitis alone.
FILES = [
    file
    for file in sorted([*ROOT.glob("include/convoy/*.hpp"), *ROOT.glob("kernels/*.cpp")])
    if file.name not in ("counters.hpp", "edge.hpp")
]
#: A stream's read, or the call of what holds one.
_READS = re.compile(r"\.read\(\)|\barrive\(|\bload_\w+<|\bfill<|\bcompute\w*<")


def code(file: Path) -> str:
    """A file without its comments."""
    return re.sub(r"//[^\n]*", "", file.read_text(encoding="utf-8"))


def bodies(text: str) -> Iterator[str]:
    """The body of every loop."""
    for match in re.finditer(r"\bfor \(", text):
        start = text.index("{", match.start())
        depth, end = 1, start + 1
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        yield text[start:end]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_pragmas_are_macros_and_unroll_stands_before_its_loop(file: Path) -> None:
    text = code(file)
    if file.name != "pragmas.hpp":
        assert "#pragma" not in text
        assert "_Pragma" not in text
        for line in re.findall(r"CONVOY_UNROLL\n([^\n]*)", text):
            assert line.strip().startswith("for ("), line


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_loop_has_a_label(file: Path) -> None:
    lines = [line.strip() for line in code(file).splitlines() if line.strip() and line.strip() != "CONVOY_UNROLL"]
    for before, line in pairwise(lines):
        assert not line.startswith(("while", "do ")), line
        if line.startswith("for ("):
            assert re.fullmatch(r"\w+:", before), line


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_pipelined_loop_reads_and_writes_a_stream_once(file: Path) -> None:
    for body in bodies(code(file)):
        if "CONVOY_PIPELINE" in body and file.name != "lenet5.cpp":
            assert len(_READS.findall(body)) <= 1, body
            assert body.count(".write(") <= 1, body
            # Divisions of constants, which vanish when loops are unrolled.
            assert not re.search(r"[\w)] [/%] [\w(]", re.sub(r"at [/%] CHANNELS|/ RATE", "", body)), body


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nothing_that_hardware_has_not(file: Path) -> None:
    text = code(file)
    for word in ("new ", "malloc", "std::", "virtual", "try", "throw", "float", "double", "long long"):
        assert not re.search(rf"\b{re.escape(word)}", text), word


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_pipelined_loop_is_counted_and_bounded(file: Path) -> None:
    text = code(file)
    if file.name != "pragmas.hpp":
        assert text.count("CONVOY_PIPELINE") == text.count("CONVOY_TRIP(") == text.count("CONVOY_COUNTER(")
    for body in bodies(text):
        if "CONVOY_TRIP(" in body and "CONVOY_PIPELINE" in body:
            assert body.index("CONVOY_PIPELINE") < body.index("CONVOY_TRIP(")
