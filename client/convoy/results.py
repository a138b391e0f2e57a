"""What the client gives back: the answer to an array, and the description of a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ModelInfo:
    """A model as a gateway describes it: `shape` is that of one row, `classes` are the names of the outputs."""

    name: str
    version: str
    input: str
    output: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Result:
    """The answer to one `infer`: `array` holds the network's real outputs, float32 (n, classes)."""

    array: NDArray[np.float32]
    #: Names of all classes, in the order of the array's columns; empty when the model has none.
    classes: tuple[str, ...]
    #: Which placement computed it, as EPOCH-COUNTER.
    generation: str
    model: str
    version: str
    #: The gateway that answered.
    gateway: str

    def __len__(self) -> int:
        return len(self.array)

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Softmax over the classes, float32 (n, classes)."""
        flat = self.array.reshape(len(self.array), -1)
        powers = np.exp(flat - flat.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)

    @property
    def top1(self) -> NDArray[np.intp]:
        """Column of the largest output of each row, (n,)."""
        return np.asarray(self.array.reshape(len(self.array), -1).argmax(axis=1), np.intp)

    @property
    def labels(self) -> list[str]:
        """Name of the likeliest class of each row; its number when the model names no classes."""
        return [self.classes[index] if index < len(self.classes) else str(index) for index in self.top1.tolist()]
