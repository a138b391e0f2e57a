"""Triton's classification extension: of each row the likeliest classes, as the texts `VALUE:NUMBER:NAME`.

Pure functions; `protocol` puts them where a caller asked for them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def likeliest(answer: NDArray[Any], count: int, names: Sequence[str]) -> list[list[str]]:
    """The `count` likeliest classes of each row of `answer` (n, ...), the likeliest first; all where there are fewer.

    Of equal values the lower number comes first. The name is left out where a class has none.
    """
    flat = answer.reshape(len(answer), -1)
    best = np.argsort(-flat, axis=1, kind="stable")[:, :count]
    return [
        [_text(value, number, names) for value, number in zip(values, numbers, strict=True)]
        for values, numbers in zip(np.take_along_axis(flat, best, 1).tolist(), best.tolist(), strict=True)
    ]


def _text(value: float, number: int, names: Sequence[str]) -> str:
    text = f"{value:f}:{number}"
    return f"{text}:{names[number]}" if number < len(names) else text


def as_bytes_tensor(texts: Iterable[str]) -> bytes:
    """A BYTES tensor's binary form: before each text its length, 4 bytes, little-endian."""
    encoded = [text.encode() for text in texts]
    return b"".join(part for text in encoded for part in (struct.pack("<I", len(text)), text))
