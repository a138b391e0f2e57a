"""Cycles of the pools, from the shapes and the tile alone."""

from __future__ import annotations

import itertools
import math

from convoy_schema.costs import window_of
from convoy_schema.cycles.loops import Loop, entered
from convoy_schema.cycles.windows import rows_needed
from convoy_schema.kernels import covered
from convoy_schema.registers import WORD_BYTES
from convoy_schema.streams import sample_words, words_of
from convoy_schema.tiles import PoolTile
from convoy_schema.topology import Kind, Layer, Tensor

#: Sets of sums that global-average-pool takes turns with, and so the fewest cycles that a word's sums take to add up.
_LAPS = 4


def load(layer: Layer, source: Tensor, output: Tensor) -> list[Loop]:
    """Loops of `LOAD`: an average pool's scales, which are one for each number of elements where that differs."""
    if layer.kind is not Kind.AVERAGE_POOL:
        return []
    window = window_of(layer)
    taps = math.prod(window.kernel)
    counts = covered(window, source, (output.shape[1], output.shape[2]))
    return [Loop("load", 1, 1 if layer.count_include_pad or counts.min() == taps else taps)]


def run(layer: Layer, source: Tensor, output: Tensor, rows: int, tile: PoolTile) -> list[Loop]:
    """Loops of `RUN` over `rows` samples."""
    sample = _global(source, tile) if layer.kind is Kind.GLOBAL_AVERAGE_POOL else _windowed(layer, source, output, tile)
    return [Loop(loop.name, loop.entries * rows, loop.trips * rows) for loop in sample]


def _windowed(layer: Layer, source: Tensor, output: Tensor, tile: PoolTile) -> list[Loop]:
    """One sample: the first window's rows arrive, then each output row is made while the next one's rows arrive.

    What arrives is hidden as far as the row's computation lasts, and takes cycles of its own beyond.
    """
    height = output.shape[1]
    line = source.shape[2] * words_of(source.shape[0])
    needed = [rows_needed(layer, source, output, row) for row in range(height + 1)]
    name, trips = _row(layer, output, tile)
    arriving = [(after - before) * line - trips for before, after in itertools.pairwise(needed)]
    fill = entered("fill", [needed[0] * line, *(max(0, words) for words in arriving)])
    return [fill, Loop(name, height, height * trips)]


def _row(layer: Layer, output: Tensor, tile: PoolTile) -> tuple[str, int]:
    """A tap a cycle for each word of an output row; an average's last word is still to be rescaled at its end."""
    taps = math.prod(window_of(layer).kernel)
    words = output.shape[2] * words_of(output.shape[0])
    if layer.kind is Kind.MAX_POOL:
        return "maximum", words * taps
    pace = WORD_BYTES // tile.rate
    return "average", words * max(taps, pace) + min(taps, pace)


def _global(source: Tensor, tile: PoolTile) -> list[Loop]:
    """One sample: a word a cycle is added, then every word's sums are added up and rescaled."""
    pace = WORD_BYTES // tile.rate
    steps = max(pace, _LAPS)
    words = words_of(source.shape[0])
    return [
        Loop("accumulate", 1, sample_words(source.shape)),
        Loop("finish", 1, words * steps + pace - (steps - _LAPS)),
    ]
