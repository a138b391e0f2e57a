"""The Open Inference Protocol (KServe V2) on the wire: requests read, answers written, JSON and binary tensors alike.

Pure functions over bytes and arrays; `http` does the talking. Every mistake of a caller is an `InvalidInputError` that
says what was expected and what came.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from convoy_schema.ending import Ending, Operation
from numpy.typing import NDArray

from convoy_controller.errors import InvalidInputError
from convoy_controller.gateway.classes import as_bytes_tensor, likeliest
from convoy_controller.gateway.service import DEFAULT_TIMEOUT_S, MAX_TIMEOUT_S, InferenceResult
from convoy_controller.gateway.waiting import DEFAULT_PRIORITY, PRIORITIES

#: V2's names of the types a caller may send: reals of any width, pixels, and values that are quantised already. Wider
#: whole numbers are refused: whether they are pixels or quantised only their sender knows.
DTYPES: dict[str, type[np.generic]] = {
    "FP32": np.float32,
    "UINT8": np.uint8,
    "INT8": np.int8,
    "FP16": np.float16,
    "FP64": np.float64,
}
#: Seconds in one unit of the request parameters that give a request its time: `timeout` is Triton's.
TIMEOUTS = {"timeout_ms": 1e-3, "timeout": 1e-6}
#: Outputs that one request may ask for: the answer, and the int8 behind it.
MAX_OUTPUTS = 2
MAX_ID = 200
#: Of a number in a header.
MOST_DIGITS = 18
#: Of a tensor's shape: more than anything has that fits a body.
MAX_DIMENSIONS, MAX_EXTENT = 16, 2**31

HEADER_LENGTH = "Inference-Header-Content-Length"

_TIME_GIVEN = re.compile(rb'"timeout(?:_ms)?"\s*:\s*[0-9.eE+-]+')
_WHOLE = frozenset(("UINT8", "INT8"))


@dataclass(frozen=True)
class WantedOutput:
    """One output as the caller asked for it: the answer (FP32, INT64) or the fleet's INT8, binary or JSON.

    With `classes` it is the likeliest so many classes of each row instead, BYTES.
    """

    datatype: str = "FP32"
    is_binary: bool = False
    classes: int = 0


@dataclass(frozen=True)
class InferRequest:
    """A request as it was read: `array` is (n, *shape) of a type in `DTYPES`; `priority` 1 is the most urgent."""

    ident: str
    array: NDArray[np.generic]
    timeout_s: float
    outputs: tuple[WantedOutput, ...]
    priority: int = DEFAULT_PRIORITY


def datatype_of(ending: Ending) -> str:
    """V2's name of the type that a model with that ending answers in."""
    return "INT64" if ending.operation is Operation.ARGMAX else "FP32"


def fingerprint(path: str, body: bytes, header_length: str | None) -> bytes:
    """What makes a request the same as another: all of it but the time it is given, which a repetition has less of."""
    split = int(header_length) if header_length is not None and _is_number(header_length) else len(body)
    found = hashlib.sha256(path.encode() + b"\0")
    found.update(_TIME_GIVEN.sub(b"", body[:split]))
    found.update(b"\0" + body[split:])
    return found.digest()


def read_request(
    body: bytes, header_length: str | None, input_name: str, output_name: str, datatype: str = "FP32"
) -> InferRequest:
    """Read a request for the model with these tensors, the output of that V2 type.

    `header_length` is the header's value, None when absent.
    """
    try:
        return _read(body, header_length, input_name, output_name, datatype)
    except RecursionError as error:  # what is wrong is nested so deeply that it cannot even be told
        raise InvalidInputError("the request is nested too deeply") from error


def _read(body: bytes, header_length: str | None, input_name: str, output_name: str, datatype: str) -> InferRequest:
    split = len(body) if header_length is None else _header_length(header_length, len(body))
    head = _json(body[:split])
    if not isinstance(head, dict):
        raise InvalidInputError("the request must be a JSON object")
    ident = head.get("id", "")
    if not isinstance(ident, str) or len(ident) > MAX_ID or not _is_text(ident):
        raise InvalidInputError(f"id must be a string of at most {MAX_ID} characters")
    parameters = _parameters(head, "the request")
    outputs = _outputs(head, parameters, output_name, datatype)
    array = _input(head, body[split:], input_name)
    return InferRequest(ident, array, _timeout(parameters), outputs, _priority(parameters))


def _json(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        pass  # Python writes NaN and Infinity, which JSON has not: whoever needs them says what is wrong with them
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidInputError(f"the request is not JSON: {error}") from error


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS


def _is_text(value: str) -> bool:
    """Whether it can be sent: half of a surrogate pair, which JSON can spell, cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _whole(value: Any) -> Any:
    """`value`, or the whole number that it is: one beyond 64 bits was read as a float."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) >= 2**63 else value


def _header_length(text: str, size: int) -> int:
    if not _is_number(text) or int(text) > size:
        raise InvalidInputError(f"{HEADER_LENGTH} must be at most the body's {size} bytes, {text[:40]!r} came")
    return int(text)


def _parameters(holder: dict[str, Any], what: str) -> dict[str, Any]:
    parameters = holder.get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidInputError(f"parameters of {what} must be a JSON object")
    return parameters


def _timeout(parameters: dict[str, Any]) -> float:
    for key, unit_s in TIMEOUTS.items():
        value = parameters.get(key)
        if value is None or (value == 0 and not isinstance(value, bool)):
            continue  # 0 is Triton's word for the default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise InvalidInputError(f"parameter {key!r} must be a positive number, {str(value)[:40]!r} came")
        return min(MAX_TIMEOUT_S, value * unit_s)
    return DEFAULT_TIMEOUT_S


def _priority(parameters: dict[str, Any]) -> int:
    value = _whole(parameters.get("priority", 0))
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidInputError(f"parameter 'priority' must be a whole number from 0, {str(value)[:40]!r} came")
    return min(value, PRIORITIES) or DEFAULT_PRIORITY


def _outputs(head: dict[str, Any], parameters: dict[str, Any], name: str, given: str) -> tuple[WantedOutput, ...]:
    binary = _flag(parameters, "binary_data_output", False)
    asked = head.get("outputs")
    if asked is None:
        return (WantedOutput(given, binary),)
    if not isinstance(asked, list) or not 1 <= len(asked) <= MAX_OUTPUTS:
        raise InvalidInputError(f"outputs must be a list of 1 to {MAX_OUTPUTS}")
    found = []
    for each in asked:
        if not isinstance(each, dict) or each.get("name") != name:
            came = each.get("name") if isinstance(each, dict) else each
            raise InvalidInputError(f"the model's output is {name!r}, {str(came)[:80]!r} was asked for")
        found.append(_output(name, given, _parameters(each, f"output {name!r}"), binary))
    return tuple(found)


def _output(name: str, given: str, own: dict[str, Any], binary: bool) -> WantedOutput:
    _refuse_shared_memory(name, own)
    datatype = own.get("datatype", given)
    if datatype not in (given, "INT8"):
        raise InvalidInputError(f"output {name!r} comes as {given} or INT8, {str(datatype)[:40]!r} was asked for")
    classes = _whole(own.get("classification", 0))
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 0:
        raise InvalidInputError(f"classification must be a whole number of classes, {str(classes)[:40]!r} came")
    if classes and datatype != "FP32":
        raise InvalidInputError(f"classification needs real outputs; {name!r} comes as {datatype}: ask without it")
    return WantedOutput(datatype, _flag(own, "binary_data", binary), classes)


def _refuse_shared_memory(name: str, parameters: dict[str, Any]) -> None:
    if "shared_memory_region" in parameters:
        raise InvalidInputError(
            f"{name!r} is in shared memory, which no gateway shares with its callers: send its data"
        )


def _flag(parameters: dict[str, Any], key: str, default: bool) -> bool:
    value = parameters.get(key, default)
    if not isinstance(value, bool):
        raise InvalidInputError(f"parameter {key!r} must be true or false, {str(value)[:40]!r} came")
    return value


def _input(head: dict[str, Any], tail: bytes, name: str) -> NDArray[np.generic]:
    inputs = head.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        came = f"{len(inputs)} came" if isinstance(inputs, list) else "none came"
        raise InvalidInputError(f"inputs must be a list of one tensor, {name!r}; {came}")
    tensor = inputs[0]
    if tensor.get("name") != name:
        raise InvalidInputError(f"the model's input is {name!r}, {str(tensor.get('name'))[:80]!r} came")
    datatype = tensor.get("datatype")
    if not isinstance(datatype, str) or datatype not in DTYPES:
        raise InvalidInputError(f"input {name!r} must be {', '.join(DTYPES)}, {str(datatype)[:40]!r} came")
    shape = _shape(name, tensor.get("shape"))
    own = _parameters(tensor, f"input {name!r}")
    _refuse_shared_memory(name, own)
    size = own.get("binary_data_size")
    if size is not None:
        return _binary(name, datatype, shape, size, tail)
    if tail:
        raise InvalidInputError(f"{len(tail)} bytes follow the JSON header, but {name!r} has no binary_data_size")
    return _from_json(name, datatype, shape, tensor.get("data"))


def _shape(name: str, shape: Any) -> tuple[int, ...]:
    """Extents whose product can still be reckoned and written."""
    is_list = isinstance(shape, list) and 1 <= len(shape) <= MAX_DIMENSIONS
    if not is_list or not all(type(extent) is int and 0 <= extent < MAX_EXTENT for extent in shape):
        raise InvalidInputError(
            f"the shape of {name!r} must be a list of 1 to {MAX_DIMENSIONS} whole numbers below {MAX_EXTENT}, "
            f"{str(shape)[:80]} came"
        )
    return tuple(shape)


def _binary(name: str, datatype: str, shape: tuple[int, ...], size: Any, tail: bytes) -> NDArray[np.generic]:
    dtype = np.dtype(DTYPES[datatype]).newbyteorder("<")
    expected = math.prod(shape) * dtype.itemsize
    if size != expected or len(tail) != expected:
        raise InvalidInputError(
            f"{datatype} {list(shape)} of {name!r} takes {expected} bytes; binary_data_size is {str(size)[:40]}, "
            f"{len(tail)} bytes came"
        )
    try:
        array: NDArray[np.generic] = np.frombuffer(tail, dtype).reshape(shape)
    except ValueError as error:  # too many dimensions, or none of a length that NumPy can count
        raise InvalidInputError(f"{name!r} cannot have the shape {str(shape)[:80]}: {error}") from error
    return array


def _from_json(name: str, datatype: str, shape: tuple[int, ...], data: Any) -> NDArray[np.generic]:
    if not isinstance(data, list):
        raise InvalidInputError(f"input {name!r} must have data, a list, or binary_data_size")
    try:
        if datatype == "UINT8" and data and type(data[0]) is int and len(data) == math.prod(shape):
            return np.frombuffer(bytes(data), np.uint8).reshape(shape)  # flat, as it mostly comes: ten times as fast
    except (TypeError, ValueError):
        pass  # the long way says what is wrong
    try:
        raw = np.asarray(data)
        if raw.dtype.kind not in "iuf":
            raise ValueError("data must be numbers")
        if datatype in _WHOLE:
            limits = np.iinfo(DTYPES[datatype])  # type: ignore[type-var]
            # Some clients write every number with a point.
            is_whole = raw.dtype.kind != "f" or bool((raw == np.rint(raw)).all())
            if not is_whole or (raw.size and (raw.min() < limits.min or raw.max() > limits.max)):
                raise ValueError(f"values must be whole numbers in [{limits.min}, {limits.max}]")
        # Nested and flat are both in the protocol; the order is the same. A real beyond its type is infinite there.
        with np.errstate(over="ignore"):
            return raw.astype(DTYPES[datatype]).reshape(shape)
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(f"data of {name!r} is not {datatype} {list(shape)}: {str(error)[:200]}") from error


def write_response(request: InferRequest, result: InferenceResult) -> tuple[bytes, dict[str, str]]:
    """Body and headers of the answer."""
    outputs: list[dict[str, Any]] = []
    tails: list[bytes] = []
    name = result.model.bundle.answer
    for wanted in request.outputs:
        if wanted.classes:
            texts = likeliest(result.answer, wanted.classes, result.model.bundle.class_names)
            output: dict[str, Any] = {"name": name, "datatype": "BYTES", "shape": [len(texts), len(texts[0])]}
            flat: list[Any] = [text for row in texts for text in row]
            tail = as_bytes_tensor(flat) if wanted.is_binary else b""
        else:
            array = result.raw if wanted.datatype == "INT8" else result.answer
            output = {"name": name, "datatype": wanted.datatype, "shape": list(array.shape)}
            flat = [] if wanted.is_binary else array.ravel().tolist()
            tail = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes() if wanted.is_binary else b""
        if wanted.is_binary:
            tails.append(tail)
            output["parameters"] = {"binary_data_size": len(tail)}
        else:
            output["data"] = flat
        outputs.append(output)
    head: dict[str, Any] = {
        "model_name": result.model.bundle.model,
        "model_version": result.model.bundle.version,
        "parameters": {"generation": str(result.generation), "deployment": result.deployment},
        "outputs": outputs,
    }
    if request.ident:
        head["id"] = request.ident
    text = orjson.dumps(head)
    if not tails:
        return text, {"content-type": "application/json"}
    headers = {"content-type": "application/octet-stream", HEADER_LENGTH.lower(): str(len(text))}
    return b"".join((text, *tails)), headers
