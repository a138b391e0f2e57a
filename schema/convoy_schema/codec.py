"""MessagePack in, frozen dataclasses out: every field checked against its annotation.

An unknown field is ignored, so that a newer peer may add some; a missing, ill-typed or out-of-bounds one is a
`DecodeError` that names it. Readers are compiled once for each class. Nothing here knows what a message means.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Protocol, TypeVar, Union

import msgpack

from convoy_schema import version
from convoy_schema.bounds import Pattern, Range, Size
from convoy_schema.errors import DecodeError, TooLargeError, shown

#: Unless an annotation says otherwise: characters in a string, bytes in a blob, items in a sequence, keys in a map.
DEFAULT_STRING = 1000
DEFAULT_BYTES = 64 * 1024
DEFAULT_ITEMS = 4096
#: No sequence or map of any message, known field or not, may have more: MessagePack makes room for as many items as an
#: array says it has, before there is one of them, and at each of a thousand levels. One more than the longest may have,
#: so that the field that has it is still named.
MOST_ITEMS = DEFAULT_ITEMS + 1

#: Names in lists that are remembered, for each kind of list: those of a large fleet.
MOST_KNOWN = 20_000

#: Key of the version pair [current, oldest spoken] at the top of every message.
VERSION_KEY = "v"

Reader = Callable[[Any, str], Any]
Writer = Callable[[Any], Any]


class Message(Protocol):
    """A frozen dataclass with a bound on its encoded size."""

    MAX_BYTES: ClassVar[int]
    __dataclass_fields__: ClassVar[dict[str, Any]]


M = TypeVar("M", bound=Message)


def encode(message: Message) -> bytes:
    """Bytes of `message`; raises `TooLargeError` rather than publish what a peer must refuse."""
    body = _writer(type(message))(message)
    body[VERSION_KEY] = (version.CURRENT, version.OLDEST)
    payload: bytes = msgpack.packb(body)
    if len(payload) > message.MAX_BYTES:
        raise TooLargeError(
            f"{type(message).__name__} takes {len(payload)} bytes, at most {message.MAX_BYTES} may be sent",
            size=len(payload),
            limit=message.MAX_BYTES,
        )
    return payload


def decode(cls: type[M], payload: bytes) -> M:
    """The message in `payload`, or a `DecodeError` that names what is wrong with it."""
    if len(payload) > cls.MAX_BYTES:
        raise DecodeError(
            f"{cls.__name__} may take {cls.MAX_BYTES} bytes, {len(payload)} came",
            size=len(payload),
            limit=cls.MAX_BYTES,
        )
    body = _tree(cls, payload)
    if not isinstance(body, dict):
        raise DecodeError(f"{cls.__name__} must be a map, {type(body).__name__} came")
    pair = body.get(VERSION_KEY)
    if not (isinstance(pair, list) and len(pair) == 2 and type(pair[0]) is int and type(pair[1]) is int):
        raise DecodeError(f"{cls.__name__}.{VERSION_KEY} must be the pair [current, oldest]", field=VERSION_KEY)
    version.check(pair[0], pair[1])
    return typing.cast(M, _reader(cls)(body, cls.__name__))


def pack(value: Any) -> bytes:
    """Canonical bytes of a dataclass, without a version: what is hashed and signed."""
    return typing.cast(bytes, msgpack.packb(_writer(type(value))(value)))


T = TypeVar("T")


def unpack(cls: type[T], payload: bytes) -> T:
    """Read what `pack` wrote, as strictly as `decode`."""
    return typing.cast(T, _reader(cls)(_tree(cls, payload), cls.__name__))


def _tree(cls: type, payload: bytes) -> Any:
    try:
        return msgpack.unpackb(payload, strict_map_key=True, max_array_len=MOST_ITEMS, max_map_len=MOST_ITEMS)
    except Exception as error:  # msgpack raises ValueError, RecursionError and its own for bad input
        raise DecodeError(f"{cls.__name__} is not MessagePack: {str(error)[:200]}") from error


# Readers -------------------------------------------------------------------------------------------------------------

_readers: dict[Any, Reader] = {}
_writers: dict[Any, Writer] = {}


def _reader(kind: Any) -> Reader:
    found = _readers.get(kind)
    if found is None:
        found = _readers[kind] = _make_reader(kind)
    return found


def _fail(path: str, expected: str, value: Any) -> DecodeError:
    return DecodeError(f"{path} must be {expected}, {shown(value)} came", field=path)


def _make_reader(kind: Any) -> Reader:
    bounds: tuple[Any, ...] = ()
    if typing.get_origin(kind) is Annotated:
        kind, *rest = typing.get_args(kind)
        bounds = tuple(rest)
    origin = typing.get_origin(kind)
    if origin in (Union, types.UnionType):
        return _optional_reader(kind)
    if origin is tuple:
        return _tuple_reader(typing.get_args(kind), bounds)
    if origin is dict:
        return _map_reader(typing.get_args(kind), bounds)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _record_reader(kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _enum_reader(kind)
    return _scalar_reader(kind, bounds)


def _scalar_reader(kind: Any, bounds: tuple[Any, ...]) -> Reader:
    limits = next((b for b in bounds if isinstance(b, Range)), None)
    size = next((b.most for b in bounds if isinstance(b, Size)), None)
    pattern = next((b.compiled() for b in bounds if isinstance(b, Pattern)), None)
    if kind is bool:
        return _bool_reader
    if kind is int:
        low, high = (limits.low, limits.high) if limits else (-(2**63), 2**63 - 1)

        def read_int(value: Any, path: str) -> int:
            if type(value) is not int or not low <= value <= high:
                raise _fail(path, f"an integer in [{low}, {high}]", value)
            return value

        return read_int
    if kind is float:
        return _float_reader(limits or Range(-1e300, 1e300))
    if kind is str:
        return _string_reader(pattern, size or DEFAULT_STRING)
    if kind is bytes:
        most = size or DEFAULT_BYTES

        def read_bytes(value: Any, path: str) -> bytes:
            if type(value) is not bytes or len(value) > most:
                raise _fail(path, f"at most {most} bytes", value)
            return value

        return read_bytes
    raise TypeError(f"the codec has no reader for {kind!r}")


def _bool_reader(value: Any, path: str) -> bool:
    if type(value) is not bool:
        raise _fail(path, "true or false", value)
    return value


def _float_reader(limits: Range) -> Reader:
    def read_float(value: Any, path: str) -> float:
        # Not (a <= x <= b) also refuses NaN.
        if type(value) not in (float, int) or not limits.low <= value <= limits.high:
            raise _fail(path, f"a number in [{limits.low:g}, {limits.high:g}]", value)
        return float(value)

    return read_float


def _string_reader(pattern: Any, most: int) -> Reader:
    def read_string(value: Any, path: str) -> str:
        if type(value) is not str or len(value) > most:
            raise _fail(path, f"a string of at most {most} characters", value)
        if pattern is not None and not pattern.fullmatch(value):
            raise _fail(path, f"a string of the form {pattern.pattern}", value)
        return value

    return read_string


def _enum_reader(kind: type[enum.Enum]) -> Reader:
    members = {member.value: member for member in kind}

    def read_enum(value: Any, path: str) -> enum.Enum:
        member = members.get(value) if isinstance(value, (str, int)) else None
        if member is None:
            raise _fail(path, f"one of {', '.join(map(str, members))}", value)
        return member

    return read_enum


def _optional_reader(kind: Any) -> Reader:
    inner = [arg for arg in typing.get_args(kind) if arg is not type(None)]
    if len(inner) != 1:
        raise TypeError(f"the codec reads no union but with None: {kind!r}")
    read = _reader(inner[0])

    def read_optional(value: Any, path: str) -> Any:
        return None if value is None else read(value, path)

    return read_optional


def _tuple_reader(arguments: tuple[Any, ...], bounds: tuple[Any, ...]) -> Reader:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        most = next((b.most for b in bounds if isinstance(b, Size)), DEFAULT_ITEMS)
        read = _reader(arguments[0])
        if _is_name(arguments[0]):
            return _names_reader(read, most)

        def read_sequence(value: Any, path: str) -> tuple[Any, ...]:
            if type(value) is not list or len(value) > most:
                raise _fail(path, f"a list of at most {most} items", value)
            return tuple([read(item, path) for item in value])

        return read_sequence
    readers = [_reader(argument) for argument in arguments]

    def read_tuple(value: Any, path: str) -> tuple[Any, ...]:
        if type(value) is not list or len(value) != len(readers):
            raise _fail(path, f"a list of {len(readers)} items", value)
        return tuple([read(item, path) for read, item in zip(readers, value, strict=True)])

    return read_tuple


def _is_name(kind: Any) -> bool:
    """Whether it is a string of a given form, and with it a short one."""
    return typing.get_origin(kind) is Annotated and any(isinstance(each, Pattern) for each in typing.get_args(kind))


def _names_reader(read: Reader, most: int) -> Reader:
    # The same hundred names come in every message of boards that share a deployment: what was good once is kept.
    known: dict[Any, str] = {}

    def read_names(value: Any, path: str) -> tuple[str, ...]:
        if type(value) is not list or len(value) > most:
            raise _fail(path, f"a list of at most {most} items", value)
        try:
            return tuple(map(known.__getitem__, value))
        except (KeyError, TypeError):  # a new string, or none at all
            found = tuple([read(item, path) for item in value])
        if len(known) < MOST_KNOWN:
            known.update(zip(found, found, strict=True))
        return found

    return read_names


def _map_reader(arguments: tuple[Any, ...], bounds: tuple[Any, ...]) -> Reader:
    most = next((b.most for b in bounds if isinstance(b, Size)), DEFAULT_ITEMS)
    read_key, read_value = _reader(arguments[0]), _reader(arguments[1])

    def read_map(value: Any, path: str) -> dict[Any, Any]:
        if type(value) is not dict or len(value) > most:
            raise _fail(path, f"a map of at most {most} keys", value)
        return {read_key(key, path): read_value(item, f"{path}[{key!r}]") for key, item in value.items()}

    return read_map


def _record_reader(cls: type) -> Reader:
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = [
        (f.name, f"{cls.__name__}.{f.name}", _reader(hints[f.name]), _default(f)) for f in dataclasses.fields(cls)
    ]

    def read_record(value: Any, path: str) -> Any:
        if type(value) is not dict:
            raise _fail(path, f"a {cls.__name__}", value)
        arguments = []
        for name, label, read, default in fields:
            item = value.get(name, _MISSING)
            if item is _MISSING:
                if default is None:
                    raise DecodeError(f"{label} is missing", field=label)
                arguments.append(default())
            else:
                arguments.append(read(item, label))
        try:
            return cls(*arguments)
        except ValueError as error:  # a class's own consistency check in __post_init__
            raise DecodeError(f"{path}: {error}", field=path) from error

    return read_record


_MISSING = object()


def _default(f: dataclasses.Field[Any]) -> Callable[[], Any] | None:
    if f.default is not dataclasses.MISSING:
        value = f.default
        return lambda: value
    return f.default_factory if f.default_factory is not dataclasses.MISSING else None


# Writers -------------------------------------------------------------------------------------------------------------


def _writer(kind: type) -> Writer:
    found = _writers.get(kind)
    if found is None:
        found = _writers[kind] = _make_writer(kind)
    return found


def _make_writer(cls: type) -> Writer:
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = [(f.name, _is_plain(hints[f.name])) for f in dataclasses.fields(cls)]

    def write_record(message: Any) -> dict[str, Any]:
        return {name: getattr(message, name) if plain else _write(getattr(message, name)) for name, plain in fields}

    return write_record


def _is_plain(kind: Any) -> bool:
    """Whether msgpack can pack values of this type as they are."""
    if typing.get_origin(kind) is Annotated:
        kind = typing.get_args(kind)[0]
    if kind in (bool, int, float, str, bytes):
        return True
    origin = typing.get_origin(kind)
    return origin in (tuple, dict, Union, types.UnionType) and all(
        argument in (Ellipsis, type(None)) or _is_plain(argument) for argument in typing.get_args(kind)
    )


def _write(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple):
        return [_write(item) for item in value]
    if isinstance(value, dict):
        return {key: _write(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        return _writer(type(value))(value)
    return value
