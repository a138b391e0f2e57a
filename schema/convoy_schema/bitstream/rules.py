"""The checker's rules as data: what an image may consist of, read from TOML; rules.toml is what ships.

Another file of the same form fits a newer Vivado. Read once; nothing here looks at an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from convoy_schema.bitstream.packets import Command, Register
from convoy_schema.errors import BitstreamError, TomlError, shown
from convoy_schema.toml import parse_toml

#: Steps of a sequence that are no commands: reset masks, and frames of any number of bursts.
MASK, FRAMES = "mask", "frames"
#: Commands that may stand anywhere, and so in no sequence.
ANYWHERE = frozenset({Command.NULL, Command.WCFG, Command.RCRC, Command.DESYNC})
_KEYS = {
    *("registers", "commands", "control", "cleared", "sequences"),
    *("passes", "least_burst", "parked", "whole", "values"),
}


@dataclass(frozen=True)
class Rules:
    """What one sort of image may consist of. `control` are (register, mask, value), `values` those of other registers.

    `cleared` are bits of CTL0 that must be clear in the end if they were set.
    `sequences` are orders of commands, `MASK` and `FRAMES`. Each frame is written `passes` times, in bursts of at least
    `least_burst` frames; `whole`: every frame of the region must be. `parked` are addresses that no data follows.
    """

    registers: frozenset[int]
    commands: frozenset[int]
    control: frozenset[tuple[int, int, int]]
    cleared: int
    sequences: tuple[tuple[str, ...], ...]
    passes: int
    least_burst: int
    parked: frozenset[int]
    whole: bool
    values: Mapping[int, frozenset[int]]


@dataclass(frozen=True)
class RuleBook:
    """Rules for partial and for full images."""

    partial: Rules
    full: Rules


@lru_cache(maxsize=1)
def shipped() -> RuleBook:
    """The rules that come with Convoy."""
    return parse_rules((resources.files(__package__) / "rules.toml").read_text(encoding="utf-8"))


def parse_rules(text: str) -> RuleBook:
    """Rules in TOML `text`; raises `BitstreamError` that names the key, what it must be and what came."""
    try:
        body = parse_toml(text)
    except TomlError as error:
        raise BitstreamError(f"rules must be TOML: the text {error}") from error
    _refuse_unknown(body, {"partial", "full"}, "")
    return RuleBook(*(_rules(_take(body, name, dict, name), name) for name in ("partial", "full")))


def _rules(table: Mapping[str, Any], name: str) -> Rules:
    _refuse_unknown(table, _KEYS, f"{name}.")
    return Rules(
        registers=frozenset(_registers(table, "registers", name)),
        commands=frozenset(_command(text, f"{name}.commands") for text in _texts(table, "commands", name)),
        control=frozenset(_control(item, name) for item in _take(table, "control", list, name)),
        cleared=_words([_take(table, "cleared", int, name)], f"{name}.cleared")[0],
        sequences=tuple(_sequence(item, name) for item in _take(table, "sequences", list, name)),
        passes=_count(table, "passes", name),
        least_burst=_count(table, "least_burst", name),
        parked=frozenset(_words(_take(table, "parked", list, name), f"{name}.parked")),
        whole=_take(table, "whole", bool, name),
        values=_values(table.get("values", {}), name),
    )


def _registers(table: Mapping[str, Any], key: str, name: str) -> list[Register]:
    return [_register(text, f"{name}.{key}") for text in _texts(table, key, name)]


def _control(item: Any, name: str) -> tuple[int, int, int]:
    where = f"{name}.control"
    if not isinstance(item, dict) or set(item) != {"register", "mask", "value"}:
        raise BitstreamError(f"rules: each of {where} must have register, mask and value, {shown(item)} came")
    mask, value = _words([item["mask"], item["value"]], where)
    return _register(item["register"], where), mask, value


def _sequence(item: Any, name: str) -> tuple[str, ...]:
    where = f"{name}.sequences"
    if not isinstance(item, list) or not item:
        raise BitstreamError(f"rules: each of {where} must be a list of steps, {shown(item)} came")
    for step in item:
        if step not in (MASK, FRAMES) and _command(step, where) in ANYWHERE:
            raise BitstreamError(f"rules: {step} of {where} may stand anywhere: leave it out")
    return tuple(item)


def _values(table: Any, name: str) -> dict[int, frozenset[int]]:
    where = f"{name}.values"
    if not isinstance(table, dict) or not all(isinstance(words, list) for words in table.values()):
        raise BitstreamError(f"rules: {where} must be lists of words by register, {shown(table)} came")
    return {_register(key, where): frozenset(_words(words, where)) for key, words in table.items()}


def _register(text: Any, where: str) -> Register:
    if not isinstance(text, str) or text not in Register.__members__:
        known = ", ".join(Register.__members__)
        raise BitstreamError(f"rules: {shown(text)} of {where} is none of the registers {known}")
    return Register[text]


def _command(text: Any, where: str) -> Command:
    if not isinstance(text, str) or text not in Command.__members__:
        known = ", ".join(Command.__members__)
        raise BitstreamError(f"rules: {shown(text)} of {where} is none of the commands {known}")
    return Command[text]


def _words(items: list[Any], where: str) -> list[int]:
    for item in items:
        if type(item) is not int or not 0 <= item < 1 << 32:
            raise BitstreamError(f"rules: {where} must hold words of 32 bits, {shown(item)} came")
    return items


def _texts(table: Mapping[str, Any], key: str, name: str) -> list[Any]:
    found: list[Any] = _take(table, key, list, name)
    return found


def _count(table: Mapping[str, Any], key: str, name: str) -> int:
    value: int = _take(table, key, int, name)
    if not 1 <= value <= 16:
        raise BitstreamError(f"rules: {name}.{key} must be 1 to 16, {value} came")
    return value


def _take(table: Mapping[str, Any], key: str, kind: type, name: str) -> Any:
    value = table.get(key)
    if type(value) is not kind:
        raise BitstreamError(f"rules: {name}.{key} must be of type {kind.__name__}, {shown(value)} came")
    return value


def _refuse_unknown(table: Mapping[str, Any], known: set[str], prefix: str) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        raise BitstreamError(f"rules: unknown key {prefix}{shown(unknown[0])}; known are {', '.join(sorted(known))}")
