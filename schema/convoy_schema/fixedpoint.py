"""Real numbers on int8: quantisation of inputs, fixed-point scales, and requantisation of accumulators.

Every rounding is half to even, every result saturates. Which layer rescales what is for `convoy_schema.layers`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convoy_schema.errors import DecodeError, TopologyError
from convoy_schema.topology import Tensor

#: A multiplier has 24 bits, the first of them set.
MIN_MULTIPLIER = 2**23
MAX_MULTIPLIER = 2**24 - 1
#: An int32 accumulator times a multiplier is below 2 ** 55, so a shift of 62 makes zero of everything.
MAX_SHIFT = 62


def fixed_point(real_scale: float) -> tuple[int, int]:
    """(multiplier, shift) nearest to `real_scale`: exact for a float32. A scale too small to matter becomes 2 ** -39.

    Raises `TopologyError` unless 0 < real_scale < 2 ** 24 - 1/2.
    """
    if not 0 < real_scale < 2**24 - 0.5:
        raise TopologyError(f"a scale must be above 0 and below 2 ** 24, {real_scale!r} came", scale=real_scale)
    mantissa, exponent = math.frexp(real_scale)
    multiplier, shift = round(mantissa * 2**24), 24 - exponent
    if multiplier > MAX_MULTIPLIER:
        multiplier, shift = MIN_MULTIPLIER, shift - 1
    if shift > MAX_SHIFT:
        return MIN_MULTIPLIER, MAX_SHIFT
    return multiplier, shift


def scale_of(multiplier: NDArray[np.int32], shift: NDArray[np.int32]) -> NDArray[np.float64]:
    """The real scales multiplier * 2 ** -shift, exactly."""
    return np.ldexp(multiplier.astype(np.float64), -shift)


def round_shift(value: NDArray[np.int64], shift: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """value * 2 ** -shift rounded half to even, in integers; |value| < 2 ** 62, shift in [0, 62]."""
    amount = np.asarray(shift, np.int64)
    floor = value >> amount
    twice = (value - (floor << amount)) << 1
    unit = np.left_shift(np.int64(1), amount)
    up = (twice > unit) | ((twice == unit) & ((floor & 1) == 1))
    return np.asarray(floor + up, np.int64)


class Requantiser:
    """Accumulators to int8: times a scale a channel, rounded half to even, plus zero point, clamped to [low, high].

    `bound` is the largest |accumulator|. It, `multiplier` and `shift` are shaped to broadcast against accumulators.
    """

    def __init__(
        self,
        multiplier: NDArray[np.int32],
        shift: NDArray[np.int32],
        bound: NDArray[np.int64] | np.int64,
        zero_point: int,
        clamp: tuple[int, int],
    ) -> None:
        self.multiplier = multiplier.astype(np.int64)
        self.shift = shift.astype(np.int64)
        self.is_float = bool(_fits_float(bound * self.multiplier, self.shift).all())
        self.scale = scale_of(multiplier, shift)
        self.low, self.high = clamp[0] - zero_point, clamp[1] - zero_point
        self.zero_point = zero_point

    def __call__(self, sums: NDArray[np.float64], pick: slice | None = None) -> NDArray[np.int8]:
        """The int8 of `sums`, whole numbers, with the scales `pick` along their first axis when given.

        `sums` is overwritten.
        """
        if self.is_float:
            sums *= self.scale if pick is None else self.scale[pick]
            np.rint(sums, out=sums)
        else:
            multiplier, shift = (a if pick is None else a[pick] for a in (self.multiplier, self.shift))
            sums[...] = round_shift(sums.astype(np.int64) * multiplier, shift)
        sums.clip(self.low, self.high, out=sums)
        sums += self.zero_point
        return sums.astype(np.int8)


def _fits_float(bound: NDArray[np.int64], shift: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where products of at most `bound`, times 2 ** -shift and rounded to a float64, are rounded and clamped as the
    exact ones are: all of them are exact; or all are at most a half, and zero; or those below 2 ** 9 are exact, and
    larger ones, however they are rounded, stay so large that they are clamped.
    """
    are_exact = bound < 2**53
    are_zero = bound <= np.left_shift(np.int64(1), np.maximum(shift - 1, 0))
    return np.asarray(are_exact | are_zero | (shift <= 53 - 9))


def quantise(real: NDArray[Any], tensor: Tensor) -> NDArray[np.int8]:
    """int8 of real values: float32 division, rint, plus zero point, saturated. Raises `DecodeError` for a NaN."""
    scaled = np.rint(np.asarray(real, np.float32) / np.float32(tensor.scale))
    if np.isnan(scaled).any():
        raise DecodeError(f"values for tensor {tensor.name!r} must be numbers, NaN came", field=tensor.name)
    scaled += np.float32(tensor.zero_point)
    return np.asarray(np.clip(scaled, -128, 127).astype(np.int8))


def dequantise(values: NDArray[np.int8], tensor: Tensor) -> NDArray[np.float32]:
    """Real values of int8 ones, in float32."""
    shifted = np.asarray(values, np.float32) - np.float32(tensor.zero_point)
    return np.asarray(shifted * np.float32(tensor.scale), np.float32)
