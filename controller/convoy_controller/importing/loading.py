"""An ONNX file as a model whose structure holds: read within bounds, every tensor as large as it says, every name made.

Whatever is damaged is refused with its reason before anything of that size is allocated. What the operations mean is
not looked at here. `convoy_controller.importer` calls it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import onnx
from google.protobuf.message import DecodeError as ProtobufError  # type: ignore[import-untyped]
from onnx import TensorProto, external_data_helper, inliner, version_converter

from convoy_controller.importing.refusals import refuse, unknown

T = TypeVar("T")

#: Bytes of an ONNX file with the data beside it, at most.
MAX_MODEL = 256 * 1024 * 1024
#: Nodes of a graph, at most.
MAX_NODES = 20_000
#: Before opset 13 there are no scales per channel; what is newer than onnxruntime knows is brought to `OPSET` as well.
OLDEST_OPSET, NEWEST_OPSET, OPSET = 13, 22, 18
#: Where a tensor's values are, by its type, when they are not raw.
_TYPED: dict[int, str] = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT64: "uint64_data",
    TensorProto.UINT32: "uint64_data",
}
#: Bits of an element, of the types that a model may hold.
_BITS: dict[int, int] = {
    **dict.fromkeys((TensorProto.DOUBLE, TensorProto.INT64, TensorProto.UINT64), 64),
    **dict.fromkeys((TensorProto.FLOAT, TensorProto.INT32, TensorProto.UINT32), 32),
    **dict.fromkeys((TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT16, TensorProto.UINT16), 16),
    **dict.fromkeys((TensorProto.INT8, TensorProto.UINT8, TensorProto.BOOL), 8),
}
#: Attributes that windows are made of, and the least and most of each number in them.
_WINDOWS = {"strides": (1, 65536), "dilations": (1, 65536), "kernel_shape": (1, 65536), "pads": (-65535, 65535)}
_NUMBER = re.compile("[0-9]{1,15}")
_AUTOMATIC = frozenset({b"NOTSET", b"SAME_UPPER", b"SAME_LOWER", b"VALID"})


def load_model(path: Path, name: str) -> onnx.ModelProto:
    """The model in the file at `path`, checked, functions inlined; raises `ImportRefusedError` with every reason."""
    model = _parsed(path, name)
    if len(model.graph.node) > MAX_NODES:
        raise refuse(name, [f"{path} has {len(model.graph.node)} nodes, at most {MAX_NODES} are read"])
    _load_beside(model, path, name)
    if model.functions:
        model = _attempt(lambda: inliner.inline_local_functions(model), path, name)
    reasons = [*_tensor_reasons(model), *_wiring_reasons(model.graph), *_window_reasons(model.graph)]
    reasons = reasons or unknown(model)
    if reasons:
        raise refuse(name, reasons)
    _attempt(lambda: onnx.checker.check_model(model), path, name)
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        model = _attempt(lambda: version_converter.convert_version(model, OPSET), path, name)
    return model


def _parsed(path: Path, name: str) -> onnx.ModelProto:
    try:
        size = path.stat().st_size
        if size > MAX_MODEL:
            raise refuse(name, [f"{path} has {size} bytes, at most {MAX_MODEL} are read"])
        model = onnx.ModelProto()
        model.ParseFromString(path.read_bytes())
    except (OSError, ProtobufError) as error:
        raise refuse(name, [f"{path} is not a valid ONNX file: {error}; export it again"]) from error
    if not model.graph.node or not model.opset_import:
        raise refuse(name, [f"{path} is not a valid ONNX file: it holds no graph, or names no opset"])
    if not all(isinstance(text, str) for text in _texts(model.graph)):
        raise refuse(name, [f"{path} is not a valid ONNX file: it holds names that are not text"])
    return model


def _attempt(what: Callable[[], T], path: Path, name: str) -> T:
    try:
        return what()
    except Exception as error:  # onnx's C++ side raises whatever class it likes
        raise refuse(name, [f"{path} is not a valid ONNX file: {str(error).strip()}"]) from error


def _texts(graph: onnx.GraphProto) -> Iterator[object]:
    """Every name; protobuf hands out bytes where one is damaged."""
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.name
    for tensor in _tensors(graph):
        yield tensor.name
        yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))


# Tensors -------------------------------------------------------------------------------------------------------------


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _tensor_reasons(model: onnx.ModelProto) -> list[str]:
    """What is wrong with the tensors: sizes that are not what the dimensions say."""
    reasons = []
    if model.graph.sparse_initializer:
        reasons.append("the file holds sparse initialisers; export dense ones")
    for tensor in _tensors(model.graph):
        reason = _size_reason(tensor)
        if reason:
            reasons.append(f"tensor {tensor.name}: {reason}")
    return reasons


def _size_reason(tensor: TensorProto) -> str:
    dimensions, count = list(tensor.dims), math.prod(tensor.dims)
    if min(dimensions, default=0) < 0 or count > 2**40:
        return f"has no size such as {dimensions}"
    if tensor.data_type not in _BITS:
        return "is of a type that no layer takes; export the model in float32 or int8"
    if tensor.HasField("raw_data"):
        need, there, what = -(-count * _BITS[tensor.data_type] // 8), len(tensor.raw_data), "bytes"
    else:
        need, there = count, len(getattr(tensor, _TYPED.get(tensor.data_type, "int32_data")))
        what = "values"
    return "" if need == there else f"its dimensions {dimensions} take {need} {what}, {there} are in the file"


def _load_beside(model: onnx.ModelProto, path: Path, name: str) -> None:
    """Read the tensors that are kept in files beside the model, if those are really there and not too large."""
    total, reasons, folder = path.stat().st_size, [], path.parent.resolve()
    outside = [each for each in _tensors(model.graph) if external_data_helper.uses_external_data(each)]
    for tensor in outside:
        fields = {entry.key: entry.value for entry in tensor.external_data}
        if set(fields) - {"location", "offset", "length", "checksum"}:
            reasons.append(f"tensor {tensor.name}: says in an unknown way where its values are: {sorted(fields)}")
            continue
        location = fields.get("location", "")
        place = folder / location
        is_plain = bool(location) and Path(location).name == location and "\0" not in location
        if not is_plain or not place.is_file() or place.is_symlink():
            reasons.append(f"tensor {tensor.name}: its values should be in {location!r} beside the file; bring it too")
            continue
        length, offset = fields.get("length", str(place.stat().st_size)), fields.get("offset", "0")
        if (
            not (_NUMBER.fullmatch(length) and _NUMBER.fullmatch(offset))
            or int(offset) + int(length) > place.stat().st_size
        ):
            reasons.append(f"tensor {tensor.name}: {length} bytes from {offset} on are not in {place.name!r}")
            continue
        total += int(length)
    if total > MAX_MODEL:
        reasons.append(f"the model and the data beside it have {total} bytes, at most {MAX_MODEL} are read")
    if reasons:
        raise refuse(name, reasons)
    if outside:
        _attempt(lambda: external_data_helper.load_external_data_for_model(model, str(folder)), path, name)


# Wiring --------------------------------------------------------------------------------------------------------------


def _wiring_reasons(graph: onnx.GraphProto) -> list[str]:
    """Names that nothing makes, that are made twice, or that go in a circle."""
    given = {each.name for each in (*graph.input, *graph.initializer)}
    made: dict[str, int] = {}
    reasons = []
    for at, node in enumerate(graph.node):
        for output in filter(None, node.output):
            if output in made or output in given:
                reasons.append(f"{_label(node)}: makes {output!r}, which is there already")
            made.setdefault(output, at)
        if not any(node.output):
            reasons.append(f"node {at} ({node.op_type}): makes nothing")
    for at, node in enumerate(graph.node):
        for source in filter(None, node.input):
            if source not in given and source not in made:
                reasons.append(f"{_label(node)}: its input {source!r} is neither made nor held; export the model again")
            elif source not in given and made[source] >= at:
                reasons.append(f"{_label(node)}: its input {source!r} is made after it, as in a circle")
    reasons += [f"output {out.name!r}: nothing makes it" for out in graph.output if out.name not in {*given, *made}]
    return reasons


def _window_reasons(graph: onnx.GraphProto) -> list[str]:
    """Strides, kernels and the like that shape inference would divide by or allocate."""
    reasons = []
    for node in graph.node:
        for attribute in node.attribute:
            least, most = _WINDOWS.get(attribute.name, (0, 0))
            values = list(attribute.ints)
            if most and not all(least <= value <= most for value in values):
                reasons.append(f"{_label(node)}: has {attribute.name} {values}; each must be {least} to {most}")
            if attribute.name == "auto_pad" and attribute.s not in _AUTOMATIC:
                reasons.append(f"{_label(node)}: has the auto_pad {attribute.s!r}, which does not exist")
            if attribute.name == "group" and attribute.i < 1:
                reasons.append(f"{_label(node)}: has {attribute.i} groups; at least 1 is needed")
    return reasons


def _label(node: onnx.NodeProto) -> str:
    return f"{node.name or next(iter(node.output), '')} ({node.op_type})"
