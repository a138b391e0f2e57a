"""The networks that come with Convoy, as float ONNX files, and what their inputs and outputs mean.

They are imported by the path that a user's model takes; nothing here reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path


@dataclass(frozen=True)
class ShippedModel:
    """A network in this package: pixels (uint8, `layout`, `shape`) times `scale` plus `offset` are its real input."""

    name: str
    file: str
    shape: tuple[int, int, int]
    layout: str
    scale: float
    offset: float
    class_names: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The ONNX file, as installed."""
        return Path(str(files(__package__) / self.file))


#: LeNet-5 on 28 x 28 grey pixels, white on black: MNIST and scikit-learn's digits (models/train_lenet5.py).
LENET5 = ShippedModel(
    name="lenet5",
    file="lenet5.onnx",
    shape=(1, 28, 28),
    layout="CHW",
    scale=1 / 255,
    offset=0.0,
    class_names=tuple("0123456789"),
)
