"""What a name stands for while a quantised ONNX graph is read.

Constants, the float input, int8 tensors, and results that are not quantised yet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from convoy_schema.topology import Kind, Tensor, Window
from numpy.typing import NDArray


class Refusal(Exception):  # noqa: N818 - never leaves the reader, which collects them
    """Why one node cannot be taken, and what could be done about it."""


@dataclass(frozen=True)
class Constant:
    """An initialiser; `scale` (one, or one a channel along `axis`) once it has come through DequantizeLinear."""

    array: NDArray[Any]
    scale: NDArray[np.float32] | None = None
    axis: int = 0

    @property
    def real(self) -> NDArray[np.float64]:
        """Its values as real numbers."""
        if self.scale is None:
            return self.array.astype(np.float64)
        along = [1] * self.array.ndim
        if self.scale.size > 1:
            along[self.axis] = -1
        return self.array * self.scale.astype(np.float64).reshape(along)


@dataclass(frozen=True)
class Quantised:
    """An int8 tensor of the topology, before or behind DequantizeLinear; nodes that fold away change its `shape`."""

    tensor: Tensor
    shape: tuple[int, ...]

    @property
    def is_reshaped(self) -> bool:
        """Whether its shape is no longer the tensor's own."""
        return self.shape != self.tensor.shape


@dataclass(frozen=True)
class Source:
    """The network's float input, before it is quantised."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Pending:
    """The real result of an operation, which becomes a layer where it is quantised. `floor` and `ceiling` clamp it."""

    node: str
    kind: Kind
    inputs: tuple[Quantised, ...]
    shape: tuple[int, ...]
    window: Window | None = None
    groups: int = 1
    count_include_pad: bool = False
    weights: NDArray[np.int8] | None = None
    weight_scale: NDArray[np.float32] | None = None
    bias: NDArray[np.int64] | None = None
    floor: float = -math.inf
    ceiling: float = math.inf
    is_rescale: bool = False
    made: dict[tuple[float, int], Tensor] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Refused:
    """The result of a node that was refused: what depends on it is not refused a second time."""


Value = Constant | Quantised | Source | Pending | Refused
