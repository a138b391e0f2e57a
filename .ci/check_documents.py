"""What the documents say must be there: links, headings, files, make targets, `convoy` commands, modules.

`make check` runs it over every Markdown file; exit code 1 and one line a fault. It cannot tell whether a sentence is
true, only whether what it names exists.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Import packages whose dotted names are looked up.
PACKAGES = (
    "convoy_schema",
    "convoy_device",
    "convoy_controller",
    "convoy_bitstreams",
    "convoy_hls",
    "convoy_simulator",
    "convoy_models",
    "convoy",
)

#: Folders of what is built.
MADE = ("build", "dist")

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_MAKE = re.compile(r"(?:^|[\s&;])make ([a-z][a-z-]*)")
_CONVOY = re.compile(r"^(?:\$ )?(convoy(?:-device)?) ([a-z].*)")
_DOTTED = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:\.\w+)+")


def documents(root: Path) -> list[Path]:
    """Every Markdown file of the project, none of its environment's."""
    return [file for file in sorted(root.rglob("*.md")) if not any(part.startswith(".") for part in file.parts[1:])]


def faults(root: Path) -> Iterator[str]:
    """One line for each thing named in a document that does not exist."""
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for file in documents(root):
        text = file.read_text(encoding="utf-8")
        prose = _FENCE.sub("", text)
        commands = [line for block in _FENCE.findall(text) for line in block.splitlines()[1:-1]]
        spans = _CODE.findall(prose)
        found = [
            *broken_links(file, prose),
            *missing_targets(targets, [*commands, *spans]),
            *missing_commands([*commands, *spans]),
            *missing_files(root, spans),
            *missing_modules(spans),
        ]
        yield from (f"{file.relative_to(root)}: {fault}" for fault in found)


def links(text: str) -> list[str]:
    """Where a document links to within the project."""
    return [target for target in _LINK.findall(text) if "://" not in target and not target.startswith("mailto:")]


def broken_links(file: Path, prose: str) -> Iterator[str]:
    """Links to files and headings that are not there; other sites are not asked."""
    for target in links(prose):
        path, _, heading = target.partition("#")
        linked = (file.parent / path) if path else file
        if not linked.exists():
            yield f"link to {target}: there is no such file"
        elif heading and heading not in headings(linked):
            yield f"link to {target}: there is no such heading"


def headings(file: Path) -> set[str]:
    """The anchors of a Markdown file's headings."""
    found = re.findall(r"^#+ (.+)$", _FENCE.sub("", file.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in found}


def missing_targets(targets: set[str], code: list[str]) -> Iterator[str]:
    """`make X` where the Makefile has no X."""
    for line in code:
        yield from (f"`{line}`: the Makefile has no {name}" for name in _MAKE.findall(line) if name not in targets)


def missing_commands(code: list[str]) -> Iterator[str]:
    """`convoy X` where the command line has no X."""
    for line in code:
        if match := _CONVOY.match(line.strip()):
            unknown = unknown_command(match[1], match[2].split())
            if unknown:
                yield f"`{line}`: {match[1]} has no command {unknown!r}"


def unknown_command(program: str, words: list[str]) -> str | None:
    """The first word that ought to be a command of `program` and is none; None if all is well."""
    if program == "convoy":
        return _unknown_typer_command(words)
    source = importlib.import_module("convoy_device.cli").__file__
    return None if source and f'"{words[0]}"' in Path(source).read_text(encoding="utf-8") else words[0]


def _unknown_typer_command(words: list[str]) -> str | None:
    from typer.main import get_command

    command = get_command(importlib.import_module("convoy_controller.cli").app)
    for word in words:
        known = getattr(command, "commands", None)
        if known is None:
            return None
        if word not in known:
            return word
        command = known[word]
    return None


def missing_files(root: Path, spans: list[str]) -> Iterator[str]:
    """Paths below a directory of the project that do not exist; patterns and absolute ones are left alone."""
    for span in spans:
        first, slash, _ = span.partition("/")
        if not (slash and first) or first in MADE or not (root / first).is_dir() or re.search(r"[*{}<> ]", span):
            continue
        if not (root / span).exists() and not is_topic(span):
            yield f"`{span}`: there is no such file"


def is_topic(text: str) -> bool:
    """Whether it is a topic of the contract, which looks like a path."""
    from convoy_schema.errors import TopicError
    from convoy_schema.topics import Topics

    topics = Topics("site")
    try:
        topics.parse(topics.prefix + text)
    except TopicError:
        return False
    return True


def missing_modules(spans: list[str]) -> Iterator[str]:
    """Dotted names below our packages that cannot be imported or looked up."""
    for span in spans:
        if (match := _DOTTED.match(span)) and not resolves(match[0]):
            yield f"`{match[0]}`: there is no such module or name"


def resolves(dotted: str) -> bool:
    """Whether a dotted name is a module, or a name inside one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            if not hasattr(found, name) and name not in getattr(found, "__annotations__", {}):
                return False
            found = getattr(found, name, None)
        return True
    return False


def main() -> int:
    """Print every fault of the project's documents."""
    found = list(faults(ROOT))
    for fault in found:
        print(fault, file=sys.stderr)
    if not found:
        print(f"Documents: {len(documents(ROOT))} files name only what exists.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
