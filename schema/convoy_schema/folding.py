"""Folding: a convolution's window columns laid side by side as channels, so that few channels fill the lanes of a word.

A kernel takes a word of eight channels a cycle, whether or not all of them are there. Of a convolution over one channel
and five columns, folded, five lanes of eight work, and a fifth of the taps are left. The sums are the same products in
another order, so the results are the same to the last bit. Where a fold keeps a position one word, whoever packs
activations for a kernel folds them on the way (`given`); the chain of shell `fixed` has kernels that fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from convoy_schema.costs import window_of
from convoy_schema.errors import TopologyError
from convoy_schema.parameters import Parameters
from convoy_schema.registers import WORD_BYTES
from convoy_schema.topology import Kind, Layer, Tensor

Int8 = NDArray[np.int8]

#: Channels that a kernel multiplies at once, and that a word carries.
LANES: Final = WORD_BYTES


@dataclass(frozen=True)
class Given:
    """A layer as its kernel is given it: as it is, or folded."""

    layer: Layer
    inputs: tuple[Tensor, ...]
    parameters: Parameters | None
    #: The layer whose columns `arrays` folds; None: it is given as it is.
    folded: tuple[Layer, Tensor] | None = None

    def arrays(self, arrays: Sequence[Int8]) -> Sequence[Int8]:
        """What the kernel's stream carries of the layer's inputs (rows, *shape) each."""
        return arrays if self.folded is None else [fold_tensor(*self.folded, arrays[0])]


def given(layer: Layer, inputs: Sequence[Tensor], parameters: Parameters | None = None) -> Given:
    """Folded where that keeps a position one word and a row no longer, so that whatever fits unfolded fits folded."""
    if not _pays(layer, inputs[0]):
        return Given(layer, tuple(inputs), parameters)
    narrow, source, laid = fold(layer, inputs[0], parameters)
    return Given(narrow, (source,), laid, (layer, inputs[0]))


def _pays(layer: Layer, source: Tensor) -> bool:
    if layer.kind is not Kind.CONV2D or layer.groups != 1:
        return False
    width = window_of(layer).kernel[1]
    return width > 1 and source.shape[0] * width <= LANES and columns(layer, source) <= source.shape[2]


def columns(layer: Layer, source: Tensor) -> int:
    """Width of the folded input, which is the output's: a position for every place of the window along a row."""
    window = window_of(layer)
    left, right = window.padding[1], window.padding[3]
    return (source.shape[2] + left + right - window.reach[1]) // window.stride[1] + 1


def fold(layer: Layer, source: Tensor, parameters: Parameters | None) -> tuple[Layer, Tensor, Parameters | None]:
    """The same convolution with the window's columns as channels: one column wide, channel k * C + c for column k.

    Stride, padding and dilation along a row go into the fold. `TopologyError` for a convolution with groups.
    """
    window = window_of(layer)
    if layer.groups != 1:
        raise TopologyError(f"layer {layer.name}: a convolution in {layer.groups} groups cannot be folded, only in 1")
    (height, width), (top, _, bottom, _) = window.kernel, window.padding
    upright = replace(
        window,
        kernel=(height, 1),
        stride=(window.stride[0], 1),
        padding=(top, 0, bottom, 0),
        dilation=(window.dilation[0], 1),
    )
    narrow = replace(source, shape=(source.shape[0] * width, source.shape[1], columns(layer, source)))
    if parameters is None or parameters.weights is None:
        return replace(layer, window=upright), narrow, parameters
    weights = parameters.weights.transpose(0, 3, 1, 2).reshape(len(parameters.weights), -1, height, 1)
    folded = replace(parameters, weights=np.ascontiguousarray(weights))
    return replace(layer, window=upright), narrow, folded


def fold_tensor(layer: Layer, source: Tensor, array: Int8) -> Int8:
    """int8 (rows, k * C + c, H, columns) of (rows, C, H, W); padding is the zero point."""
    window = window_of(layer)
    left, right = window.padding[1], window.padding[3]
    padded = np.pad(array, ((0, 0), (0, 0), (0, 0), (left, right)), constant_values=source.zero_point)
    (_, stride), (_, step) = window.stride, window.dilation
    reach = stride * (columns(layer, source) - 1) + 1
    return np.concatenate(
        [padded[..., tap * step : tap * step + reach : stride] for tap in range(window.kernel[1])], axis=1
    )
