"""The calibration samples of `convoy model import`: an .npz file, a folder of images, or a set that comes along."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Calibration samples that are used: more change the scales by less than a rounding step.
MOST_SAMPLES = 1000
#: Samples out of a network's name, where it was never trained.
SEEDED_SAMPLES = 128


class Sampled(Protocol):
    """A network that has samples of its own."""

    def samples(self, rows: int) -> NDArray[np.float32]:
        """Real inputs (rows, *shape)."""
        ...


def read_samples(
    calibration: str, model: Path, scale: float, offset: float, shipped: Sampled | None
) -> NDArray[np.float32]:
    """Real inputs (rows, *shape) that `calibration` names, for the ONNX file `model`; pixels times `scale` + `offset`.

    `shipped` is the network if it came along or was composed.
    Raises `DatasetError`, `NotFoundError`, `ImportRefusedError`.
    """
    import numpy as np

    from convoy_controller.datasets import digits
    from convoy_controller.errors import DatasetError

    if calibration == "digits":
        array: NDArray[np.generic] = digits(train=True).images
    elif calibration == "seeded":
        if shipped is None:
            raise DatasetError(
                "`seeded` calibrates the networks that come along or are composed; bring typical inputs for your own"
            )
        return shipped.samples(SEEDED_SAMPLES)
    elif Path(calibration).is_dir():
        array = _pictures(Path(calibration), model)
    else:
        array = _read_npz(Path(calibration))
    array = array[:MOST_SAMPLES]
    if array.dtype == np.uint8:
        return (array.astype(np.float32) * np.float32(scale) + np.float32(offset)).astype(np.float32)
    return array.astype(np.float32)


def _pictures(folder: Path, model: Path) -> NDArray[np.uint8]:
    """The images of a folder, or of its subfolders in turn, in the model's own size and layout."""
    import numpy as np

    from convoy_controller import datasets
    from convoy_controller.importer import input_shape

    shape, layout = input_shape(model, model.stem)
    read = (shape[2], shape[0], shape[1]) if layout == "HWC" else shape
    images = datasets.folder(folder, read, most=MOST_SAMPLES).images
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if layout == "HWC" else images


def _read_npz(path: Path) -> NDArray[np.generic]:
    """The one array of an .npz file, or the one called `images`, `x` or `input`."""
    from convoy_controller.archives import read_arrays
    from convoy_controller.errors import DatasetError, NotFoundError

    if not path.is_file():
        raise NotFoundError(f"there is no file {path} to calibrate with: give an .npz file, or `digits`")

    def choose(held: list[str]) -> list[str]:
        known: list[str] = [key for key in ("images", "x", "input") if key in held]
        if not known and len(held) != 1:
            shown = ", ".join(held)[:200] or "nothing"
            raise DatasetError(f"{path} holds {shown}: call the samples `images`, or hold them alone")
        return (known or held)[:1]

    (array,) = read_arrays(path, choose).values()
    if array.ndim < 2 or array.dtype.kind not in "fiu":
        raise DatasetError(f"{path} must hold numbers with rows first, {array.dtype} of shape {array.shape} came")
    return array
