"""Trains a small residual network with depthwise layers on MNIST, and writes models/convoy_models/residual.onnx.

    python models/train_residual.py --data-dir FOLDER_WITH_MNIST_IDX_FILES

Needs the extra `train` (PyTorch), which nothing else needs. The file holds the float network with a free batch size,
its batch normalisation folded; it is quantised by the path that a user's own model takes. Takes some five minutes on
one core.
"""

from __future__ import annotations

from pathlib import Path

import torch
from convoy_controller.datasets import mnist
from exporting import export
from torch import Tensor, nn
from torch.nn import functional
from train_lenet5 import accuracy, read_options, tensors, train

OUTPUT = Path(__file__).parent / "convoy_models" / "residual.onnx"


class Separable(nn.Module):
    """A depthwise 3 x 3 convolution and a 1 x 1 one, added to what came in where both have one shape."""

    def __init__(self, depth: int, channels: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(depth, depth, 3, stride, padding=1, groups=depth, bias=False)
        self.norm1 = nn.BatchNorm2d(depth)
        self.pointwise = nn.Conv2d(depth, channels, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.is_residual = stride == 1 and depth == channels

    def forward(self, x: Tensor) -> Tensor:
        """(rows, channels, H / stride, W / stride) of (rows, depth, H, W)."""
        made: Tensor = functional.relu6(self.norm1(self.depthwise(x)))
        made = self.norm2(self.pointwise(made))
        return functional.relu(made + x if self.is_residual else made)


class Residual(nn.Module):
    """28 x 28 x 1 pixels / 255 to 10 logits, by three residual blocks and a global average."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(
            Separable(16, 16, 1),
            Separable(16, 32, 2),
            Separable(32, 32, 1),
            Separable(32, 64, 2),
            Separable(64, 64, 1),
        )
        self.classes = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (rows, 10) of images (rows, 1, 28, 28)."""
        x = self.blocks(functional.relu6(self.norm(self.stem(x))))
        logits: Tensor = self.classes(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))
        return logits


def main() -> None:
    """Train, report accuracy, write the file."""
    options = read_options(__doc__, epochs=16, output=OUTPUT)
    network = Residual()
    images, labels = tensors(mnist(options.data_dir, train=True))
    train(network, images, labels, options.epochs, options.seed)
    print(f"MNIST test {accuracy(network, mnist(options.data_dir)):.2f} %")
    export(network, options.output, (1, 28, 28), "image", "logits")
    print(f"wrote {options.output.name}, {options.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
