"""What one kernel can run: the limits of its tile buffers, which planner and fabric enforce alike.

A kernel serves any layer of its kind within them; parameters stream past it and are not limited here. `hls/` refuses
the same layers (a test compares them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from convoy_schema.bounds import Range
from convoy_schema.registers import WORD_BYTES
from convoy_schema.streams import sample_words, words_of
from convoy_schema.tiles import MODULES, ElementTile, PoolTile, WeightedTile
from convoy_schema.topology import Kind, Layer, Tensor, Window

#: The most that an extent can be.
_ANY = 65536
_Most = Annotated[int, Range(0, _ANY)]


@dataclass(frozen=True)
class KernelLimits:
    """The most a kernel of `kind` takes; 0 means that it takes no such tensor, or has no window.

    `channels` and `row` are C and W of a (C, H, W) tensor, `features` the N of a flat one, `window` the longer side of
    a convolution's or pool's kernel in elements, dilation included, and bounds its stride and the padding before it;
    `inputs` is how many tensors go in.

    `line` is the buffer of input in words: a window's rows, channels included, a pool's with those that arrive
    meanwhile, or for dense a sample. `entries` is the buffer of results, `pe` channels each: a row's, or for dense a
    sample's. For both 0 means that the kernel has no such buffer.
    """

    kind: Kind
    channels: _Most
    row: _Most
    features: _Most
    window: _Most = 0
    inputs: Annotated[int, Range(1, 64)] = 1
    line: _Most = 0
    entries: _Most = 0
    pe: Annotated[int, Range(1, 64)] = 1

    def refusal(self, layer: Layer, inputs: Sequence[Tensor], output: Tensor) -> str:
        """Why the kernel cannot run `layer`, with need and have; '' when it can."""
        if layer.kind is not self.kind:
            return f"it needs a {layer.kind.value} kernel, this one is {self.kind.value}"
        needs = [("inputs", len(inputs), self.inputs)]
        for tensor in (*inputs, output):
            if len(tensor.shape) == 3:
                needs += [
                    ("channels", tensor.shape[0], self.channels),
                    ("elements in a row", tensor.shape[2], self.row),
                ]
            else:
                needs += [("features", tensor.size, self.features)]
        if layer.window is not None:
            needs += self._window_needs(layer.window)
        if self.line:
            needs += [("words of the line buffer", _line_words(layer, inputs[0]), self.line)]
        if self.entries:
            columns = output.shape[2] if len(output.shape) == 3 else 1
            needs += [("results in a row", columns * -(-output.shape[0] // self.pe), self.entries)]
        for what, need, have in needs:
            if need > have:
                return f"it needs {need} {what}, the {self.kind.value} kernel has room for {have}"
        return ""

    def _window_needs(self, window: Window) -> list[tuple[str, int, int]]:
        return [
            ("elements along the window", max(window.reach), self.window),
            ("elements of stride", max(window.stride), self.window),
            ("elements of padding", max(window.padding[:2]), self.window),
        ]


def _line_words(layer: Layer, source: Tensor) -> int:
    if layer.window is None:
        return sample_words(source.shape)
    window = layer.window
    rows = window.reach[0]
    if layer.kind is not Kind.CONV2D:  # which waits for the next rows if it must
        rows += window.stride[0]
    return rows * source.shape[2] * words_of(source.shape[0])


def weighted_limits(kind: Kind, tile: WeightedTile) -> KernelLimits:
    """What a conv2d or dense kernel of that tile takes."""
    sizes = {"line": tile.line, "entries": tile.entries, "pe": tile.pe}
    if kind is Kind.CONV2D:
        return KernelLimits(kind, tile.blocks * tile.pe, tile.row, 0, tile.window, **sizes)
    features = tile.line * WORD_BYTES
    return KernelLimits(kind, features, tile.line, features, **sizes)


def pool_limits(kind: Kind, tile: PoolTile) -> KernelLimits:
    """What a pool of that tile takes."""
    return KernelLimits(kind, tile.channels, tile.row, 0, tile.window, line=tile.line)


def elementwise_limits(kind: Kind, tile: ElementTile) -> KernelLimits:
    """What an add, concat or identity of that tile takes: any shape, since it holds none of it."""
    return KernelLimits(kind, _ANY, _ANY, _ANY, inputs=tile.inputs)


def library_limits(kind: Kind) -> KernelLimits:
    """What the layer library's kernel of that kind takes; the floorplans say the same."""
    tile = MODULES[kind]
    if isinstance(tile, WeightedTile):
        return weighted_limits(kind, tile)
    return pool_limits(kind, tile) if isinstance(tile, PoolTile) else elementwise_limits(kind, tile)
