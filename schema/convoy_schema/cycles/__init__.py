"""Cycles that the layer library's kernels take, by formula: the loops of `LOAD` and of `RUN`, for any layer.

A convolution that is folded on the way to its kernel is counted as folded (`convoy_schema.folding`).

The count is exact for the code as it stands (tests compare every random configuration with the trips that the g++ build
counts); one iteration a cycle and each loop's depth are a model until Vitis HLS has reported them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from convoy_schema.cycles import elementwise, pools, weighted
from convoy_schema.cycles.loops import Loop, gathered, total
from convoy_schema.folding import given
from convoy_schema.tiles import ADD, AVERAGE_POOL, CONCAT, CONV2D, DENSE, GLOBAL_AVERAGE_POOL, IDENTITY, MAX_POOL
from convoy_schema.topology import Kind, Layer, Tensor

__all__ = ["Loop", "load", "load_loops", "run", "run_loops", "total"]

#: Layers and numbers of samples whose cycles are remembered: a board's run after run, a planner's plan after plan.
_REMEMBERED = 8192


_WEIGHTED = {Kind.CONV2D: CONV2D, Kind.DENSE: DENSE}
_POOLS = {
    Kind.MAX_POOL: MAX_POOL,
    Kind.AVERAGE_POOL: AVERAGE_POOL,
    Kind.GLOBAL_AVERAGE_POOL: GLOBAL_AVERAGE_POOL,
}
_ELEMENTWISE = {Kind.ADD: ADD, Kind.CONCAT: CONCAT, Kind.IDENTITY: IDENTITY}


def load(layer: Layer, inputs: Sequence[Tensor], output: Tensor) -> int:
    """Cycles of `LOAD`: a kernel takes a layer's parameters. Of a layer beyond its kernel, what a larger one would."""
    return _load(layer, tuple(inputs), output)


def run(layer: Layer, inputs: Sequence[Tensor], output: Tensor, rows: int) -> int:
    """Cycles of `RUN` over `rows` samples, parts that come once a run included; 0 of none. See `load`."""
    return _run(layer, tuple(inputs), output, rows) if rows else 0


@lru_cache(_REMEMBERED)
def _load(layer: Layer, inputs: tuple[Tensor, ...], output: Tensor) -> int:
    return total(load_loops(layer, inputs, output))


@lru_cache(_REMEMBERED)
def _run(layer: Layer, inputs: tuple[Tensor, ...], output: Tensor, rows: int) -> int:
    return total(run_loops(layer, inputs, output, rows))


def load_loops(layer: Layer, inputs: Sequence[Tensor], output: Tensor) -> tuple[Loop, ...]:
    """Loops of `LOAD` for a layer that fits its kernel, as the kernel is given it."""
    as_given = given(layer, inputs)
    layer, inputs = as_given.layer, as_given.inputs
    if layer.kind in _WEIGHTED:
        return gathered(weighted.load(layer, inputs[0], output, _WEIGHTED[layer.kind]))
    if layer.kind in _POOLS:
        return gathered(pools.load(layer, inputs[0], output))
    return gathered(elementwise.load(layer, inputs))


def run_loops(layer: Layer, inputs: Sequence[Tensor], output: Tensor, rows: int) -> tuple[Loop, ...]:
    """Loops of `RUN` over `rows` samples of a layer that fits its kernel, as the kernel is given it."""
    as_given = given(layer, inputs)
    layer, inputs = as_given.layer, as_given.inputs
    if layer.kind in _WEIGHTED:
        return gathered(weighted.run(layer, inputs[0], output, rows, _WEIGHTED[layer.kind]))
    if layer.kind in _POOLS:
        return gathered(pools.run(layer, inputs[0], output, rows, _POOLS[layer.kind]))
    return gathered(elementwise.run(layer, inputs, output, rows, _ELEMENTWISE[layer.kind]))
