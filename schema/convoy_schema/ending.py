"""Softmax or ArgMax behind a network's last layer: what a bundle says of it, and how it is computed, in float32.

No layer and no kernel: whoever holds the network's real output applies it. Boards and golden tensors end before it.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from convoy_schema.bounds import Range, Size
from convoy_schema.names import Label

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_Extent = Annotated[int, Range(1, 2**24)]


class Operation(enum.Enum):
    """What is done with the network's real output before a caller gets it."""

    NONE = "none"
    SOFTMAX = "softmax"
    ARGMAX = "argmax"


@dataclass(frozen=True)
class Ending:
    """The operation at the end: `view` is the shape of one sample as it goes in, `shape` as it comes out.

    `axis` is one of `view`. Of equal values ArgMax takes the first, or the last when `is_last`. `name` is that of the
    result. The default is no operation, whose other fields mean nothing.
    """

    operation: Operation = Operation.NONE
    name: Label | None = None
    view: Annotated[tuple[_Extent, ...], Size(8)] = ()
    axis: Annotated[int, Range(0, 7)] = 0
    shape: Annotated[tuple[_Extent, ...], Size(8)] = ()
    is_last: bool = False

    def __post_init__(self) -> None:
        if self.operation is Operation.NONE:
            return
        if self.axis >= len(self.view):
            raise ValueError(f"axis {self.axis} must be one of the view {self.view}")
        made = math.prod(self.view) // (self.view[self.axis] if self.operation is Operation.ARGMAX else 1)
        if math.prod(self.shape) != made:
            raise ValueError(f"{self.operation.value} of {self.view} makes {made} elements, not {self.shape}")

    def fits(self, size: int) -> bool:
        """Whether it can stand behind an output of `size` elements a sample."""
        return self.operation is Operation.NONE or math.prod(self.view) == size

    def apply(self, real: NDArray[np.float32]) -> NDArray[Any]:
        """Of real outputs (n, ...): float32 probabilities or int64 class numbers (n, *shape); without one, `real`."""
        if self.operation is Operation.NONE:
            return real
        import numpy as np  # only here, since whoever reads a bundle's words need not load it

        axis, seen = self.axis + 1, np.asarray(real, np.float32).reshape(len(real), *self.view)
        if self.operation is Operation.SOFTMAX:
            return softmax(seen, axis).reshape(len(real), *self.shape)
        found = self.view[self.axis] - 1 - np.flip(seen, axis).argmax(axis) if self.is_last else seen.argmax(axis)
        return np.asarray(found, np.int64).reshape(len(real), *self.shape)


def softmax(real: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Softmax of float32 over `axis`; no power exceeds 1, so nothing overflows."""
    import numpy as np

    powers = np.exp(real - real.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True), np.float32)
