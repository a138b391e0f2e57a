"""What the client gives back: the answer to an array, and the description of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convoy.errors import InvalidInputError
from convoy.notebook import bar, table

#: Rows and class names that a notebook shows.
SHOWN_ROWS = 20
SHOWN_CLASSES = 20


@dataclass(frozen=True)
class GatewayStatus:
    """One gateway: whether it is ready (None: nobody asked), and the reason when it is not."""

    url: str
    is_ready: bool | None
    reason: str = ""


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

    def _repr_html_(self) -> str:
        names = ", ".join(self.classes[:SHOWN_CLASSES])
        left = len(self.classes) - SHOWN_CLASSES
        gives = {"softmax": "probabilities", "argmax": "numbers of classes"}.get(self.ending, "real values")
        rows = [
            (
                "takes",
                f"{self.input} (n, {', '.join(map(str, self.shape))}): real values, uint8 pixels, int8 quantised",
            ),
            ("gives", f"{self.output}: {gives}"),
            ("classes", f"{names} and {left} more" if left > 0 else names or "without names"),
        ]
        return table(f"{self.name}, version {self.version}", (), rows)


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

    def __repr__(self) -> str:
        shape = ", ".join(map(str, self.array.shape))
        return f"<convoy.Result ({shape}) {self.array.dtype} of {self.model} {self.version} by {self.gateway}>"

    def _repr_html_(self) -> str:
        caption = f"{self.model}, version {self.version}: {len(self)} answers"
        below = f"generation {self.generation}, by {self.gateway}"
        if len(self) > SHOWN_ROWS:
            below = f"the first {SHOWN_ROWS} of {len(self)}; {below}"
        if self.array.ndim > 2 or (self.ending == "argmax" and self.array[0].size != 1):
            shape = ", ".join(map(str, self.array.shape))
            return table(caption, (), [("array", f"({shape}) {self.array.dtype}")], below)
        first = Result(
            self.array[:SHOWN_ROWS], self.classes, self.generation, self.model, self.version, "", self.ending
        )
        if self.ending == "argmax":
            return table(caption, ("", "class"), [(str(n), label) for n, label in enumerate(first.labels)], below)
        chances = first.probabilities.max(axis=1).tolist()
        rows = [(str(n), label, bar(share)) for n, (label, share) in enumerate(zip(first.labels, chances, strict=True))]
        return table(caption, ("", "class", "probability"), rows, below)
