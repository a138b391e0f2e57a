"""Cycles of the chain of shell `fixed`: of each kernel for one image, and so how often an image can follow another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convoy_schema.chain import LENET5, ChainStage
from convoy_schema.cycles import run_loops, weighted
from convoy_schema.cycles.loops import Loop, gathered, total
from convoy_schema.folding import fold
from convoy_schema.streams import words_of
from convoy_schema.topology import Kind, Layer, Tensor


@dataclass(frozen=True)
class ChainKernel:
    """One kernel of the chain, and its loops for so many images."""

    name: str
    loops: tuple[Loop, ...]

    @property
    def cycles(self) -> int:
        """Cycles that it takes for them."""
        return total(self.loops)


def kernels(rows: int, stages: Sequence[ChainStage] = LENET5) -> tuple[ChainKernel, ...]:
    """Every kernel over `rows` images, in the order in which they follow one another."""
    found: list[ChainKernel] = []
    for number, stage in enumerate(stages, start=1):
        layer = Layer(f"{stage.kind.value}-{number}", stage.kind, ("x",), "y", stage.window)
        source, output = Tensor("x", stage.source, 1.0, 0), Tensor("y", stage.output, 1.0, 0)
        if stage.folded:
            found.append(ChainKernel(f"fold-{number}", (_fold(stage, rows),)))
            layer, source, _ = fold(layer, source, None)
        if stage.tile is not None:
            loops = gathered(weighted.run(layer, source, output, rows, stage.tile))
        else:
            loops = run_loops(layer, [source], output, rows)
        found.append(ChainKernel(layer.name, loops))
    return tuple(found)


def interval(stages: Sequence[ChainStage] = LENET5) -> int:
    """Cycles from one image to the next: those of the slowest kernel, since all work at once on images of their own."""
    return max(kernel.cycles for kernel in kernels(1, stages))


def latency(stages: Sequence[ChainStage] = LENET5) -> int:
    """Cycles from an image's first word to its last result at most: kernel after kernel, none starting early."""
    return sum(kernel.cycles for kernel in kernels(1, stages))


def _fold(stage: ChainStage, rows: int) -> Loop:
    """Of each row: one position a cycle until the window is full, then its words."""
    assert stage.window is not None
    assert stage.kind is Kind.CONV2D
    width = stage.window.kernel[1]
    words = words_of(stage.source[0] * width)
    return Loop("fold", 1, rows * stage.source[1] * (width - 1 + stage.output[2] * words))
