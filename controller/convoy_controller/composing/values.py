"""What a layer's keys may hold, and how each is read: counts, extents of a window, padding, flags and numbers.

The same for the builder's arguments and for TOML. Nothing here knows which operation has which key.
"""

from __future__ import annotations

import enum
import math
import numbers
import re
from dataclasses import dataclass
from typing import Final

#: Whatever a key can hold; sequences are tuples.
Value = int | float | bool | str | tuple["Value", ...]

#: Elements along one axis, and steps of a window, at most.
MAX_EXTENT: Final = 65536
#: A layer's name; `NAME.weight` is what an .npz file calls its weights.
LAYER_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")


class Unfit(Exception):  # noqa: N818 - never leaves this package, which collects them
    """Why a value or layer cannot be taken: what must be there and what came."""


class Form(enum.Enum):
    """What a key holds; the value says so to people."""

    COUNT = f"a whole number of 1 to {MAX_EXTENT}"
    EXTENTS = f"a whole number of 1 to {MAX_EXTENT}, or [height, width] of such"
    PADDING = (
        f'"same", a whole number of 0 to {MAX_EXTENT - 1}, or [height, width] or [top, left, bottom, right] of such'
    )
    FLAG = "true or false"
    NUMBER = "a finite number"


@dataclass(frozen=True)
class Key:
    """One key of an operation; without a `default` it must be there."""

    form: Form
    default: Value | None = None
    is_needed: bool = False


def plain(value: object) -> Value:
    """`value` with tuples for lists; anything that is no value of TOML becomes the text that shows it."""
    if isinstance(value, (list, tuple)):
        return tuple(plain(each) for each in value)
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, numbers.Integral):  # NumPy's, too
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else repr(value)


def shown(value: Value) -> str:
    """`value` as TOML has it, cut where it is long."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, tuple):
        text = f"[{', '.join(map(shown, value))}]"
    else:
        text = f'"{value}"' if isinstance(value, str) else repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def fits(form: Form, value: Value) -> bool:
    """Whether `value` is of that form."""
    if form is Form.FLAG:
        return isinstance(value, bool)
    if form is Form.NUMBER:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and _is_float32(value)
    if form is Form.COUNT:
        return _is_whole(value, 1, MAX_EXTENT)
    if form is Form.EXTENTS:
        parts = value if isinstance(value, tuple) else (value, value)
        return len(parts) == 2 and all(_is_whole(part, 1, MAX_EXTENT) for part in parts)
    parts = value if isinstance(value, tuple) else (value, value)
    return value == "same" or (len(parts) in (2, 4) and all(_is_whole(part, 0, MAX_EXTENT - 1) for part in parts))


def _is_float32(value: float) -> bool:
    try:
        return math.isfinite(value) and abs(float(value)) < 3e38
    except OverflowError:  # a whole number of TOML has no end
        return False


def _is_whole(value: Value, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


# Reading what fits ---------------------------------------------------------------------------------------------------


def whole(value: Value | None) -> int:
    """A count."""
    assert isinstance(value, int)
    return value


def number(value: Value | None) -> float:
    """A number."""
    assert isinstance(value, (int, float))
    return float(value)


def extents(value: Value | None) -> tuple[int, int]:
    """(height, width)."""
    parts = value if isinstance(value, tuple) else (value, value)
    return whole(parts[0]), whole(parts[1])


def padding(
    value: Value | None, size: tuple[int, int], reach: tuple[int, int], stride: tuple[int, int]
) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of an input of `size` under a window that reaches `reach`.

    "same" makes as many elements as there are strides in the input, with the odd one below and to the right.
    """
    if value == "same":
        totals = [max(0, (-(-size[at] // stride[at]) - 1) * stride[at] + reach[at] - size[at]) for at in (0, 1)]
        before = [total // 2 for total in totals]
        return before[0], before[1], totals[0] - before[0], totals[1] - before[1]
    parts = value if isinstance(value, tuple) else (value, value)
    top, left = whole(parts[0]), whole(parts[1])
    return (top, left, whole(parts[2]), whole(parts[3])) if len(parts) == 4 else (top, left, top, left)
