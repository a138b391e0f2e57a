"""Trains LeNet-5 on MNIST and the training half of scikit-learn's digits, and writes models/convoy_models/lenet5.onnx.

    python models/train_lenet5.py --data-dir FOLDER_WITH_MNIST_IDX_FILES

Needs the extra `train` (PyTorch), which nothing else needs. The file holds the float network with a free batch size; it
is quantised by the path that a user's own model takes. Takes a few minutes on one core.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from convoy_controller.datasets import Dataset, digits, mnist
from exporting import export
from torch import Tensor, nn
from torch.nn import functional

#: How often each of scikit-learn's digits is shown in an epoch; there are 898 beside MNIST's 60,000.
DIGITS_REPEAT = 8
OUTPUT = Path(__file__).parent / "convoy_models" / "lenet5.onnx"


class LeNet5(nn.Module):
    """28 x 28 x 1 pixels / 255 to 10 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.dense1 = nn.Linear(400, 120)
        self.dense2 = nn.Linear(120, 84)
        self.dense3 = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (rows, 10) of images (rows, 1, 28, 28)."""
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        x = functional.relu(self.dense1(x))
        x = functional.relu(self.dense2(x))
        logits: Tensor = self.dense3(x)
        return logits


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image turned, sheared, scaled and shifted a little, at random."""
    rows = len(images)

    def between(low: float, high: float) -> Tensor:
        return torch.rand(rows, generator=generator) * (high - low) + low

    angle, shear = between(-0.2, 0.2), between(-0.2, 0.2)
    wide, tall = 1 / between(0.85, 1.15), 1 / between(0.85, 1.15)
    turn = torch.zeros(rows, 2, 3)
    turn[:, 0, 0], turn[:, 0, 1] = torch.cos(angle) * wide, (shear - torch.sin(angle)) * wide
    turn[:, 1, 0], turn[:, 1, 1] = torch.sin(angle) * tall, torch.cos(angle) * tall
    turn[:, :, 2] = torch.stack([between(-0.12, 0.12), between(-0.12, 0.12)], 1)
    grid = functional.affine_grid(turn, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def tensors(*sets: Dataset) -> tuple[Tensor, Tensor]:
    """Images as float in [0, 1], and labels, of all the sets."""
    images = np.concatenate([each.images for each in sets]).astype(np.float32) / 255
    return torch.from_numpy(images), torch.from_numpy(np.concatenate([each.labels for each in sets]))


def accuracy(network: nn.Module, data: Dataset) -> float:
    """Percent of `data` that `network` gets right."""
    images, labels = tensors(data)
    network.eval()
    with torch.no_grad():
        right = (network(images).argmax(1) == labels).float().mean()
    return float(right) * 100


def train(network: nn.Module, images: Tensor, labels: Tensor, epochs: int, seed: int) -> None:
    """Adam with a one-cycle learning rate, batches of 128."""
    generator = torch.Generator().manual_seed(seed)
    steps = math.ceil(len(images) / 128)
    optimiser = torch.optim.Adam(network.parameters(), weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, epochs=epochs, steps_per_epoch=steps)
    for epoch in range(epochs):
        network.train()
        total = 0.0
        for batch in torch.randperm(len(images), generator=generator).split(128):
            optimiser.zero_grad()
            shown = augmented(images[batch], generator)
            loss = functional.cross_entropy(network(shown), labels[batch], label_smoothing=0.02)
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1} of {epochs}: loss {total / steps:.4f}", flush=True)


def read_options(description: str | None, *, epochs: int, output: Path) -> argparse.Namespace:
    """A training script's command line (data_dir, epochs, seed, threads, output), with seed and threads already set."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with MNIST's four IDX files")
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=output)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    return options


def main() -> None:
    """Train, report accuracy, write the file."""
    options = read_options(__doc__, epochs=20, output=OUTPUT)
    network = LeNet5()
    images, labels = tensors(mnist(options.data_dir, train=True), *[digits(train=True)] * DIGITS_REPEAT)
    train(network, images, labels, options.epochs, options.seed)
    print(f"MNIST test {accuracy(network, mnist(options.data_dir)):.2f} %")
    print(f"scikit-learn digits, held-out half {accuracy(network, digits()):.2f} %")
    export(network, options.output, (1, 28, 28), "image", "logits")
    print(f"wrote {options.output.name}, {options.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
