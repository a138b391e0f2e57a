"""Plain data as JSON can hold it: the one form in which records leave the controller, whether on a terminal or by HTTP.

A dataclass becomes an object keyed by its field names, an enum its value, a date ISO 8601 in UTC, a generation
"EPOCH-COUNTER", bytes lower-case hexadecimal.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from convoy_schema.names import Generation


def plain(value: Any) -> Any:
    """`value` in objects, lists, strings, numbers, booleans and None; raises `TypeError` for anything unforeseen."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Generation):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"there is no JSON form for a {type(value).__name__}")
