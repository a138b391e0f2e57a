"""How inputs are made from others: bytes changed blindly, trees (MessagePack, JSON, TOML) where they branch.

All chance comes from the `random.Random` that is handed in, so a seed gives the same inputs again.
"""

from __future__ import annotations

import copy
import json
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import msgpack

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: Makes another input of (chance, an input, another one to take pieces of).
Mutator = Callable[[random.Random, bytes, bytes], bytes]

_BYTES = (0x00, 0x01, 0x7F, 0x80, 0xC0, 0xFE, 0xFF)
_LENGTHS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
#: Values that readers of trees stumble over.
NASTY: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 255, 65536, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64 - 1),
    *(0.0, -0.0, 0.5, 1e-320, 1e308, float("inf"), float("-inf"), float("nan")),
    *("", "x", "-", "a" * 64, "a" * 1001, "\0", "\n", "\u00e9", "\U0001f600", "\uffff"),
    *("../../x", "0" * 64, "1" * 5000),
    *([], {}, [[]], [{}], {"": None}, [0] * 65, [[0, 0]] * 3, ["x", 1, None]),
)
_NASTY_BYTES = (b"", b"\0", b"\xff" * 64, b"x" * 70_000)
#: Places of a tree that are looked at, at most.
_MOST_PLACES = 2000


# Bytes ---------------------------------------------------------------------------------------------------------------


def mutate_bytes(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """One to a few blind changes."""
    content = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        chance.choice(_CHANGES)(chance, content, other)
    return bytes(content)


def _place(chance: random.Random, content: bytearray) -> int:
    # Headers are at the front, and that is where most goes wrong.
    return chance.randrange(min(len(content), chance.choice((16, 256, len(content)))) + 1) if content else 0


def _flip(chance: random.Random, content: bytearray, other: bytes) -> None:
    if content:
        content[_place(chance, content) % len(content)] ^= 1 << chance.randrange(8)


def _set(chance: random.Random, content: bytearray, other: bytes) -> None:
    if content:
        content[_place(chance, content) % len(content)] = chance.choice((*_BYTES, chance.randrange(256)))


def _insert(chance: random.Random, content: bytearray, other: bytes) -> None:
    at = _place(chance, content)
    content[at:at] = chance.randbytes(chance.choice((1, 1, 2, 4, 16)))


def _repeat(chance: random.Random, content: bytearray, other: bytes) -> None:
    at = _place(chance, content)
    piece = content[at : at + chance.choice((1, 4, 32))]
    content[at:at] = piece * chance.choice((1, 2, 50, 600))


def _erase(chance: random.Random, content: bytearray, other: bytes) -> None:
    at = _place(chance, content)
    del content[at : at + chance.choice((1, 2, 4, 30, 300))]


def _cut(chance: random.Random, content: bytearray, other: bytes) -> None:
    del content[_place(chance, content) :]


def _length(chance: random.Random, content: bytearray, other: bytes) -> None:
    size = chance.choice((1, 2, 4))
    at = _place(chance, content)
    value = chance.choice(_LENGTHS) & ((1 << 8 * size) - 1)
    content[at : at + size] = value.to_bytes(size, chance.choice(("big", "little")))


def _splice(chance: random.Random, content: bytearray, other: bytes) -> None:
    at, start = _place(chance, content), chance.randrange(len(other) + 1)
    piece = other[start : start + chance.choice((4, 30, 300, len(other)))]
    content[at : at + chance.choice((0, len(piece)))] = piece


_CHANGES = (_flip, _set, _insert, _repeat, _erase, _cut, _length, _splice)


def with_tokens(*tokens: bytes) -> Mutator:
    """Blind changes, and now and then one of `tokens` put in."""

    def mutate(chance: random.Random, data: bytes, other: bytes) -> bytes:
        if chance.random() < 0.5:
            return mutate_bytes(chance, data, other)
        at = chance.randrange(len(data) + 1)
        end = at + chance.choice((0, 0, 1, 4, 12))
        return data[:at] + chance.choice(tokens) * chance.choice((1, 1, 1, 2, 40, 900)) + data[end:]

    return mutate


# Trees ---------------------------------------------------------------------------------------------------------------


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """(holder, key or index) of everything inside `tree`."""
    pending = [tree]
    while pending:
        holder = pending.pop()
        items = list(holder.items()) if isinstance(holder, dict) else list(enumerate(holder))
        for key, value in items:
            yield holder, key
            if isinstance(value, (dict, list)):
                pending.append(value)


def change_tree(chance: random.Random, tree: Any, nasty: tuple[Any, ...] = NASTY) -> Any:
    """`tree` (dicts, lists, scalars; may be changed) with one to a few places changed."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        if not isinstance(tree, (dict, list)):
            return copy.deepcopy(chance.choice(nasty))
        places = [place for place, _ in zip(_places(tree), range(_MOST_PLACES), strict=False)]
        if not places:
            return copy.deepcopy(chance.choice(nasty))
        _change(chance, *chance.choice(places), nasty)
    return tree


def _change(chance: random.Random, holder: Any, key: Any, nasty: tuple[Any, ...]) -> None:
    value, what = holder[key], chance.randrange(8)
    if what == 0:
        del holder[key]
    elif what == 1 and isinstance(holder, list):
        holder[key:key] = [value] * chance.choice((1, 2, 70, 300))
    elif what == 1:
        holder[chance.choice(("", "x", "name", "v", str(key) + "_"))] = value
    elif what == 2:
        holder[key] = [value]
    elif what == 3 and type(value) in (int, float):
        holder[key] = value + chance.choice((-1, 1, 2**31, 2**62))
    elif what == 4 and isinstance(value, (str, bytes)):
        at = chance.randrange(len(value) + 1)
        piece: Any = chance.choice(("\0", "/", "é", "a" * 70)) if isinstance(value, str) else chance.randbytes(3)
        holder[key] = value[:at] + piece + value[at + chance.choice((0, 1)) :]
    else:
        holder[key] = copy.deepcopy(chance.choice(nasty))


def mutate_msgpack(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """A tree of MessagePack changed where it branches; bytes where it is none, and now and then."""
    if chance.random() < 0.7:
        try:
            tree = msgpack.unpackb(data, strict_map_key=False)
            return bytes(msgpack.packb(change_tree(chance, tree, (*NASTY, *_NASTY_BYTES))))
        except Exception:  # what it was, or has become, is no tree
            pass
    return mutate_bytes(chance, data, other)


def mutate_json(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """As `mutate_msgpack`, of JSON."""
    if chance.random() < 0.7:
        try:
            return json.dumps(change_tree(chance, json.loads(data))).encode()
        except (ValueError, RecursionError):
            pass
    return _json_tokens(chance, data, other)


_json_tokens = with_tokens(
    *(b"[", b"{", b'"', b"[[", b'{"a":', b"NaN", b"-Infinity", b"9", b"1e", b"\\ud800", b"null,", b"]")
)


def mutate_toml(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """As `mutate_msgpack`, of TOML."""
    # A bomb would go off in here.
    if chance.random() < 0.7 and len(data) < 20_000 and data.count(b".") < 500:
        try:
            tree = tomllib.loads(data.decode())
            return written_toml(change_tree(chance, tree, _TOML_NASTY)).encode()
        except (ValueError, RecursionError):
            pass
    return _toml_tokens(chance, data, other)


_TOML_NASTY = tuple(value for value in NASTY if value not in (None, [[]], ["x", 1, None], {"": None}))
_toml_tokens = with_tokens(
    *(b"[", b"[[", b"{", b"{a=", b"=", b"a.", b'"', b"'''", b'"""', b"\n", b"9", b"0x", b"nan", b"inf", b"-", b"]"),
    *(b"2000-01-01", b"07:32:00", b"1979-05-27T07:32:00Z", b"\xff", b"\\u0000", b"#"),
)


def written_toml(tree: Any) -> str:
    """TOML of a dict: every value on its key's line."""
    if not isinstance(tree, dict):
        return f"value = {_toml(tree)}\n"
    return "".join(f"{json.dumps(key, ensure_ascii=False)} = {_toml(value)}\n" for key, value in tree.items())


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        items = (f"{json.dumps(key, ensure_ascii=False)} = {_toml(item)}" for key, item in value.items())
        return "{" + ", ".join(items) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return str(value).lower() if isinstance(value, (bool, float)) else str(value)
