"""The figures of docs/hardware.md are those of the model."""

from __future__ import annotations

import re
from pathlib import Path

from convoy_schema.chain import LENET5
from convoy_schema.cycles import chain as chain_cycles
from convoy_schema.cycles.loops import DEPTHS
from convoy_schema.resources import chain, chain_stage, module
from convoy_schema.topology import Kind

TEXT = (Path(__file__).parents[2] / "docs/hardware.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """Cells of the table rows below a heading, in order."""
    part = TEXT.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in part.splitlines() if line[:1] == "|"]


def number(text: str) -> int:
    return int(re.sub(r"[^\d]", "", text))


def test_the_modules() -> None:
    found = {cells[0]: cells[2:] for cells in rows("The library's modules")}
    for kind in Kind:
        taken = module(kind)
        dsps, ramb36, luts, flip_flops = map(number, found[kind.value])
        assert (dsps, ramb36) == (taken.dsps, taken.bram36)
        assert (luts, flip_flops) == (round(taken.luts, -2), round(taken.flip_flops, -2))
    together = [module(kind) for kind in Kind]
    assert (
        f"take {sum(taken.dsps for taken in together)} DSPs, {sum(taken.bram36 for taken in together)} RAMB36" in TEXT
    )


def test_the_chain() -> None:
    found = rows("LeNet-5 in one chain (`stream`)")[2:]
    cycles = [number(cells[2].rpartition("=")[2]) for cells in found[:-1]]
    assert cycles == [kernel.cycles for kernel in chain_cycles.kernels(1)]
    for cells in found[:-1]:
        formula, _, result = cells[2].replace("x", "*").rpartition("=")
        assert eval(formula.replace(",", ""), {}) == number(result)
    stages = [cells for cells in found[:-1] if "fold" not in cells[0]]
    for cells, stage in zip(stages, LENET5, strict=True):
        taken = chain_stage(stage)
        assert (number(cells[3]), number(cells[4])) == (taken.dsps, taken.ramb18)
    assert [number(cell) for cell in found[-1][3:5]] == [chain().dsps, chain().ramb18]
    assert f"{chain_cycles.interval():,} cycles" in TEXT
    assert f"{chain_cycles.latency():,} cycles" in TEXT


def test_the_depths() -> None:
    header, _, *lines = rows("Cycles")
    assert header[:2] == ["Loop", "Depth"]
    cells = lines[0]
    for names, depth in zip(cells[0::3], cells[1::3], strict=True):
        for name in names.split(", "):
            assert DEPTHS[name] == int(depth)
