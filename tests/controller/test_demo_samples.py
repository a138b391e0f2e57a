"""Which images the demonstration takes: the digits that come along, IDX files where they are, a folder of one's own."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from convoy_controller import datasets
from convoy_controller.datasets import UNLABELLED, Dataset
from convoy_controller.demo import samples
from convoy_controller.demo.samples import load_samples, repeated
from convoy_controller.errors import DatasetError
from PIL import Image

SHAPE = (1, 28, 28)
NAMES = tuple(str(number) for number in range(10))


def load(data: str, data_dir: Path | None = None) -> Dataset:
    return load_samples(data, data_dir, SHAPE, NAMES)


def contents(count: int) -> dict[str, bytes]:
    """The four IDX files, of `count` images each."""
    images = np.arange(count * 784, dtype=np.uint32).astype(np.uint8)
    pixels = struct.pack(">IIII", 0x803, count, 28, 28) + images.tobytes()
    labels = struct.pack(">II", 0x801, count) + bytes(range(count))
    halves = ("train", "t10k")
    return {
        **{f"{half}-images-idx3-ubyte": pixels for half in halves},
        **{f"{half}-labels-idx1-ubyte": labels for half in halves},
    }


def write_mnist(folder: Path, count: int = 5) -> None:
    folder.mkdir(parents=True)
    for name, content in contents(count).items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))


@pytest.fixture(autouse=True)
def _ours_are_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five images stand for MNIST, which is 11 MB; its checksums are `test_datasets`' business."""
    monkeypatch.delenv(samples.DATA_VARIABLE, raising=False)
    sums = {name: hashlib.md5(content, usedforsecurity=False).hexdigest() for name, content in contents(5).items()}
    monkeypatch.setattr(datasets, "MNIST_FILES", sums)


def test_digits_come_with_pip() -> None:
    pytest.importorskip("sklearn")
    found = load("digits")
    assert found.images.shape[1:] == SHAPE
    assert found.images.dtype == np.uint8
    assert set(found.labels.tolist()) == set(range(10))


@pytest.mark.parametrize("inside", ["", "mnist", "datasets/mnist"])
def test_idx_files_are_found_in_the_folder_that_is_named_and_in_its_usual_places(tmp_path: Path, inside: str) -> None:
    write_mnist(tmp_path / "data" / inside)
    found = load("mnist", tmp_path / "data")
    assert found.images.shape == (5, *SHAPE)
    assert found.labels.tolist() == [0, 1, 2, 3, 4]


def test_the_environment_names_the_folder_and_an_option_wins_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mnist(tmp_path / "good")
    write_mnist(tmp_path / "other", 3)
    monkeypatch.setenv(samples.DATA_VARIABLE, str(tmp_path / "good"))
    assert len(load("mnist")) == 5
    with pytest.raises(DatasetError, match="is not MNIST's"):
        load("mnist", tmp_path / "other")
    monkeypatch.setenv(samples.DATA_VARIABLE, str(tmp_path / "other"))
    assert len(load("mnist", tmp_path / "good")) == 5


def test_a_folder_without_them_is_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds none of MNIST's IDX files"):
        load("mnist", tmp_path)


def test_what_was_downloaded_once_is_not_downloaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "CACHE", tmp_path / "cache")
    asked: list[Path] = []

    def download(folder: Path) -> None:
        asked.append(folder)
        write_mnist(folder)

    monkeypatch.setattr(samples, "download_mnist", download)
    assert len(load("mnist")) == 5
    assert len(load("mnist")) == 5
    assert asked == [tmp_path / "cache"]


def test_a_folder_of_images_is_read_and_anything_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    Image.new("L", (28, 28), 7).save(tmp_path / "pictures" / "one.png")
    found = load(str(tmp_path / "pictures"))
    assert found.images.shape == (1, *SHAPE)
    assert found.labels.tolist() == [UNLABELLED]
    with pytest.raises(DatasetError, match="neither digits, mnist nor a folder"):
        load("no-such-set")


@pytest.mark.parametrize("count", [None, 1, 3, 4, 11])
def test_more_images_than_there_are_begin_again(count: int | None) -> None:
    three = Dataset("three", np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1), np.arange(3))
    found = repeated(three, count)
    assert found.labels.tolist() == [number % 3 for number in range(count or 3)]
    assert found.images[:, 0, 0, 0].tolist() == found.labels.tolist()
