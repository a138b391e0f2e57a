"""The Open Inference Protocol as the client writes and reads it: requests with binary tensors, answers checked.

Pure functions over bytes; anything unexpected from a gateway is a `ServerFailedError`.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convoy.errors import InvalidInputError, ServerFailedError
from convoy.results import ModelInfo

HEADER_LENGTH = "Inference-Header-Content-Length"

#: Characters of a gateway's error that are passed on.
MAX_SENTENCE = 1000
#: What reading JSON of another form raises: numbers too large for where they go and nesting without end included.
_MALFORMED = (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError)
_DATATYPES = {"float32": "FP32", "uint8": "UINT8", "int8": "INT8"}
#: What a model may answer in.
_ANSWERS: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "INT64": np.dtype("<i8")}


def as_rows(array: Any, info: ModelInfo) -> NDArray[np.generic]:
    """`array` as (n, *shape) float32, uint8 (pixels) or int8 (quantised), C order.

    float64 becomes float32; one sample without the batch, and images without a channel axis of 1, are given what they
    lack. Raises `InvalidInputError` that names what is expected.
    """
    rows = np.asarray(array)
    if rows.dtype in (np.float64, np.float16):
        rows = rows.astype(np.float32)
    if rows.dtype.name not in _DATATYPES:
        raise InvalidInputError(
            f"{info.name} takes float32 (real values), uint8 (pixels) or int8 (quantised), {rows.dtype} came: "
            "convert it, for images with .astype(numpy.uint8)",
            model=info.name,
        )
    shape = info.shape
    bare = tuple(extent for extent in shape if extent != 1)
    if rows.shape == shape or rows.shape == bare:
        rows = rows.reshape(1, *shape)
    elif rows.ndim == len(bare) + 1 and rows.shape[1:] == bare:
        rows = rows.reshape(len(rows), *shape)
    if rows.ndim != len(shape) + 1 or rows.shape[1:] != shape or not len(rows):
        expected = ", ".join(["n", *map(str, shape)])
        raise InvalidInputError(f"{info.name} takes an array of shape ({expected}), {rows.shape} came", model=info.name)
    little = rows.dtype.newbyteorder("<")
    return np.ascontiguousarray(rows, little)


def write_request(
    rows: NDArray[np.generic], info: ModelInfo, timeout_s: float, priority: int = 0
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of an infer request that must be answered within `timeout_s`; `priority` 0 is the default."""
    head = {
        "parameters": {
            "timeout_ms": max(1, math.ceil(timeout_s * 1000)),
            "binary_data_output": True,
            **({"priority": priority} if priority else {}),
        },
        "inputs": [
            {
                "name": info.input,
                "datatype": _DATATYPES[rows.dtype.name],
                "shape": list(rows.shape),
                "parameters": {"binary_data_size": rows.nbytes},
            }
        ],
    }
    text = json.dumps(head, separators=(",", ":")).encode()
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(text))}
    return text + rows.tobytes(), headers


def read_response(body: bytes, header_length: str | None, rows: int) -> tuple[NDArray[Any], dict[str, Any]]:
    """The outputs (rows, ...) of an infer answer, float32 or int64, and its JSON head."""
    try:
        split = int(header_length) if header_length is not None else len(body)
        head = json.loads(body[:split])
        output = head["outputs"][0]
        shape = tuple(output["shape"])
        dtype = _ANSWERS.get(output["datatype"])
        if dtype is None or shape[0] != rows:
            expected = " or ".join(_ANSWERS)
            raise ValueError(f"{expected} of {rows} rows was expected, {output['datatype']} {shape} came")
        if "data" in output:
            array = np.asarray(output["data"], dtype).reshape(shape)
        else:
            size = output["parameters"]["binary_data_size"]
            array = np.frombuffer(body, dtype, count=size // dtype.itemsize, offset=split).reshape(shape)
    except _MALFORMED as error:
        raise ServerFailedError(f"the gateway's answer is not of the protocol: {str(error)[:300]}") from error
    return array.astype(dtype.newbyteorder("="), copy=False), head


def read_model(body: bytes) -> ModelInfo:
    """A model's metadata."""
    try:
        found = json.loads(body)
        given, made = found["inputs"][0], found["outputs"][0]
        versions = found.get("versions") or [""]
        version = found.get("parameters", {}).get("version", versions[-1])
        shape = tuple(int(extent) for extent in given["shape"][1:])
        classes = tuple(str(name) for name in made.get("labels", ()))
        ending = str(made.get("parameters", {}).get("ending", "none"))
        return ModelInfo(
            str(found["name"]), str(version), str(given["name"]), str(made["name"]), shape, classes, ending
        )
    except _MALFORMED as error:
        raise ServerFailedError(f"the gateway's model metadata is not of the protocol: {repr(error)[:300]}") from error


def read_index(body: bytes) -> list[tuple[str, str]]:
    """(model, version) of everything a gateway serves."""
    try:
        return [(str(entry["name"]), str(entry.get("version", ""))) for entry in json.loads(body)]
    except _MALFORMED as error:
        raise ServerFailedError(f"the gateway's list of models is not of the protocol: {repr(error)[:300]}") from error


def sentence(body: bytes) -> str:
    """The `error` of an error answer, or what there is of its text."""
    try:
        return str(json.loads(body)["error"])[:MAX_SENTENCE]
    except _MALFORMED:
        return body[:200].decode("utf-8", "replace").strip() or "no reason given"
