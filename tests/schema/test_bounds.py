"""Bounds include their ends, count characters rather than bytes, and a pattern matches the whole string."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import msgpack
import pytest
from convoy_schema import codec
from convoy_schema.bounds import Pattern, Range, Size
from convoy_schema.errors import DecodeError


@dataclass(frozen=True)
class Bounded:
    whole: Annotated[int, Range(-3, 3)] = 0
    real: Annotated[float, Range(-0.5, 0.5)] = 0.0
    text: Annotated[str, Size(3)] = ""
    blob: Annotated[bytes, Size(3)] = b""
    items: Annotated[tuple[int, ...], Size(3)] = ()
    keys: Annotated[dict[str, int], Size(3)] = None  # type: ignore[assignment]
    word: Annotated[str, Pattern("a|ab")] = "a"


@pytest.mark.parametrize(
    ("field", "value", "fits"),
    [
        ("whole", -3, True),
        ("whole", 3, True),
        ("whole", -4, False),
        ("whole", 4, False),
        ("real", -0.5, True),
        ("real", 0.5, True),
        ("real", 0, True),
        ("real", -0.5000001, False),
        ("real", 1, False),
        ("text", "\U0001f600" * 3, True),
        ("text", "aaaa", False),
        ("blob", b"123", True),
        ("blob", b"1234", False),
        ("items", [1, 2, 3], True),
        ("items", [1, 2, 3, 4], False),
        ("keys", {"a": 1, "b": 2, "c": 3}, True),
        ("keys", {"a": 1, "b": 2, "c": 3, "d": 4}, False),
        ("word", "a", True),
        ("word", "ab", True),  # an alternative that `match` would leave unfinished
        ("word", "abc", False),
        ("word", "ab\n", False),
        ("word", "", False),
    ],
)
def test_what_fits_is_read_and_what_does_not_is_named(field: str, value: Any, fits: bool) -> None:
    content = msgpack.packb({field: value})
    if fits:
        found = getattr(codec.unpack(Bounded, content), field)
        assert found == (tuple(value) if field == "items" else value)
    else:
        with pytest.raises(DecodeError) as caught:
            codec.unpack(Bounded, content)
        assert caught.value.data == {"field": f"Bounded.{field}"}


def test_bounds_may_be_part_of_a_key() -> None:
    """The codec remembers readers by annotation."""
    assert len({Range(0, 1), Range(0, 1), Size(1), Size(1), Pattern("a"), Pattern("a")}) == 3
