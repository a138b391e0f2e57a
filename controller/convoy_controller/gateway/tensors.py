"""From what a caller sends to int8 rows, and from int8 rows to what a caller understands.

Reals are the network's own input, taken as float32; uint8 is pixels, which the bundle scales; int8 is taken as
quantised already. Used by `service`; it raises `InvalidInputError`, never anything else, for a caller's mistakes.
"""

from __future__ import annotations

import numpy as np
from convoy_schema.bundle import VerifiedModel
from convoy_schema.errors import DecodeError
from convoy_schema.layers import quantise
from convoy_schema.topology import Tensor
from numpy.typing import NDArray

from convoy_controller.errors import InvalidInputError

#: What a caller may send, by NumPy's names.
ACCEPTED = frozenset(map(np.dtype, (np.float32, np.float64, np.float16, np.uint8, np.int8)))


class Converter:
    """The caller's side of one model: input layout and scaling, output as real numbers."""

    def __init__(self, model: VerifiedModel) -> None:
        self.model = model
        self.input: Tensor = model.topology.tensor(model.topology.input)
        spec = model.bundle.input
        # HWC puts the channels last, as image libraries do; the network's own order is CHW.
        self._channels_last = spec.layout == "HWC" and len(self.input.shape) == 3
        pixels = np.arange(256, dtype=np.float32) * np.float32(spec.scale) + np.float32(spec.offset)
        self._of_pixel = quantise(pixels, self.input)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row as a caller sends it."""
        if self._channels_last:
            channels, height, width = self.input.shape
            return (height, width, channels)
        return self.input.shape

    def rows(self, array: NDArray[np.generic]) -> NDArray[np.int8]:
        """int8 (n, *input shape) of an array (n, *shape) of an accepted type."""
        name = self.model.bundle.model
        if array.dtype not in ACCEPTED:
            raise InvalidInputError(
                f"{name} takes float32 (real values), uint8 (pixels) or int8 (quantised), {array.dtype.name} came",
                model=name,
            )
        if array.ndim != len(self.shape) + 1 or array.shape[1:] != self.shape or not len(array):
            expected = ", ".join(["n", *map(str, self.shape)])
            raise InvalidInputError(f"{name} takes an array of shape ({expected}), {array.shape} came", model=name)
        if self._channels_last:
            array = array.transpose(0, 3, 1, 2)
        if array.dtype == np.uint8:
            return np.ascontiguousarray(self._of_pixel[array])
        if array.dtype == np.int8:
            return np.ascontiguousarray(array, np.int8)
        with np.errstate(over="ignore"):  # what float32 cannot hold saturates, as whatever int8 cannot hold does
            reals = array.astype(np.float32, copy=False)
        try:
            return np.ascontiguousarray(quantise(reals, self.input))
        except DecodeError as error:
            raise InvalidInputError(f"{name}: {error}", model=name) from error
