"""How fast this machine's processor runs layers, measured: for boards whose configuration does not say.

Two small layers over one row and over many, a few milliseconds in all. The figures are rounded, so that boards that are
alike stay alike to the planner.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable

import numpy as np
from convoy_schema.processors import ProcessorRate
from convoy_schema.topology import Kind

from convoy_device.sample_layers import Sample, sample

#: Rows of the large batch, and how often each batch runs: the fastest counts.
ROWS, TIMES = 64, 3


@functools.cache
def measured() -> ProcessorRate:
    """This process's processor, measured once."""
    return rate_of(time.perf_counter)


def rate_of(clock: Callable[[], float]) -> ProcessorRate:
    """The rate that `clock` (seconds) shows."""
    (call_s, mac_s, work), (add_call_s, moved_s, bytes_moved) = _weighted(clock), _moved(clock)
    return ProcessorRate(
        rounded(work / max(mac_s, 1e-9)),
        rounded(bytes_moved / max(moved_s, 1e-9)),
        rounded(max(call_s, add_call_s, 1e-9)),
    )


def rounded(value: float) -> float:
    """The nearest power of the square root of two to `value`, which is above 0."""
    return float(2.0 ** (round(2 * math.log2(value)) / 2))


def _weighted(clock: Callable[[], float]) -> tuple[float, float, int]:
    """Seconds of a call, seconds of the rows beyond the first, and the multiply-accumulates of those."""
    convolution = sample(Kind.CONV2D)
    one, many = _timed(convolution, 1, clock), _timed(convolution, ROWS, clock)
    return one, many - one, convolution.layer.cost.macs * (ROWS - 1)


def _moved(clock: Callable[[], float]) -> tuple[float, float, int]:
    """The same in bytes, of a layer that multiplies nothing."""
    addition = sample(Kind.ADD)
    one, many = _timed(addition, 1, clock), _timed(addition, ROWS, clock)
    return one, many - one, addition.layer.cost.buffer_bytes * (ROWS - 1)


def _timed(chosen: Sample, rows: int, clock: Callable[[], float]) -> float:
    """Seconds of the fastest of several runs over `rows` rows."""
    inputs = [np.resize(array, (rows, *array.shape[1:])) for array in chosen.inputs]
    chosen.layer.run(inputs)  # whatever the first run sets up is no rate
    fastest = math.inf
    for _ in range(TIMES):
        began = clock()
        chosen.layer.run(inputs)
        fastest = min(fastest, clock() - began)
    return fastest
