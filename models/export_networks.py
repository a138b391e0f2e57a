"""Writes the untrained networks that come with Convoy: models/convoy_models/{resnet8,dscnn,...}.onnx.

    python models/export_networks.py

Needs the extra `train` (PyTorch). Weights come out of each one's name (`convoy_models.seeded`), and are left out of the
file, which says where they are to be found beside it; what is measured, the batch normalisation's statistics over
seeded inputs, is in it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import onnx
import torch
from convoy_models import SHIPPED, ShippedModel, seeded
from exporting import exported
from onnx import TensorProto
from torch import Tensor, nn
from torch.nn import functional

OUTPUT = Path(__file__).parent / "convoy_models"
#: Elements from which on a tensor is left out of the file.
LEFT_OUT = 256
#: Rows over which batch normalisation measures.
ROWS = 256


def convolution(depth: int, channels: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution that keeps the size (but for its stride), and batch normalisation."""
    layer = nn.Conv2d(depth, channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(channels))


class Block(nn.Module):
    """Two convolutions and what goes around them, added."""

    def __init__(self, depth: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first = convolution(depth, channels, stride=stride)
        self.second = convolution(channels, channels)
        self.around = nn.Identity() if depth == channels else nn.Conv2d(depth, channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(rows, channels, H / stride, W / stride) of (rows, depth, H, W)."""
        return functional.relu(self.second(functional.relu(self.first(x))) + self.around(x))


class Fire(nn.Module):
    """A few channels by a 1 x 1 convolution, then 1 x 1 and 3 x 3 ones side by side, joined."""

    def __init__(self, depth: int, squeezed: int, each: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(depth, squeezed, 1)
        self.narrow = nn.Conv2d(squeezed, each, 1)
        self.wide = nn.Conv2d(squeezed, each, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(rows, 2 * each, H, W) of (rows, depth, H, W)."""
        x = functional.relu(self.squeeze(x))
        return torch.cat([functional.relu(self.narrow(x)), functional.relu(self.wide(x))], 1)


def separable(depth: int, channels: int, stride: int, act: Callable[[], nn.Module]) -> nn.Sequential:
    """A depthwise 3 x 3 and a 1 x 1 convolution, each with normalisation and activation."""
    return nn.Sequential(convolution(depth, depth, 3, stride, depth), act(), convolution(depth, channels, 1), act())


def pooled(channels: int, classes: int) -> nn.Sequential:
    """The average over the picture, and a dense layer."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def resnet8() -> nn.Module:
    """MLPerf Tiny's image classification: 32 x 32 x 3 to 10."""
    blocks = (Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
    return nn.Sequential(convolution(3, 16), nn.ReLU(), *blocks, pooled(64, 10))


def dscnn() -> nn.Module:
    """MLPerf Tiny's keyword spotting: 49 x 10 to 12."""
    stem = nn.Conv2d(1, 64, (10, 4), (2, 2), padding=(5, 1), bias=False)
    blocks = [separable(64, 64, 1, nn.ReLU) for _ in range(4)]
    head = (nn.AvgPool2d((25, 5)), nn.Flatten(), nn.Linear(64, 12))
    return nn.Sequential(stem, nn.BatchNorm2d(64), nn.ReLU(), *blocks, *head)


def mobilenet() -> nn.Module:
    """MLPerf Tiny's visual wake words: MobileNetV1, a quarter as wide, 96 x 96 x 3 to 2."""
    blocks, depth = [], 8
    for channels, stride in (
        (16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1),
    ):  # fmt: skip
        blocks.append(separable(depth, channels, stride, nn.ReLU6))
        depth = channels
    return nn.Sequential(convolution(3, 8, 3, 2), nn.ReLU6(), *blocks, pooled(256, 2))


def autoencoder() -> nn.Module:
    """MLPerf Tiny's anomaly detection: 640 numbers to themselves, by way of 8."""
    sizes = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128)
    layers: list[nn.Module] = []
    for depth, width in pairwise(sizes):
        layers += [nn.Linear(depth, width), nn.BatchNorm1d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(128, 640))


def vgg() -> nn.Module:
    """Pairs of 3 x 3 convolutions between poolings, two dense layers: 32 x 32 x 3 to 10."""
    layers: list[nn.Module] = []
    for depth, channels in ((3, 24), (24, 48), (48, 96)):
        layers += [convolution(depth, channels), nn.ReLU(), convolution(channels, channels), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(1536, 128), nn.ReLU(), nn.Dropout(), nn.Linear(128, 10))


def squeezenet() -> nn.Module:
    """Fire modules, poolings that round up, and classes by a 1 x 1 convolution: 32 x 32 x 3 to 10."""
    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    layers = (
        nn.Conv2d(3, 32, 3, padding=1),
        nn.ReLU(),
        pool,
        Fire(32, 12, 24),
        Fire(48, 12, 24),
        pool,
        Fire(48, 16, 48),
    )
    head = (nn.Conv2d(96, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Softmax(1))
    return nn.Sequential(*layers, *head)


NETWORKS = (resnet8, dscnn, mobilenet, autoencoder, vgg, squeezenet)


def seed(network: nn.Module, name: str) -> None:
    """Give every weight the values that its name has, and every bias small ones."""
    with torch.no_grad():
        for label, parameter in network.named_parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.from_numpy(seeded.weights(f"{name} {label}", tuple(parameter.shape))))
            elif label.endswith("bias"):
                parameter.copy_(torch.from_numpy(seeded.weights(f"{name} {label}", (len(parameter), 60)))[:, 0])


def measure(network: nn.Module, samples: Tensor) -> None:
    """Let batch normalisation measure means and variances over `samples`."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None  # the plain average
    network.train()
    with torch.no_grad():
        network(samples)
    network.eval()


def strip(model: onnx.ModelProto, name: str) -> int:
    """Leave seeded weights out of `model`: they lie beside it, one after the other. Returns how many bytes."""
    offset = 0
    for tensor in model.graph.initializer:
        shape = tuple(tensor.dims)
        if len(shape) < 2 or math.prod(shape) < LEFT_OUT:
            continue
        content = seeded.weights(f"{name} {tensor.name}", shape).tobytes()
        if onnx.numpy_helper.to_array(tensor).tobytes() != content:
            raise RuntimeError(f"{name}: {tensor.name} is no longer what its name gives")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", f"{name}.weights"), ("offset", offset), ("length", len(content))):
            tensor.external_data.add(key=key, value=str(value))
        offset += len(content)
    return offset


def write(spec: ShippedModel, network: nn.Module) -> None:
    """Seed, measure, export and strip `network`, and write its file."""
    seed(network, spec.name)
    measure(network, torch.from_numpy(spec.samples(ROWS)))
    model = exported(network, spec.shape, "input", "output", spec.name, optimise=False)
    beside = strip(model, spec.name)
    onnx.save(model, OUTPUT / spec.file)
    print(f"{spec.file}: {(OUTPUT / spec.file).stat().st_size} bytes, {beside} beside it")


def main() -> None:
    """Write all of them."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for make in NETWORKS:
        write(SHIPPED[make.__name__], make())


if __name__ == "__main__":
    main()
