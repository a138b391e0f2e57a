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
class View:
    """How a tensor's elements are looked at: in `shape`, and in C order or, once they were transposed, in `order`.

    `order` holds, for each element of the view, which element of the tensor it is.
    """

    shape: tuple[int, ...]
    order: NDArray[np.int64] | None = None

    def reshaped(self, shape: tuple[int, ...]) -> View:
        """The same elements in the same order, in another shape."""
        return View(shape, self.order)

    def transposed(self, perm: tuple[int, ...]) -> View:
        """With the axes in the order `perm`."""
        own = np.arange(math.prod(self.shape)) if self.order is None else self.order
        turned = own.reshape(self.shape).transpose(perm)
        order = turned.ravel()
        return View(turned.shape, None if np.array_equal(order, np.arange(order.size)) else order)

    def is_like(self, other: View) -> bool:
        """Whether both show the elements of two tensors of one shape in the same way."""
        if self.order is None or other.order is None:
            return self.shape == other.shape and self.order is other.order
        return self.shape == other.shape and np.array_equal(self.order, other.order)


@dataclass(frozen=True)
class Quantised:
    """An int8 tensor of the topology, before or behind DequantizeLinear; nodes that fold away change its `view`."""

    tensor: Tensor
    view: View

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in which the node that takes it sees it."""
        return self.view.shape

    @property
    def is_reshaped(self) -> bool:
        """Whether it is not seen as the tensor lies in memory."""
        return self.shape != self.tensor.shape or self.view.order is not None


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
    #: How the result is seen, where that is not as it lies.
    view: View | None = None
    floor: float = -math.inf
    ceiling: float = math.inf
    is_rescale: bool = False
    made: dict[tuple[float, int], Tensor] = field(default_factory=dict, compare=False)

    @property
    def seen(self) -> View:
        """The view of its result."""
        return View(self.shape) if self.view is None else self.view


@dataclass(frozen=True)
class Refused:
    """The result of a node that was refused: what depends on it is not refused a second time."""


Value = Constant | Quantised | Source | Pending | Refused
