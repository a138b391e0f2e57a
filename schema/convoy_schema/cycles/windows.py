"""How the rows of a tensor arrive below a moving window: what convolutions and pools count alike."""

from __future__ import annotations

from convoy_schema.costs import window_of
from convoy_schema.topology import Layer, Tensor


def rows_needed(layer: Layer, source: Tensor, output: Tensor, row: int) -> int:
    """Input rows that arrive before output row `row` is made; past the last one, all of them."""
    if row >= output.shape[1]:
        return source.shape[1]
    window = window_of(layer)
    return min(max(row * window.stride[0] + window.reach[0] - window.padding[0], 0), source.shape[1])
