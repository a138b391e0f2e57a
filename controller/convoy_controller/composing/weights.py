"""The parameters of a composed network: brought in an .npz file, or drawn from a seed.

Names and layouts are PyTorch's: `LAYER.weight`, (outputs, inputs / groups, height, width) or (outputs, inputs), and
`LAYER.bias`. So a `state_dict` saved by NumPy fits a network whose layers are called alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from convoy_models import seeded as drawn
from numpy.typing import NDArray

from convoy_controller.archives import read_arrays
from convoy_controller.composing.network import MAX_WEIGHTS, refuse
from convoy_controller.composing.operations import Shape
from convoy_controller.errors import NotFoundError

Float = NDArray[np.float32]
#: Bytes that the arrays of a file unpack to, at most.
MAX_BYTES = 10 * MAX_WEIGHTS
#: Names that one reason shows.
_MOST_SHOWN = 12


def load(path: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of an .npz file by name; raises `NotFoundError` or `DatasetError`, and unpacks nothing gigantic."""
    if not path.is_file():
        raise NotFoundError(f"there is no file {path} with parameters: give an .npz file, or `seeded`")
    return read_arrays(path, most_bytes=MAX_BYTES)


def checked(network: str, needed: Mapping[str, Shape], given: Mapping[str, NDArray[np.generic]]) -> dict[str, Float]:
    """`given` as float32; raises `CompositionError` with every one that lacks, does not fit or is not known."""
    reasons, held = [], {}
    for name, shape in needed.items():
        if name not in given:
            reasons.append(f"parameter {name}: must be there, float of shape {shape}; nothing came")
            continue
        array = np.asarray(given[name])
        if array.dtype.kind not in "fiu" or array.shape != shape:
            reasons.append(f"parameter {name}: must be float of shape {shape}, {array.dtype} of {array.shape} came")
            continue
        with np.errstate(over="ignore"):
            held[name] = array.astype(np.float32)
        if not np.isfinite(held[name]).all():
            reasons.append(f"parameter {name}: must be finite in float32, values that are not came")
    unknown = [name for name in given if name not in needed]
    if unknown:
        more = f" and {len(unknown) - _MOST_SHOWN} more" if len(unknown) > _MOST_SHOWN else ""
        reasons.append(
            f"parameters {', '.join(unknown[:_MOST_SHOWN])}{more}: no layer has them; there may be "
            f"{', '.join(list(needed)[:_MOST_SHOWN])}{', ...' if len(needed) > _MOST_SHOWN else ''}"
        )
    if reasons:
        raise refuse(network, reasons)
    return held


def seeded(network: str, needed: Mapping[str, Shape], seed: int) -> dict[str, Float]:
    """Random weights as wide as keeps values of one size, and small biases: the same for the same names and seed."""
    held = {}
    for name, shape in needed.items():
        found = drawn.weights(f"{network} {seed} {name}", shape if len(shape) > 1 else (*shape, 600))
        held[name] = found if len(shape) > 1 else np.ascontiguousarray(found[:, 0])
    return held
