"""A network composed as TOML, as `convoy model import` takes it: with its parameters, written as an ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from convoy_controller.composing import Network

#: Bytes of a TOML file, at most.
MAX_FILE = 1024 * 1024


@dataclass(frozen=True)
class Composed:
    """A network and its parameters by name, or none of them: then they, and samples, are drawn from its name."""

    network: Network
    parameters: Mapping[str, NDArray[np.generic]] | None
    scale: float
    offset: float

    def written(self, folder: Path) -> Path:
        """Its ONNX file in `folder`; raises `CompositionError` for parameters that do not fit."""
        path = folder / f"{self.network.name}.onnx"
        path.write_bytes(self.network.onnx(self.parameters).SerializeToString())
        return path

    def samples(self, rows: int) -> NDArray[np.float32]:
        """Real inputs (rows, *input) that have no meaning, always the same; `DatasetError` beside real parameters."""
        import numpy as np
        from convoy_models import seeded

        from convoy_controller.errors import DatasetError

        if self.parameters is not None:
            raise DatasetError("`seeded` calibrates what has `seeded` parameters; bring typical inputs for your own")
        drawn = seeded.pixels(self.network.name, rows, self.network.input).astype(np.float32)
        return drawn * np.float32(self.scale) + np.float32(self.offset)


def read_composed(path: Path, parameters: str | None, scale: float, offset: float) -> Composed:
    """The network of the TOML file at `path`; `parameters` is an .npz file, or `seeded`.

    Raises `CompositionError` that lists all that is wrong, `NotFoundError` and `DatasetError`.
    """
    from convoy_controller.composing import Network, weights
    from convoy_controller.errors import CompositionError

    try:
        if path.stat().st_size > MAX_FILE:
            raise CompositionError(f"{path} has {path.stat().st_size} bytes, at most {MAX_FILE} are read")
        network = Network.from_toml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CompositionError(f"{path} cannot be read as TOML: {error}") from error
    if parameters is None:
        names = ", ".join(list(network.parameter_shapes())[:12]) or "none"
        raise CompositionError(
            f"{path} is a network without its parameters: give --parameters FILE.npz with arrays of these names "
            f"({names}), or --parameters seeded for random ones"
        )
    held = None if parameters == "seeded" else weights.load(Path(parameters))
    return Composed(network, held, scale, offset)
