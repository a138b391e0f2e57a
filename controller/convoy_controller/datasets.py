"""Labelled images: MNIST from IDX files, scikit-learn's handwritten digits, and folders of image files.

The trainer, the tests, the demo and `convoy infer` read through it. Images are uint8 (n, C, H, W); nothing here knows
how a network scales them.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import shutil
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convoy_controller.errors import DatasetError

#: Label of an image whose class nobody stated.
UNLABELLED = -1
#: Images read from one folder, at most.
MAX_IMAGES = 100_000
#: Pixels of an image file, at most: larger ones are refused before they are unpacked.
MAX_PIXELS = 64_000_000
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm"})

#: A public mirror of MNIST (plain HTTPS GET of the four files below with `.gz`).
MNIST_MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
#: MD5 of the unpacked files: it identifies the well-known ones, it does not guard against an attacker.
MNIST_FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
_MAX_IDX = 64 * 1024 * 1024


@dataclass(frozen=True)
class Dataset:
    """Images uint8 (n, C, H, W) with labels int64 (n,), `UNLABELLED` where unknown."""

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, count: int) -> Dataset:
        """The first `count` images, or all if there are fewer."""
        return Dataset(self.name, self.images[:count], self.labels[:count])


# MNIST ---------------------------------------------------------------------------------------------------------------


def mnist(directory: Path, *, train: bool = False) -> Dataset:
    """The 10,000 test digits (or the 60,000 training ones) from the IDX files in `directory`, plain or `.gz`.

    Raises `DatasetError` if a file is missing or is not the well-known one.
    """
    stem = "train" if train else "t10k"
    images = read_idx(_known(directory, f"{stem}-images-idx3-ubyte"), dimensions=3)
    labels = read_idx(_known(directory, f"{stem}-labels-idx1-ubyte"), dimensions=1)
    return Dataset("mnist", images[:, None], labels.astype(np.int64))


def has_mnist(directory: Path) -> bool:
    """Whether the four files are in `directory`, whatever they hold."""
    return all((directory / name).is_file() or (directory / f"{name}.gz").is_file() for name in MNIST_FILES)


def find_mnist(*places: Path) -> Path | None:
    """The first folder that holds MNIST: one of `places` itself, or `mnist` or `datasets/mnist` in it."""
    for place in places:
        for candidate in (place, place / "mnist", place / "datasets" / "mnist"):
            if has_mnist(candidate):
                return candidate
    return None


def _known(directory: Path, name: str) -> bytes:
    """The unpacked content of MNIST file `name`, checked."""
    for path in (directory / name, directory / f"{name}.gz"):
        if path.is_file():
            content = _unpacked(path)
            if _md5(content) != MNIST_FILES[name]:
                raise DatasetError(f"{path} is not MNIST's {name}: its MD5 is another; fetch it again", path=str(path))
            return content
    raise DatasetError(f"{directory} holds neither {name} nor {name}.gz", path=str(directory))


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _unpacked(path: Path) -> bytes:
    try:
        if path.suffix != ".gz":
            with path.open("rb") as plain:
                return plain.read(_MAX_IDX)
        with gzip.open(path) as packed:
            return packed.read(_MAX_IDX)
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path} cannot be read: {error}", path=str(path)) from error


def read_idx(content: bytes, dimensions: int) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes with that many dimensions; `DatasetError` if it is anything else."""
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, 8, dimensions)):
        raise DatasetError(f"an IDX file of {dimensions}-dimensional bytes was expected, {content[:4].hex()} came")
    shape = tuple(int(extent) for extent in np.frombuffer(content, ">u4", dimensions, 4))
    size = math.prod(shape)
    if max(shape) > _MAX_IDX:  # beside an extent of 0 it takes no bytes, and NumPy refuses it all the same
        raise DatasetError(f"an IDX file has at most {_MAX_IDX} along each axis, {shape} came")
    if len(content) != header + size:
        raise DatasetError(f"an IDX file of {shape} takes {header + size} bytes, {len(content)} came")
    return np.frombuffer(content, np.uint8, size, header).reshape(shape)


def download_mnist(directory: Path, mirror: str = MNIST_MIRROR, timeout_s: float = 30.0) -> None:
    """Fetch what is missing of the four files into `directory`; each is checked before it takes its name.

    Raises `DatasetError` when the mirror cannot be reached or sends something else.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for name in MNIST_FILES:
        if (directory / name).is_file() or (directory / f"{name}.gz").is_file():
            continue
        partial = directory / f".{name}.partial.gz"
        try:
            with urllib.request.urlopen(f"{mirror}{name}.gz", timeout=timeout_s) as answer, partial.open("wb") as file:
                shutil.copyfileobj(_Bounded(answer), file)
            if _md5(_unpacked(partial)) != MNIST_FILES[name]:
                raise DatasetError(f"{mirror} sent something else than MNIST's {name}", url=mirror)
            partial.replace(directory / f"{name}.gz")
        except (OSError, ValueError) as error:
            raise DatasetError(
                f"{mirror}{name}.gz cannot be fetched ({error}); put the four files into {directory} by hand, "
                "or use the digits that come with scikit-learn",
                url=mirror,
            ) from error
        finally:
            partial.unlink(missing_ok=True)


class _Bounded:
    """A reader that refuses to go past what an MNIST file may take."""

    def __init__(self, inner: object) -> None:
        self._inner, self._left = inner, _MAX_IDX

    def read(self, size: int = -1) -> bytes:
        content: bytes = self._inner.read(min(size if size > 0 else _MAX_IDX, self._left + 1))  # type: ignore[attr-defined]
        self._left -= len(content)
        if self._left < 0:
            raise ValueError(f"more than {_MAX_IDX} bytes came")
        return content


# scikit-learn's digits -----------------------------------------------------------------------------------------------


def digits(*, train: bool = False) -> Dataset:
    """The held-out half of scikit-learn's 1,797 handwritten digits (or the training half), as MNIST looks: 1x28x28.

    The training half is the first 898 images in the order they ship, the held-out half the last 899: the usual cut, and
    an honest one, as people wrote one after the other, so that most writers of one half are not in the other.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DatasetError("the digits come with scikit-learn: pip install 'convoy-fleet[demo]'") from error
    loaded = load_digits()
    half = slice(None, 898) if train else slice(898, None)
    images = as_mnist(loaded.images[half].astype(np.int64))
    return Dataset("digits", images[:, None], loaded.target[half].astype(np.int64))


def as_mnist(small: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(n, 28, 28) uint8 of (n, 8, 8) ink counts 0..16, prepared as MNIST's images were.

    Each is enlarged to 20 x 20 by Catmull-Rom interpolation, its contrast raised about the middle by `_CONTRAST` (ink
    counted over 4 x 4 cells is softer than MNIST's strokes), and set into 28 x 28 with its centre of mass in the
    middle. All of it in integers, so that the pixels are the same on every machine.
    """
    rows = _catmull_rom(8, 20)
    large = np.einsum("ip,npq,jq->nij", rows, small, rows, optimize=False)
    full = 16 * _UNIT * _UNIT
    raised = (2 * large - full) * _CONTRAST[0] + full * _CONTRAST[1]
    pixels = np.clip((raised * 255 + full * _CONTRAST[1]) // (2 * full * _CONTRAST[1]), 0, 255)
    return np.stack([_centred(image) for image in pixels])


#: Denominator of the interpolation weights: offsets are multiples of 1/10, weights of 1/2000.
_UNIT = 2000
#: Contrast as numerator and denominator.
_CONTRAST = (3, 2)


def _catmull_rom(small: int, large: int) -> NDArray[np.int64]:
    """(large, small) weights in units of 1 / `_UNIT`, beyond the edge blank paper; `large` must divide 10 * small."""
    weights = np.zeros((large, small), np.int64)
    for row in range(large):
        position = (10 * small * (2 * row + 1) // large - 10) // 2  # in tenths of a small pixel
        base, t = position // 10, position % 10
        taps = (
            -t * (10 - t) ** 2,
            2000 - 50 * t * t + 3 * t**3,
            0,
            -t * t * (10 - t),
        )
        taps = (taps[0], taps[1], _UNIT - taps[0] - taps[1] - taps[3], taps[3])
        for offset, weight in enumerate(taps):
            at = base - 1 + offset
            if 0 <= at < small:
                weights[row, at] += weight
    return weights


def _centred(image: NDArray[np.int64]) -> NDArray[np.uint8]:
    """`image` (20, 20) in (28, 28), its centre of mass as near to the middle as whole pixels allow."""
    mass = max(1, int(image.sum()))
    along = np.arange(20)
    canvas = np.zeros((28, 28), np.uint8)
    top, left = (
        int(np.clip((27 * mass - 2 * int((image.sum(1 - axis) * along).sum()) + mass) // (2 * mass), 0, 8))
        for axis in (0, 1)
    )
    canvas[top : top + 20, left : left + 20] = image
    return canvas


# Folders -------------------------------------------------------------------------------------------------------------


def folder(path: Path, shape: tuple[int, ...], class_names: Sequence[str] = (), most: int | None = None) -> Dataset:
    """Image files in `path`, or in one subfolder a class, brought to `shape` (C, H, W); in order of their names.

    Of more than `most` only those are read, spread evenly over all of them.

    A subfolder's label is its place among `class_names`, or, without any, among the sorted subfolders. Bare images are
    unlabelled. Raises `DatasetError` for a folder without images, an unknown class, or a file that cannot be read.
    """
    if not path.is_dir():
        raise DatasetError(f"{path} is not a folder of images", path=str(path))
    subfolders = sorted(entry for entry in path.iterdir() if entry.is_dir() and _images_of(entry))
    names = list(class_names) or [entry.name for entry in subfolders]
    unknown = [entry.name for entry in subfolders if entry.name not in names]
    if unknown:
        raise DatasetError(f"{path} has folders {unknown} that are no classes of this model: {names}", path=str(path))
    found = [(file, UNLABELLED) for file in _images_of(path)]
    found += [(file, names.index(entry.name)) for entry in subfolders for file in _images_of(entry)]
    if not 1 <= len(found) <= MAX_IMAGES:
        raise DatasetError(f"{path} holds {len(found)} images, 1 to {MAX_IMAGES} are needed", path=str(path))
    if most is not None and len(found) > most:
        found = [found[at * len(found) // most] for at in range(most)]
    images = np.stack([read_image(file, shape) for file, _ in found])
    return Dataset(path.name or "folder", images, np.array([label for _, label in found], np.int64))


def _images_of(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file())


def read_image(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The image file as uint8 of `shape` (C, H, W): C 1 is grey, 3 red, green and blue; resized if of another size."""
    from PIL import Image  # the trainer reads data sets too, and has no need of Pillow

    if len(shape) != 3 or shape[0] not in (1, 3):
        raise DatasetError(f"images make (1, H, W) or (3, H, W), the model takes {shape}", shape=shape)
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DatasetError(f"{path} has {image.width} x {image.height} pixels, at most {MAX_PIXELS} are read")
            flat = image.convert("L" if shape[0] == 1 else "RGB")
            if flat.size != (shape[2], shape[1]):
                flat = flat.resize((shape[2], shape[1]), Image.Resampling.BILINEAR)
            pixels = np.asarray(flat, np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path} cannot be read as an image: {error}", path=str(path)) from error
    return pixels[None] if shape[0] == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
