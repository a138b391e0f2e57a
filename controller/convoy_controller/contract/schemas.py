"""JSON Schema (draft 07) of the contract's dataclasses, read off the annotations that the codec enforces.

MessagePack has what JSON lacks: a byte string is described as a string of format `binary` with `x-max-bytes`, each of
whose characters stands for one byte.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Union

from convoy_schema import codec, version
from convoy_schema.bounds import Pattern, Range, Size
from convoy_schema.channels import CHANNELS, PACKED
from convoy_schema.parameters import PackedParameters

Schema = dict[str, Any]

#: Classes that travel inside an artifact, and so in no channel's message.
IN_ARTIFACTS: tuple[type[Any], ...] = (PackedParameters,)
_WHOLE = Range(-(2**63), 2**63 - 1)
_REAL = Range(-1e300, 1e300)


def schemas() -> dict[str, Schema]:
    """Every dataclass and enumeration of the contract by name: messages, what they hold, and what is packed in them."""
    messages = {channel.message for channel in CHANNELS if channel.message is not None}
    found: dict[str, type[Any]] = {}
    waiting: list[type[Any]] = [*messages, *PACKED.values(), *IN_ARTIFACTS]
    while waiting:
        cls = waiting.pop()
        if found.setdefault(cls.__name__, cls) is not cls:
            raise TypeError(f"two classes of the contract are called {cls.__name__}")
        if not issubclass(cls, enum.Enum):
            inner = (each for hint in _hints(cls).values() for each in _classes(hint))
            waiting += [each for each in inner if each.__name__ not in found]
    return {name: _named(found[name], found[name] in messages) for name in sorted(found)}


def reference(cls: type[Any]) -> Schema:
    """A reference to the class's schema."""
    return {"$ref": f"#/components/schemas/{cls.__name__}"}


def _named(cls: type[Any], is_message: bool) -> Schema:
    if issubclass(cls, enum.Enum):
        return {"type": "string", "description": _prose(cls), "enum": [member.value for member in cls]}
    fields = dataclasses.fields(cls)
    hints, remarks = _hints(cls), _remarks(cls)
    properties: Schema = {}
    required = []
    if is_message:
        required.append(codec.VERSION_KEY)
        properties[codec.VERSION_KEY] = _version_pair()
    for field in fields:
        described = schema_of(hints[field.name])
        if (packed := PACKED.get((cls, field.name))) is not None:
            described |= {"contentMediaType": "application/msgpack", "x-packed": reference(packed)}
        if field.name in remarks:
            described = _with(described, description=remarks[field.name])
        default = _default(field)
        if default is _REQUIRED:
            required.append(field.name)
        else:
            described = _with(described, default=default)
        properties[field.name] = described
    made: Schema = {"type": "object", "description": _prose(cls)}
    if is_message:
        made["x-max-bytes"] = int(cls.MAX_BYTES)
    return {**made, "required": required, "properties": properties, "additionalProperties": True}


def _with(described: Schema, **more: Any) -> Schema:
    """Beside a `$ref` nothing else counts in draft 07, so that is put into an `allOf`."""
    return {"allOf": [described], **more} if "$ref" in described else {**described, **more}


def _version_pair() -> Schema:
    whole = {"type": "integer"}
    return {
        "type": "array",
        "description": (
            "[current, oldest spoken] of the sender's protocol. Refused when current is below "
            f"{version.OLDEST} or oldest above {version.CURRENT}."
        ),
        "items": [whole, whole],
        "minItems": 2,
        "maxItems": 2,
        "examples": [[version.CURRENT, version.OLDEST]],
    }


def schema_of(hint: Any) -> Schema:
    """The schema of one annotation; raises `TypeError` for one that the codec does not read."""
    bounds: tuple[Any, ...] = ()
    if typing.get_origin(hint) is Annotated:
        hint, *rest = typing.get_args(hint)
        bounds = tuple(rest)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        (inner,) = (each for each in arguments if each is not type(None))
        return {"oneOf": [{"type": "null"}, schema_of(inner)]}
    if origin is tuple:
        return _sequence(arguments, bounds)
    if origin is dict:
        most = _size(bounds, codec.DEFAULT_ITEMS)
        key, value = map(schema_of, arguments)
        return {"type": "object", "propertyNames": key, "additionalProperties": value, "maxProperties": most}
    if isinstance(hint, type) and (dataclasses.is_dataclass(hint) or issubclass(hint, enum.Enum)):
        return reference(hint)
    return _scalar(hint, bounds)


def _sequence(arguments: tuple[Any, ...], bounds: tuple[Any, ...]) -> Schema:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return {"type": "array", "items": schema_of(arguments[0]), "maxItems": _size(bounds, codec.DEFAULT_ITEMS)}
    count = len(arguments)
    return {"type": "array", "items": [schema_of(each) for each in arguments], "minItems": count, "maxItems": count}


def _scalar(hint: Any, bounds: tuple[Any, ...]) -> Schema:
    limits = next((each for each in bounds if isinstance(each, Range)), None)
    if hint is bool:
        return {"type": "boolean"}
    if hint is int:
        limits = limits or _WHOLE
        return {"type": "integer", "minimum": int(limits.low), "maximum": int(limits.high)}
    if hint is float:
        limits = limits or _REAL
        return {"type": "number", "minimum": limits.low, "maximum": limits.high}
    if hint is str:
        made: Schema = {"type": "string", "maxLength": _size(bounds, codec.DEFAULT_STRING)}
        pattern = next((each for each in bounds if isinstance(each, Pattern)), None)
        return made if pattern is None else {**made, "pattern": f"^{pattern.regex}$"}
    if hint is bytes:
        most = _size(bounds, codec.DEFAULT_BYTES)
        return {"type": "string", "format": "binary", "maxLength": most, "x-max-bytes": most}
    raise TypeError(f"no schema is known for {hint!r}")


def _size(bounds: tuple[Any, ...], default: int) -> int:
    return next((each.most for each in bounds if isinstance(each, Size)), default)


def _classes(hint: Any) -> Iterator[type[Any]]:
    """Dataclasses and enumerations in an annotation."""
    if isinstance(hint, type) and (dataclasses.is_dataclass(hint) or issubclass(hint, enum.Enum)):
        yield hint
    for argument in typing.get_args(hint):
        yield from _classes(argument)


def _hints(cls: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


_REQUIRED = object()


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return _plain(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return _plain(field.default_factory())
    return _REQUIRED


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def _prose(cls: type[Any]) -> str:
    return inspect.cleandoc(cls.__doc__ or "").replace("\n", " ").replace("  ", "\n\n").strip()


_REMARK = re.compile(r"^    (\w+): .*?  # (.+)$", re.MULTILINE)


def _remarks(cls: type[Any]) -> dict[str, str]:
    """Comments behind fields, by field."""
    return {name: remark.strip() for name, remark in _REMARK.findall(inspect.getsource(cls))}
