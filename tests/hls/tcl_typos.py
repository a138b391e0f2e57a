"""Every token of a Tcl script that a typo could be in, and typos of one letter."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: What the bar counts: names that belong to the tool.
NAMES = ("command", "option", "property", "pin")


@dataclass(frozen=True)
class Token:
    """A word of a script: `what` is one of `NAMES`, or `variable` or `word`."""

    file: str
    position: int
    line: int
    text: str
    what: str


def tokens(script: Path) -> Iterator[Token]:
    """The words of a script, without its comments and without what it says to people."""
    position = 0
    before = ""
    for number, line in enumerate(script.read_text(encoding="utf-8").splitlines(keepends=True), start=1):
        if not line.lstrip().startswith("#"):
            for match in _WORD.finditer(line):
                what = _what(line, match, is_continued=before.rstrip().endswith("\\"))
                if what:
                    yield Token(script.name, position + match.start(), number, match[0], what)
        before = line
        position += len(line)


def _what(line: str, match: re.Match[str], *, is_continued: bool) -> str:
    head, tail = line[: match.start()], line[match.end() :]
    if head.count('"') % 2:
        return ""
    if re.search(r"\$\{?$", head):
        return "variable"
    if re.search(r"(^|[\s\[{])-$", head):
        return "option"
    if head.endswith("/") or re.match(r"/[A-Za-z_${]", tail):
        return "pin"
    if re.search(r"(CONFIG|BITSTREAM|GENERAL|HD)\.$", head) or re.fullmatch(r"[A-Z][A-Z0-9_]{2,}", match[0]):
        return "property"
    if re.search(r"[\[{;]\s*$", head) or (not head.strip() and not is_continued):
        return "command"
    return "word"


def misspelt(word: str, chance: random.Random) -> str:
    """The word with one letter exchanged, left out, doubled, or in the other case, or with two neighbours swapped."""
    while True:
        place = chance.randrange(len(word))
        letter = word[place]
        other = chance.choice("abcdefghijklmnopqrstuvwxyz")
        changed = chance.choice(
            [
                word[:place] + other + word[place + 1 :],
                word[:place] + word[place + 1 :],
                word[:place] + letter + word[place:],
                word[:place] + letter.swapcase() + word[place + 1 :],
                word[:place] + word[place + 1 : place + 2] + letter + word[place + 2 :],
            ]
        )
        if changed not in ("", word):
            return changed
