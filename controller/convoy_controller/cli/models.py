"""`convoy models`, `convoy model import` and `convoy model remove`: what can be deployed, and how that changes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convoy_controller.cli.calibration import read_samples
from convoy_controller.cli.completing import complete_models
from convoy_controller.cli.fleet import client_of, fleet_command, target_command
from convoy_controller.cli.options import JsonOption
from convoy_controller.cli.printing import ago, console, print_json, print_table, size
from convoy_controller.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from convoy_models import ShippedModel
    from numpy.typing import NDArray

    from convoy_controller.api_client.client import FleetClient
    from convoy_controller.api_client.opening import Elsewhere
    from convoy_controller.cli.composed import Composed
    from convoy_controller.importer import ImportedModel
    from convoy_controller.publishing import Agreed, Published

#: Seconds between two looks at an import elsewhere.
POLL_S = 0.5
_model = typer.Typer(name="model", no_args_is_help=True, help="Bring a model into the fleet's catalogue, or out of it.")


@dataclass(frozen=True)
class _Source:
    """A model file and what its callers may send: pixels times `scale` plus `offset` are its input."""

    path: Path
    name: str
    scale: float
    offset: float
    class_names: tuple[str, ...]
    shipped: ShippedModel | Composed | None = None


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(models)
    app.add_typer(_model)


@fleet_command
def models(fleet: FleetClient, as_json: JsonOption = False) -> None:
    """List the models that can be deployed.

    JSON keys: model, version, serial, digest, methods, layers, input_shape, class_names, artifacts, bytes,
    packed_bytes, imported_at. Exit codes: 0, 4 no fleet there.
    """
    from convoy_controller.database.records import utc_now

    lines = fleet.models()
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
@target_command
def import_(
    target: Home | Elsewhere,
    file: Annotated[
        str,
        typer.Argument(
            help="An ONNX file, float or quantised; a network composed as .toml; `lenet5` or another that comes along."
        ),
    ],
    calibration: Annotated[
        str,
        typer.Option(
            "--calibration",
            help="An .npz file of typical inputs (rows first; uint8 is pixels, floats are taken as they are), a folder "
            "of images, `digits` (scikit-learn's handwriting), or `seeded` (untrained networks that come along or are "
            "composed).",
        ),
    ],
    parameters: Annotated[
        str | None,
        typer.Option("--parameters", help="Of a composed network: an .npz file, or `seeded` for random ones."),
    ] = None,
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
) -> None:
    """Quantise an ONNX model or a composed network, sign it with this fleet's key, and store it for the boards.

    The same file under the same version changes nothing; other content needs another --version.
    What boards will compute is compared with onnxruntime first. Class names are the calibration folder's subfolders
    where there are any and --classes is not given. JSON keys: model, version, serial, digest, layers, parameters,
    artifacts, agreement, notes. A fleet elsewhere is sent the file and the samples, and does the work. Exit codes: 0
    imported, 1 refused (the reasons are listed), 2 no such name can be, 3 no such file, 4 no fleet there, 5 not
    allowed.
    """
    from convoy_schema import names

    source = _source(file, parameters, name, scale, offset, classes)
    names.check_name(source.name, "model")
    names.check_name(version, "version")
    with _steps(as_json) as step:
        step("reading the calibration samples", 0, 0)
        with _whole(source) as whole:
            samples = read_samples(calibration, whole.path, whole.scale, whole.offset, whole.shipped)
            if isinstance(target, Home):
                answer = _import_here(target, source, whole, version, samples, calibration, step)
            else:
                answer = _import_there(target, source, whole, version, samples, calibration, step)
    if as_json:
        print_json(answer)
        return
    typer.echo(
        f"{source.name} {version}: {answer.layers} layers, {size(answer.parameters)} of parameters, "
        f"{answer.artifacts} artifacts; `convoy deploy {source.name}` serves it"
    )
    typer.echo(_told(answer.agreement))
    for note in answer.notes:
        typer.echo(note)


def _import_here(
    home: Home,
    source: _Source,
    whole: _Source,
    version: str,
    samples: NDArray[np.float32],
    calibration: str,
    step: Callable[[str, int, int], None],
) -> Published:
    from convoy_controller.database.engine import open_database
    from convoy_controller.publishing import publish

    def progress(done: int, total: int) -> None:
        step("storing", done, total)

    database = open_database(home.database_url)
    try:
        step("quantising, and computing the self-test", 0, 0)
        imported = _imported(whole, samples)
        names = _classified(source, calibration, imported).class_names
        pixels = (source.scale, source.offset)
        return publish(database, home, imported, source.name, version, pixels, names, progress)
    finally:
        database.close()


def _import_there(
    target: Elsewhere,
    source: _Source,
    whole: _Source,
    version: str,
    samples: NDArray[np.float32],
    calibration: str,
    step: Callable[[str, int, int], None],
) -> Published:
    """Send the file and the samples, and wait for what comes of it."""
    import io

    import numpy as np

    from convoy_controller.api_client.structure import structured
    from convoy_controller.errors import ApiAnswerError
    from convoy_controller.publishing import Published

    packed = io.BytesIO()
    np.savez_compressed(packed, images=samples)
    form = {
        "name": source.name,
        "version": version,
        "scale": repr(source.scale),
        "offset": repr(source.offset),
        "classes": list(source.class_names or _subfolders(calibration)),
    }
    step("sending", 0, 0)
    with client_of(target) as fleet:
        work = fleet.import_model(form, whole.path.read_bytes(), packed.getvalue())
        while work.state.value == "running":
            step(work.step or "waiting", work.done, work.total)
            time.sleep(POLL_S)
            work = fleet.operation(work.id)
    if work.state.value != "done":
        raise ApiAnswerError(work.message, answered=work.code)
    return structured(Published, work.result)


@_model.command("remove")
@fleet_command
def remove(
    fleet: FleetClient,
    model: Annotated[
        str,
        typer.Argument(metavar="NAME[:VERSION]", help="As `convoy models` lists it.", autocompletion=complete_models),
    ],
    as_json: JsonOption = False,
) -> None:
    """Take a version of a model out of the catalogue; refused while a deployment needs it.

    A running controller clears its files and what the broker retains of it; what other versions share stays.
    VERSION may be left out where there is only one. JSON keys: model, version, digest, artifacts. Exit codes: 0
    removed, 1 refused (by which deployment is said), 3 no such model or version, 4 no fleet there, 5 not allowed.
    """
    from convoy_controller.errors import NotFoundError

    name, _, version = model.partition(":")
    known = [line.version for line in fleet.models() if line.model == name]
    if not known or (version and version not in known):
        there = f"there is {', '.join(known)}" if known else "`convoy models` lists those there are"
        raise NotFoundError(f"there is no model {model!r}; {there}", model=model)
    if not version and len(known) > 1:
        raise typer.BadParameter(f"{name} has versions {', '.join(known)}: say which, as {name}:{known[-1]}")
    removed = fleet.remove_model(name, version or known[0])
    if as_json:
        print_json(removed)
    else:
        typer.echo(f"{name} {removed.version} is removed; a running controller clears what is left of it")


def _source(
    file: str,
    parameters: str | None,
    name: str | None,
    scale: float | None,
    offset: float | None,
    classes: str | None,
) -> _Source:
    import convoy_models

    from convoy_controller.errors import NotFoundError

    path = Path(file)
    shipped = convoy_models.SHIPPED.get(file) if not path.exists() else None
    if shipped is not None:
        path = shipped.path
    elif not path.is_file():
        there = ", ".join(convoy_models.SHIPPED)
        raise NotFoundError(f"there is no file {file}: give an ONNX file, or one of those that come along: {there}")
    if path.suffix.lower() == ".toml":
        from convoy_controller.cli.composed import read_composed

        factor, added = 1 / 255 if scale is None else scale, offset or 0.0
        composed = read_composed(path, parameters, factor, added)
        return _Source(
            path, name or composed.network.name, factor, added, _class_names(classes) if classes else (), composed
        )
    if parameters is not None:
        raise typer.BadParameter(f"--parameters belongs to a network composed as .toml; {path} holds its own")
    return _Source(
        path,
        name or path.stem.lower(),
        scale if scale is not None else (shipped.scale if shipped else 1 / 255),
        offset if offset is not None else (shipped.offset if shipped else 0.0),
        _class_names(classes) if classes is not None else (shipped.class_names if shipped else ()),
        shipped,
    )


@contextmanager
def _whole(source: _Source) -> Iterator[_Source]:
    """`source` with an ONNX file that is whole, for as long as this lasts: composed, or with its weights written."""
    if source.shipped is None:
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="convoy-model-") as folder:
        yield replace(source, path=source.shipped.written(Path(folder)))


def _classified(source: _Source, calibration: str, imported: ImportedModel) -> _Source:
    """`source` with the calibration folder's subfolders as class names, if it has none and there are that many."""
    names = _subfolders(calibration)
    if source.class_names or len(names) != imported.topology.tensor(imported.output).size:
        return source
    return replace(source, class_names=names)


def _subfolders(calibration: str) -> tuple[str, ...]:
    """Names of a calibration folder's subfolders, none where it is no folder."""
    folder = Path(calibration)
    return tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir())) if folder.is_dir() else ()


def _class_names(classes: str) -> tuple[str, ...]:
    path = Path(classes)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else classes.split(",")
    return tuple(line.strip() for line in lines if line.strip())


def _imported(source: _Source, samples: NDArray[np.float32]) -> ImportedModel:
    from convoy_controller.importer import import_model

    return import_model(source.path, samples, name=source.name)


def _told(found: Agreed) -> str:
    return (
        f"against onnxruntime over {found.rows} samples: each layer alone differs in {found.layers:.4%} of its "
        f"elements at most, by {found.layer_steps} steps; end to end {found.output:.2%} by {found.output_steps} "
        f"(onnxruntime optimised against itself unoptimised: {found.onnxruntime:.2%} by {found.onnxruntime_steps})"
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
