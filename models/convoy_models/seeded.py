"""Weights and inputs that come out of a name: the same bytes on every machine, so that a file need not hold them.

For networks that nobody trained: what matters of them is their shapes, and that their values are of a sensible size.
`convoy_models` writes weights with it; the exporter and the tests take the same. Needs NumPy only.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray


def weights(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """float32 of `shape` (outputs first), uniform and as wide as keeps the size of what goes through a Relu."""
    count = math.prod(shape)
    numbers = np.frombuffer(hashlib.shake_256(name.encode()).digest(2 * count), "<u2").reshape(shape)
    width = math.sqrt(6 / math.prod(shape[1:]))
    return ((numbers.astype(np.float64) - 32767.5) * (width / 32767.5)).astype(np.float32)


def pixels(name: str, rows: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """uint8 (rows, *shape): large patches of one value with fine noise on them, so that averages differ too."""
    count = rows * math.prod(shape)
    drawn = np.frombuffer(hashlib.shake_256(f"{name} input".encode()).digest(2 * count), np.uint8)
    noise, coarse = drawn[:count].reshape(rows, *shape), drawn[count:].reshape(rows, *shape)
    for axis in range(2 if len(shape) == 3 else 1, coarse.ndim):
        coarse = coarse.take(np.arange(coarse.shape[axis]) // 8 * 8, axis)
    return ((noise.astype(np.uint16) + 3 * coarse.astype(np.uint16)) // 4).astype(np.uint8)
