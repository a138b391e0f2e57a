"""What the client gives back: the answer to an array, and the description of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convoy.errors import InvalidInputError


@dataclass(frozen=True)
class ModelInfo:
    """A model as a gateway describes it: `shape` is that of one row, `classes` are the names of the outputs.

    `ending` says what it answers: "none" real outputs, "softmax" probabilities, "argmax" numbers of classes.
    """

    name: str
    version: str
    input: str
    output: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    ending: str = "none"


@dataclass(frozen=True, eq=False)
class Result:
    """The answer to one `infer`: `array` is what the model's own file gives.

    float32 (n, classes) of real outputs, or of probabilities for one that ends in Softmax; int64 numbers of classes
    for one that ends in ArgMax.
    """

    array: NDArray[Any]
    #: Names of all classes, by number; empty when the model has none.
    classes: tuple[str, ...]
    #: Which placement computed it, as EPOCH-COUNTER.
    generation: str
    model: str
    version: str
    #: The gateway that answered.
    gateway: str
    #: As in `ModelInfo`.
    ending: str = "none"

    def __len__(self) -> int:
        return len(self.array)

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Of the classes, float32 (n, classes). Raises `InvalidInputError` for a model that ends in ArgMax."""
        flat = self.array.reshape(len(self.array), -1)
        if self.ending == "argmax":
            raise InvalidInputError(
                f"{self.model} answers with classes, not with probabilities: bring it without the ArgMax at its end",
                model=self.model,
            )
        if self.ending == "softmax":
            return flat
        powers = np.exp(flat - flat.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)

    @property
    def top1(self) -> NDArray[np.intp]:
        """Number of the likeliest class of each row, (n,). Raises `InvalidInputError` where a row has several."""
        flat = self.array.reshape(len(self.array), -1)
        if self.ending != "argmax":
            return np.asarray(flat.argmax(axis=1), np.intp)
        if flat.shape[1] != 1:
            raise InvalidInputError(f"{self.model} gives {flat.shape[1]} classes a row: take them from `array`")
        return np.asarray(flat[:, 0], np.intp)

    @property
    def labels(self) -> list[str]:
        """Name of the likeliest class of each row; its number when the model names no classes."""
        return [self.classes[index] if index < len(self.classes) else str(index) for index in self.top1.tolist()]
