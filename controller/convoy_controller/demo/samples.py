"""Which images the demonstration classifies, and where they come from."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from convoy_controller.datasets import Dataset, digits, download_mnist, folder, has_mnist, mnist
from convoy_controller.errors import DatasetError

#: Where MNIST is looked for when no `--data-dir` is given, and where it is kept once downloaded.
DATA_VARIABLE = "CONVOY_DATA"
CACHE = Path("~/.cache/convoy/mnist")


def load_samples(data: str, data_dir: Path | None, shape: tuple[int, ...], class_names: tuple[str, ...]) -> Dataset:
    """`digits`, `mnist`, or a folder of images, each of `shape` (C, H, W); raises `DatasetError`."""
    if data == "digits":
        return digits()
    if data == "mnist":
        return mnist(_mnist_folder(data_dir))
    path = Path(data)
    if not path.is_dir():
        raise DatasetError(f"--data {data!r} is neither digits, mnist nor a folder with images", data=data)
    return folder(path, shape, class_names)


def _mnist_folder(data_dir: Path | None) -> Path:
    """A folder that holds MNIST's files: the one named, the one in the environment, or the cache, filled if empty."""
    named = data_dir or (Path(os.environ[DATA_VARIABLE]) if os.environ.get(DATA_VARIABLE) else None)
    if named is not None:
        for candidate in (named, named / "mnist", named / "datasets" / "mnist"):
            if has_mnist(candidate):
                return candidate
        raise DatasetError(f"{named} holds none of MNIST's IDX files (nor do its folders mnist, datasets/mnist)")
    cache = CACHE.expanduser()
    if not has_mnist(cache):
        download_mnist(cache)
    return cache


def repeated(dataset: Dataset, count: int | None) -> Dataset:
    """`count` images: the first ones, and from the beginning again where there are fewer; all of them for None."""
    if count is None:
        return dataset
    chosen = np.arange(count) % len(dataset)
    return Dataset(dataset.name, dataset.images[chosen], dataset.labels[chosen])
