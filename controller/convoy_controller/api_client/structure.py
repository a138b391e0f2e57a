"""JSON back into the frozen dataclasses that `convoy_controller.plain` made it from.

What a newer server says beside what is known here is left out; what is missing takes the field's default.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, TypeVar, Union

from convoy_schema.errors import shown
from convoy_schema.names import Generation

from convoy_controller.errors import ApiAnswerError

T = TypeVar("T")
Reader = Callable[[Any], Any]


def structured(kind: type[T], value: Any) -> T:
    """`value` as a `kind`; raises `ApiAnswerError` that names what does not fit."""
    wanted: Any = kind
    try:
        found: T = _reader(wanted)(value)
    except (TypeError, ValueError, KeyError) as error:
        raise ApiAnswerError(
            f"the server's answer is no {kind.__name__} ({str(error)[:200]}): update this convoy or the server"
        ) from error
    return found


@functools.cache
def _reader(kind: Any) -> Reader:
    """What reads a value of that type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _reader(arguments[0])
    if origin in (Union, types.UnionType):
        return _optional(_reader(next(each for each in arguments if each is not type(None))))
    if origin is tuple:
        return _sequence(arguments)
    if origin is dict:
        read = _reader(arguments[1])
        return lambda value: {str(key): read(item) for key, item in _checked(value, Mapping).items()}
    return _plain_reader(kind)


def _plain_reader(kind: Any) -> Reader:
    if kind is Any:
        return lambda value: value
    if kind is Generation:
        return lambda value: Generation.parse(_checked(value, str))
    if kind is datetime:
        return lambda value: datetime.fromisoformat(_checked(value, str).replace("Z", "+00:00"))
    if kind is float:
        return lambda value: float(_checked(value, (int, float)))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind
    if dataclasses.is_dataclass(kind):
        return _record(kind)
    return lambda value: _checked(value, kind)


def _optional(read: Reader) -> Reader:
    return lambda value: None if value is None else read(value)


def _sequence(arguments: tuple[Any, ...]) -> Reader:
    if arguments[-1] is Ellipsis:
        read = _reader(arguments[0])
        return lambda value: tuple(read(item) for item in _checked(value, list))
    readers = [_reader(each) for each in arguments]
    return lambda value: tuple(read(item) for read, item in zip(readers, _checked(value, list), strict=True))


def _record(kind: Any) -> Reader:
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {item.name: hints[item.name] for item in dataclasses.fields(kind) if item.init}

    def read(value: Any) -> Any:
        table = _checked(value, Mapping)
        return kind(**{name: _reader(hint)(table[name]) for name, hint in fields.items() if name in table})

    return read


def _checked(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{getattr(kind, '__name__', kind)} was expected, {shown(value)} came")
    return value
