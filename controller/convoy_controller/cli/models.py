"""`convoy models` and `convoy model import`: what can be deployed, and how a model becomes deployable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convoy_controller.cli.options import DatabaseOption, HomeOption, JsonOption, opened
from convoy_controller.cli.printing import ago, console, print_json, print_table, size

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from convoy_controller.database.engine import Database
    from convoy_controller.importer import ImportedModel

#: Calibration samples that are used: more change the scales by less than a rounding step.
MOST_SAMPLES = 1000

_model = typer.Typer(name="model", no_args_is_help=True, help="Bring a model into the fleet's catalogue.")


@dataclass(frozen=True)
class _Source:
    """A model file and what its callers may send: pixels times `scale` plus `offset` are its input."""

    path: Path
    name: str
    scale: float
    offset: float
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class _Answer:
    """What `convoy model import --json` prints; `parameters` in bytes."""

    model: str
    version: str
    serial: int
    digest: str
    layers: int
    parameters: int
    artifacts: int


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(models)
    app.add_typer(_model)


def models(as_json: JsonOption = False, home: HomeOption = None, database: DatabaseOption = None) -> None:
    """List the models that can be deployed.

    JSON keys: model, version, serial, digest, methods, layers, input_shape, class_names, artifacts, bytes,
    packed_bytes, imported_at. Exit codes: 0, 4 no database.
    """
    from convoy_controller.database import queries
    from convoy_controller.database.records import utc_now

    with opened(home, database) as fleet:
        lines = queries.models(fleet)
    if as_json:
        print_json(lines)
        return
    if not lines:
        typer.echo("no models yet: `convoy model import lenet5 --calibration digits` imports the one that comes along")
        return
    now = utc_now()
    print_table(
        ("MODEL", "VERSION", "METHODS", "LAYERS", "INPUT", "CLASSES", "PACKED", "IMPORTED"),
        [
            (
                line.model,
                line.version,
                ", ".join(line.methods),
                str(line.layers),
                "x".join(map(str, line.input_shape)),
                str(len(line.class_names)) if line.class_names else "-",
                size(line.packed_bytes),
                ago(line.imported_at, now),
            )
            for line in lines
        ],
    )


@_model.command("import")
def import_(
    file: Annotated[str, typer.Argument(help="An ONNX file, float or quantised; or `lenet5`, which comes along.")],
    calibration: Annotated[
        str,
        typer.Option(
            "--calibration",
            help="An .npz file of typical inputs (rows first; uint8 is pixels, floats are taken as they are), or "
            "`digits`, scikit-learn's handwriting.",
        ),
    ],
    name: Annotated[str | None, typer.Option("--name", help="Name of the model; the file's unless given.")] = None,
    version: Annotated[str, typer.Option("--version", help="Name of the version.")] = "1",
    scale: Annotated[
        float | None, typer.Option("--scale", help="A pixel (0 to 255) times this is the input; 1/255 unless given.")
    ] = None,
    offset: Annotated[float | None, typer.Option("--offset", help="Added to it; 0 unless given.")] = None,
    classes: Annotated[
        str | None, typer.Option("--classes", help="Class names: a file with one a line, or a,b,c.")
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    database: DatabaseOption = None,
) -> None:
    """Quantise an ONNX model, sign it with this fleet's key, and store it with all that boards need.

    The same file under the same version changes nothing; other content needs another --version.
    JSON keys: model, version, serial, digest, layers, parameters, artifacts. Exit codes: 0 imported, 1 refused (the
    reasons are listed), 2 no such name can be, 3 no such file, 4 no database.
    """
    from convoy_schema import names

    source = _source(file, name, scale, offset, classes)
    names.check_name(source.name, "model")
    names.check_name(version, "version")
    with opened(home, database) as fleet, _steps(as_json) as step:
        step("reading the calibration samples", 0, 0)
        samples = _samples(calibration, source)
        step("quantising, and computing the self-test", 0, 0)
        imported = _imported(source, samples)
        answer = _publish(fleet, home, source, version, imported, lambda done, total: step("storing", done, total))
    if as_json:
        print_json(answer)
    else:
        typer.echo(
            f"{source.name} {version}: {answer.layers} layers, {size(answer.parameters)} of parameters, "
            f"{answer.artifacts} artifacts; `convoy deploy {source.name}` serves it"
        )


def _source(file: str, name: str | None, scale: float | None, offset: float | None, classes: str | None) -> _Source:
    import convoy_models

    from convoy_controller.errors import NotFoundError

    shipped, path = convoy_models.LENET5, Path(file)
    is_shipped = file == shipped.name and not path.exists()
    if is_shipped:
        path = shipped.path
    elif not path.is_file():
        raise NotFoundError(f"there is no file {file}: give an ONNX file, or `{shipped.name}`, which comes along")
    return _Source(
        path,
        name or path.stem.lower(),
        scale if scale is not None else (shipped.scale if is_shipped else 1 / 255),
        offset if offset is not None else (shipped.offset if is_shipped else 0.0),
        _class_names(classes) if classes is not None else (shipped.class_names if is_shipped else ()),
    )


def _class_names(classes: str) -> tuple[str, ...]:
    path = Path(classes)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else classes.split(",")
    return tuple(line.strip() for line in lines if line.strip())


def _samples(calibration: str, source: _Source) -> NDArray[np.float32]:
    import numpy as np

    from convoy_controller.datasets import digits

    if calibration == "digits":
        array: NDArray[np.generic] = digits(train=True).images
    else:
        array = _read_npz(Path(calibration))
    array = array[:MOST_SAMPLES]
    if array.dtype == np.uint8:
        return (array.astype(np.float32) * np.float32(source.scale) + np.float32(source.offset)).astype(np.float32)
    return array.astype(np.float32)


def _read_npz(path: Path) -> NDArray[np.generic]:
    """The one array of an .npz file, or the one called `images`, `x` or `input`."""
    import zipfile

    import numpy as np

    from convoy_controller.errors import DatasetError, NotFoundError

    if not path.is_file():
        raise NotFoundError(f"there is no file {path} to calibrate with: give an .npz file, or `digits`")
    try:
        with np.load(path, allow_pickle=False) as archive:
            held = list(archive.keys())
            chosen = [key for key in ("images", "x", "input") if key in held] or held
            if len(held) != 1 and chosen == held:
                raise DatasetError(f"{path} holds {', '.join(held)}: call the samples `images`, or hold them alone")
            array = archive[chosen[0]]
    except (OSError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path} is not an .npz file of plain arrays: {error}") from error
    if array.ndim < 2 or array.dtype.kind not in "fiu":
        raise DatasetError(f"{path} must hold numbers with rows first, {array.dtype} of shape {array.shape} came")
    loaded: NDArray[np.generic] = array
    return loaded


def _imported(source: _Source, samples: NDArray[np.float32]) -> ImportedModel:
    from convoy_controller.importer import import_model

    return import_model(source.path, samples, name=source.name)


def _publish(
    fleet: Database,
    home: Path | None,
    source: _Source,
    version: str,
    imported: ImportedModel,
    progress: Callable[[int, int], None],
) -> _Answer:
    import convoy_bitstreams
    from convoy_schema.bundle import InputSpec

    from convoy_controller.blobs import BlobStore
    from convoy_controller.catalogue import Catalogue
    from convoy_controller.database import publications
    from convoy_controller.home import Home
    from convoy_controller.keys import signing_key

    place, topology = Home.locate(home), imported.topology
    layout = "CHW" if len(topology.tensor(topology.input).shape) == 3 else "N"
    spec = InputSpec(topology.input, layout, source.scale, source.offset)
    images, key = convoy_bitstreams.catalogue(), signing_key(place.keys)
    announcement = Catalogue(fleet, BlobStore(place.blobs)).publish_model(
        imported, source.name, version, spec, source.class_names, images, key, progress
    )
    saved = publications.find_model(fleet, source.name, version)
    return _Answer(
        source.name,
        version,
        saved.serial,
        announcement.digest,
        len(topology.layers),
        sum(len(content) for content in imported.parameters.values()),
        len(publications.bundle_of(saved).artifacts(topology)),
    )


@contextmanager
def _steps(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A progress line on stderr: what is being done, and how far; nothing when `quiet`."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, console=console(stderr=True), transient=True, disable=quiet) as progress:
        task = progress.add_task("", total=None)

        def step(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total or None)

        yield step
