"""What the documents tell their readers to run: fenced blocks of a page in order, each with its stage direction.

A stage direction is a line in italics, by itself, directly before a block or (Ctrl-C) between two:

    *Leave this running:*                    the block's one command goes on while the page does
    *Ctrl-C there.*                          ends the newest command that was left running
    *Not run by the tests: REASON.*          the block is left out, and counted

`sh` blocks hold commands, `console` blocks `$ command` and what it prints, where `...` stands for what varies.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from pathlib import Path

#: Languages of blocks that are run, and of those that are only shown.
RUN = ("sh", "bash", "console", "python")
SHOWN = ("text", "toml", "mermaid", "json", "ini", "cpp", "sql", "diff", "yaml", "promql")

_FENCE = re.compile(r"^```(\S*)\s*$")
_DIRECTION = re.compile(r"^\*(Leave this running:|Ctrl-C there\.|Not run by the tests: .+)\*$")
_NOT_RUN = "Not run by the tests: "


class Part(enum.Enum):
    """What a block asks of whoever follows the page."""

    RUN = "run"
    BACKGROUND = "background"
    INTERRUPT = "interrupt"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Command:
    """One command line, and what the page shows of its output; None where it shows nothing."""

    text: str
    output: str | None = None


@dataclass(frozen=True)
class Step:
    """One block of a page, or Ctrl-C between two."""

    page: Path
    line: int
    part: Part
    language: str = ""
    commands: tuple[Command, ...] = ()
    reason: str = field(default="")


class PageError(ValueError):
    """A page cannot be read as commands."""


def steps(page: Path) -> list[Step]:
    """The blocks of a page that are to be run, or say why not; raises `PageError`."""
    found: list[Step] = []
    direction, fence = "", None
    body: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        opening = _FENCE.match(line)
        if fence is not None:
            if line.rstrip() != "```":
                body.append(line)
                continue
            language, begun = fence
            if language in RUN:
                found.append(_step(page, begun, language, body, direction))
            elif language not in SHOWN:
                raise PageError(f"{page}:{begun}: a block of {language or 'no language'}: neither run nor only shown")
            direction, fence, body = "", None, []
        elif opening:
            fence = (opening[1], number)
        elif match := _DIRECTION.match(line):
            direction = match[1]
            if direction.startswith("Ctrl-C"):
                found.append(Step(page, number, Part.INTERRUPT))
                direction = ""
        elif line.strip() and direction:
            raise PageError(f"{page}:{number}: *{direction}* stands before no block")
    if fence is not None:
        raise PageError(f"{page}:{fence[1]}: a block without end")
    return found


def _step(page: Path, line: int, language: str, body: list[str], direction: str) -> Step:
    if direction.startswith(_NOT_RUN):
        return Step(page, line, Part.NOT_RUN, language, (), direction.removeprefix(_NOT_RUN))
    part = Part.BACKGROUND if direction else Part.RUN
    commands = _dialogue(page, line, body) if language == "console" else (Command("\n".join(body)),)
    if part is Part.BACKGROUND and (len(commands) != 1 or commands[0].output is None):
        raise PageError(f"{page}:{line}: what is left running is one command, with what it prints when it is ready")
    return Step(page, line, part, language, commands)


def _dialogue(page: Path, line: int, body: list[str]) -> tuple[Command, ...]:
    """`$ command`, `> ` for what goes on on another line, and what is printed."""
    commands: list[Command] = []
    for text in body:
        if text.startswith("$ "):
            commands.append(Command(text[2:]))
        elif not commands:
            raise PageError(f"{page}:{line}: a console block begins with `$ `")
        elif text.startswith("> ") and commands[-1].output is None:
            commands[-1] = Command(f"{commands[-1].text}\n{text[2:]}")
        else:
            last = commands[-1]
            commands[-1] = Command(last.text, text if last.output is None else f"{last.output}\n{text}")
    return tuple(commands)


def pattern(output: str) -> re.Pattern[str]:
    """What a page shows, as what must come: spaces count once, `...` is anything in a line, alone any lines."""
    lines = []
    for line in output.strip().splitlines():
        if line.strip() == "...":
            lines.append(r"(?:.*\n)*?")
            continue
        words = [r".*?".join(map(re.escape, word.split("..."))) for word in line.split()]
        lines.append(r"[ \t]*" + r"[ \t]+".join(words) + r"[ \t]*\n")
    return re.compile("".join(lines))


def matches(output: str, came: str) -> bool:
    """Whether what came is what the page shows; lines that are blank count on neither side."""
    return pattern(_without_blank(output)).fullmatch(_without_blank(came) + "\n") is not None


def begins(output: str, came: str) -> bool:
    """Whether what came so far contains what the page shows."""
    return pattern(_without_blank(output)).search(_without_blank(came) + "\n") is not None


def _without_blank(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.strip())
