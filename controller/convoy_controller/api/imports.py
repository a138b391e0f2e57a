"""The route that takes a model: an ONNX file and calibration samples, imported by a process of its own."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, File, Form, Response, UploadFile
from pydantic import Field

from convoy_controller.api import importing
from convoy_controller.api.context import Calling, Here
from convoy_controller.api.importing import MODEL, SAMPLES, Order
from convoy_controller.api.roles import PREFIX, needs
from convoy_controller.api.shapes.base import Name
from convoy_controller.api.shapes.operations import OperationLine
from convoy_controller.database import operations
from convoy_controller.database.records import TokenRole, utc_now
from convoy_controller.errors import BlobError

router = APIRouter(prefix="/models", tags=["models"])

MOST_CLASSES = 10_000
ClassName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]


@router.post(
    "",
    status_code=202,
    **needs(TokenRole.OPERATOR, "import_model", 409, writes=True, uploads=True),
)
def import_model(
    here: Here,
    call: Calling,
    response: Response,
    model: Annotated[UploadFile, File(description="An ONNX file, float or quantised.")],
    calibration: Annotated[
        UploadFile, File(description="An .npz file of typical inputs, rows first; uint8 is pixels, floats as they are.")
    ],
    name: Annotated[Name, Form(description="Name of the model.")],
    version: Annotated[Name, Form()] = "1",
    scale: Annotated[float, Form(ge=-1e9, le=1e9, description="A pixel (0 to 255) times this is the input.")] = 1 / 255,
    offset: Annotated[float, Form(ge=-1e9, le=1e9, description="Added to it.")] = 0.0,
    classes: Annotated[
        list[ClassName] | None, Form(max_length=MOST_CLASSES, description="Class names, in order.")
    ] = None,
) -> OperationLine:
    """Quantise an ONNX model, compare it with onnxruntime, sign and store it: an operation, which Location names.

    The same file under the same version changes nothing; other content needs another version.
    """
    number = operations.begin(here.database, "import-model", f"{name}:{version}", call.caller.name, utc_now())
    folder = here.home.root / "uploads" / f"{number}-{secrets.token_hex(4)}"
    try:
        _keep(folder, {MODEL: model, SAMPLES: calibration})
        order = Order(folder, name, version, scale, offset, tuple(classes or ()))
        importing.start(here.database, here.home, number, order)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        operations.fail(here.database, number, utc_now(), "blob-store", str(error))
        raise BlobError(f"the upload cannot be kept in {folder.parent}: {error}; free some space there") from error
    response.headers["Location"] = f"{PREFIX}/operations/{number}"
    return OperationLine.of(operations.operation(here.database, number, utc_now()))


def _keep(folder: Path, files: dict[str, UploadFile]) -> None:
    folder.mkdir(parents=True)
    for name, uploaded in files.items():
        with (folder / name).open("wb") as file:
            shutil.copyfileobj(uploaded.file, file)
