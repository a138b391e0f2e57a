"""Cycles of conv2d and dense, from the shapes and the tile alone."""

from __future__ import annotations

from itertools import pairwise

from convoy_schema.costs import window_of
from convoy_schema.cycles.loops import Loop, entered
from convoy_schema.cycles.windows import rows_needed
from convoy_schema.streams import Blocks, dense_tile, words_of
from convoy_schema.tiles import WeightedTile
from convoy_schema.topology import Kind, Layer, Tensor


def load(layer: Layer, source: Tensor, output: Tensor, tile: WeightedTile) -> list[Loop]:
    """Loops of `LOAD`: the range of each block (conv2d), and the parameters of all of them where they are held."""
    blocks = Blocks(layer, source, output, tile)
    loops = [Loop("ranges", 1, blocks.count)] if layer.kind is Kind.CONV2D else []
    if blocks.held:
        trips = int(blocks.steps.sum()) * tile.pe + blocks.count * tile.pe
        loops.append(Loop("load", blocks.count, trips))
    return loops


def run(layer: Layer, source: Tensor, output: Tensor, rows: int, tile: WeightedTile) -> list[Loop]:
    """Loops of `RUN` over `rows` samples."""
    blocks = Blocks(layer, source, output, tile)
    if layer.kind is Kind.DENSE:
        return _dense(blocks, rows)
    sample = _convolution(layer, source, output, blocks)
    return [Loop(loop.name, loop.entries * rows, loop.trips * rows) for loop in sample]


def _row(blocks: Blocks, columns: int) -> list[Loop]:
    """All blocks over one row: a step a cycle and position, but never fewer cycles than its results need to leave.

    A block whose weights do not fit comes in chunks; the results of its last chunk leave after the last position.
    """
    tile = blocks.tile
    pace = tile.pe // tile.rate
    loads, computes = [], []
    for steps in map(int, blocks.steps):
        whole, rest = divmod(steps, tile.depth)
        last = rest or tile.depth
        chunks = whole + (1 if rest else 0)
        computes += [columns * tile.depth] * (chunks - 1) + [columns * max(last, pace) + pace]
        if not blocks.held:
            sizes = [tile.depth] * (chunks - 1) + [last]
            loads += [size * tile.pe + (tile.pe if index == 0 else 0) for index, size in enumerate(sizes)]
    return [entered("load", loads), entered("compute", computes)]


def _dense(blocks: Blocks, rows: int) -> list[Loop]:
    """Tile after tile: take its samples, compute, give the results."""
    loops: list[Loop] = []
    tile = dense_tile(blocks, rows)
    whole, rest = divmod(rows, tile)
    for samples, times in ((tile, whole), (rest, 1 if rest else 0)):
        one = [
            Loop("fill", 1, samples * blocks.spans[0][1]),
            *_row(blocks, samples),
            Loop("drain", 1, samples * blocks.count),
        ]
        loops += [Loop(loop.name, loop.entries * times, loop.trips * times) for loop in one]
    return loops


def _convolution(layer: Layer, source: Tensor, output: Tensor, blocks: Blocks) -> list[Loop]:
    """One sample: the first window's rows arrive, then each row computes while the next arrives and the last leaves.

    What arrives and leaves is hidden as far as the row's computation lasts, and takes cycles of its own beyond; and
    where the memories have no room for two rows, nothing is hidden.
    """
    height, columns = output.shape[1:]
    line = source.shape[2] * words_of(source.shape[0])
    needed = [rows_needed(layer, source, output, row) for row in range(height + 1)]
    row = _row(blocks, columns)
    (hidden,) = (loop.trips for loop in row if loop.name == "compute")
    window, tile = window_of(layer), blocks.tile
    early = (window.reach[0] + window.stride[0]) * line <= tile.line
    arriving = [(after - before) * line - (hidden if early else 0) for before, after in pairwise(needed)]
    results = columns * blocks.count
    late = 2 * results <= tile.entries
    leaving = [max(0, results - hidden) if late else results] * (height - 1) + [results]
    return [
        entered("fill", [needed[0] * line, *(max(0, words) for words in arriving)]),
        *(Loop(loop.name, loop.entries * height, loop.trips * height) for loop in row),
        entered("drain", leaving),
    ]
