"""The networks that come with Convoy, as float ONNX files, and what their inputs and outputs mean.

They are imported by the path that a user's model takes; nothing here reads what they compute. Two are trained. The
others have weights out of `seeded`, which `ShippedModel.written` puts beside the graph: so the package stays small.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convoy_models import seeded


@dataclass(frozen=True)
class ShippedModel:
    """A network in this package: pixels (uint8, `layout`, `shape`) times `scale` plus `offset` are its real input."""

    name: str
    file: str
    shape: tuple[int, ...]
    layout: str
    scale: float
    offset: float
    class_names: tuple[str, ...]
    is_trained: bool = True

    @property
    def path(self) -> Path:
        """The ONNX file, as installed; of an untrained network it lacks the weights that `written` adds."""
        return Path(str(files(__package__) / self.file))

    def written(self, folder: Path) -> Path:
        """The ONNX file, whole: as installed, or of an untrained network a copy in `folder` with its weights beside it.

        Needs onnx, as importing does.
        """
        if self.is_trained:
            return self.path
        import onnx

        graph = onnx.load(str(self.path), load_external_data=False).graph
        with (folder / f"{self.name}.weights").open("wb") as beside:
            for tensor in graph.initializer:
                if tensor.external_data:
                    offset = next(int(each.value) for each in tensor.external_data if each.key == "offset")
                    beside.seek(offset)
                    beside.write(
                        seeded.weights(f"{self.name} {tensor.name}", tuple(tensor.dims)).astype("<f4").tobytes()
                    )
        return Path(shutil.copy(self.path, folder / self.file))

    def samples(self, rows: int) -> NDArray[np.float32]:
        """Real inputs (rows, *shape) that have no meaning, always the same: what calibrates an untrained network."""
        drawn = seeded.pixels(self.name, rows, self.shape).astype(np.float32)
        return drawn * np.float32(self.scale) + np.float32(self.offset)


_DIGITS = tuple("0123456789")


def _untrained(
    name: str, shape: tuple[int, ...], classes: tuple[str, ...] = (), scale: float = 1 / 255, offset: float = 0.0
) -> ShippedModel:
    layout = "CHW" if len(shape) == 3 else "N"
    return ShippedModel(name, f"{name}.onnx", shape, layout, scale, offset, classes, is_trained=False)


#: LeNet-5 on 28 x 28 grey pixels, white on black: MNIST and scikit-learn's digits (models/train_lenet5.py).
LENET5 = ShippedModel("lenet5", "lenet5.onnx", (1, 28, 28), "CHW", 1 / 255, 0.0, _DIGITS)
#: Residual blocks of depthwise and 1 x 1 convolutions, trained on MNIST (models/train_residual.py).
RESIDUAL = ShippedModel("residual", "residual.onnx", (1, 28, 28), "CHW", 1 / 255, 0.0, _DIGITS)
_CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_WORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "silence", "unknown")
#: The four of MLPerf Tiny, a VGG for CIFAR-10 and a SqueezeNet (models/export_networks.py).
RESNET8 = _untrained("resnet8", (3, 32, 32), _CIFAR)
DSCNN = _untrained("dscnn", (1, 49, 10), _WORDS, 1 / 32, -4.0)
MOBILENET = _untrained("mobilenet", (3, 96, 96), ("person", "none"))
AUTOENCODER = _untrained("autoencoder", (640,), (), 1 / 32, -4.0)
VGG = _untrained("vgg", (3, 32, 32), _CIFAR)
SQUEEZENET = _untrained("squeezenet", (3, 32, 32), _CIFAR)

#: Every network that comes along, by name.
SHIPPED = {model.name: model for model in (LENET5, RESIDUAL, RESNET8, DSCNN, MOBILENET, AUTOENCODER, VGG, SQUEEZENET)}
