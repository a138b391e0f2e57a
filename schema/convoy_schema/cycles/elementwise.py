"""Cycles of add, concat and identity, from the shapes and the tile alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from convoy_schema.cycles.loops import Loop
from convoy_schema.registers import WORD_BYTES
from convoy_schema.streams import sample_words, words_of
from convoy_schema.tiles import ElementTile
from convoy_schema.topology import Kind, Layer, Tensor

#: Values of an int8, each of which concat looks up.
_VALUES = 256


def load(layer: Layer, inputs: Sequence[Tensor]) -> list[Loop]:
    """Loops of `LOAD`: add's two scales, or concat's table of every input."""
    if layer.kind is Kind.ADD:
        return [Loop("load", 1, len(inputs))]
    return [Loop("tables", 1, _VALUES * len(inputs))] if layer.kind is Kind.CONCAT else []


def run(layer: Layer, inputs: Sequence[Tensor], output: Tensor, rows: int, tile: ElementTile) -> list[Loop]:
    """Loops of `RUN` over `rows` samples, which are one sequence of words."""
    if layer.kind is Kind.IDENTITY:
        return [Loop("clamp", 1, rows * sample_words(output.shape))]
    if layer.kind is Kind.ADD:
        # The first result follows when a word of each input is there.
        return [Loop("add", 1, rows * sample_words(output.shape) * (WORD_BYTES // tile.rate) + 2)]
    # A word a cycle; one may still wait behind the last.
    taken = sum(words_of(tensor.shape[0]) for tensor in inputs)
    return [Loop("concat", 1, rows * math.prod(output.shape[1:]) * taken + 1)]
