"""TOML within bounds: what every reader of a file that people write begins with.

Python's reader takes time that grows with the square of a key's parts, memory likewise, and raises whatever its helpers
raise. Here a text is short, flat, and either a table or a `TomlError`. What the keys mean is the caller's to know.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from convoy_schema.errors import TomlError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: Characters of a text, parts of a dotted key, and tables or arrays inside one another, at most.
MAX_TEXT, MAX_PARTS, MAX_DEPTH = 1024 * 1024, 32, 32

# Comments and long strings, in which no key is; then what a key's part can be. What is not closed reaches to the end,
# so that no text makes the search begin anew at each of its characters.
_TOKEN = re.compile(
    r"""\#[^\n]*
    | \"{3} (?:[^"\\] | \\.? | "(?!""))* (?:"{3,5} | \Z)
    | '{3} (?:[^'] | '(?!''))* (?:'{3,5} | \Z)
    | (?P<part> "(?:[^"\\\n] | \\[^\n]?)*"? | '[^'\n]*'? | [\w-]+ )
    | [ \t]+""",
    re.DOTALL | re.VERBOSE,
)


def parse_toml(text: str) -> dict[str, Any]:
    """The table in `text`; raises `TomlError` for what is no TOML, too long, or nested too deep."""
    if len(text) > MAX_TEXT:
        raise TomlError(f"has {len(text)} characters, at most {MAX_TEXT} are read", size=len(text))
    if _has_long_key(text):
        raise TomlError(f"a key may have {MAX_PARTS} parts, one has more")
    try:
        table = tomllib.loads(text)
    except RecursionError as error:
        raise TomlError(f"tables and arrays may be nested {MAX_DEPTH} deep, here are more") from error
    except ValueError as error:  # TOMLDecodeError, and bare ones for what Python makes no number or date of
        raise TomlError(f"is not TOML: {str(error)[:200]}") from error
    _check_values(table)
    return table


def _has_long_key(text: str) -> bool:
    if text.count(".") < MAX_PARTS:
        return False
    return ".k" * MAX_PARTS in _TOKEN.sub(lambda token: "k" if token["part"] else "", text)


def _check_values(table: dict[str, Any]) -> None:
    level: list[Any] = [table]
    for _ in range(MAX_DEPTH):
        inside = [value for holder in level for value in (holder.values() if isinstance(holder, dict) else holder)]
        # Hexadecimal ones have no end in Python, which then refuses to print them.
        if any(type(value) is int and value.bit_length() > 64 for value in inside):
            raise TomlError("whole numbers have at most 64 bits, here is a longer one")
        level = [value for value in inside if isinstance(value, (dict, list))]
        if not level:
            return
    raise TomlError(f"tables and arrays may be nested {MAX_DEPTH} deep, here are more")
