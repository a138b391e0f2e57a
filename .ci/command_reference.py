"""docs/cli.md, made from the command line itself: `python .ci/command_reference.py` writes it, `--check` compares.

What a command says of itself is its help; here it is only set out. `make check` runs the comparison.
"""

from __future__ import annotations

import enum
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from convoy_controller.cli import FLEET, HERE, app
from convoy_controller.cli.exit_codes import MEANINGS
from convoy_controller.cli.options import PANEL as WHERE
from typer.main import get_command

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "cli.md"

HEAD = """\
# The command line

`convoy` does everything that the [REST API](api.md) does, and runs the parts of a fleet. This page is made from its
own help (`make reference`), which `convoy COMMAND --help`, or `-h`, shows as well.

## Which fleet

Commands about a fleet speak to its API: at a URL, or in their own process over the database of a home on this
machine. They say the same in either case, and take the same options. Flags come before the environment, the
environment before the profile in use, and that before `~/.local/share/convoy`:

| where | flag | environment |
|---|---|---|
| an API elsewhere | `--api URL` | `CONVOY_API` |
| a home, or a database | `--home FOLDER`, `--database URL` | `CONVOY_HOME`, `CONVOY_DATABASE` |
| a profile | `--profile NAME` | `CONVOY_PROFILE` |

Two kinds of flags together are an error; of two variables the upper line's counts. A token comes from `CONVOY_TOKEN`,
else from the profile, and a profile's token goes to that profile's address only.

```sh
convoy token create lab --home ~/bench | head -n 1 > token.txt       # or from whoever runs the lab's fleet
convoy profile add lab --api https://lab.example:8081 --token-file token.txt
convoy profile add bench --home ~/bench
convoy profile use bench
convoy boards                      # of bench; with --profile lab, of lab
convoy profile list
```

Profiles are in `~/.config/convoy/config.toml` (or where `XDG_CONFIG_HOME` or `CONVOY_CONFIG` say), which is for its
owner alone (mode 0600); one that holds tokens and may be read by others is refused, and no command prints a token
that it holds.

Commands about this machine (the second part below) take no URL; of a profile they take its home.

## Exit codes

| code | meaning |
|---|---|
"""

ENVIRONMENT = """\

An error is one sentence on stderr, with its code in brackets; nothing ends in a traceback. Commands that answer 1 for
a state (`--wait` that was too short) print it all the same.

## Output

`--json` prints JSON on stdout and nothing else there; each command's help names the keys, which are only ever added
to. Without it, tables are for people: colours and moving displays appear on a terminal only, never with `NO_COLOR`
set, and a pipe gets whole lines. Progress of long work goes to stderr.

`convoy --install-completion` teaches the shell the commands, and the names of boards, deployments, models and
profiles.

| variable | what |
|---|---|
"""

#: Words for types, by a part of their names.
_KINDS = {"int": "N", "float": "N", "path": "PATH"}
#: Variables that no option names.
VARIABLES = {
    "CONVOY_API": "as `--api`",
    "CONVOY_CONFIG": "the file of profiles",
    "CONVOY_DATABASE": "as `--database`",
    "CONVOY_HOME": "as `--home`",
    "CONVOY_PROFILE": "as `--profile`",
    "CONVOY_TOKEN": "the token that is sent to an API",
    "COLUMNS": "width of tables where there is no terminal",
    "NO_COLOR": "no colours",
}


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with its path, in the order of the alphabet."""
    known = getattr(command, "commands", None)
    if known is None:
        yield path, command
        return
    for name, below in sorted(known.items()):
        yield from commands(below, (*path, name))


def document() -> str:
    """The whole page."""
    top: Any = get_command(app)
    found = list(commands(top))
    text = HEAD + "".join(f"| {code.value} | {meaning} |\n" for code, meaning in MEANINGS.items()) + ENVIRONMENT
    text += "".join(f"| `{name}` | {what} |\n" for name, what in sorted((VARIABLES | _variables(found)).items()))
    for panel in (FLEET, HERE):
        own = [each for each in found if _panel(top, *each) == panel]
        text += f"\n## {panel}\n\n" + "".join(_section(path, command) for path, command in own).lstrip("\n")
    return text


def _panel(top: Any, path: tuple[str, ...], command: Any) -> str:
    """Under which heading: of a group about fleets some commands may be about this machine."""
    where = {each.opts[0] for each in command.params if getattr(each, "rich_help_panel", None) == WHERE}
    return HERE if where and "--api" not in where else str(top.commands[path[0]].rich_help_panel)


def _variables(found: list[tuple[tuple[str, ...], Any]]) -> dict[str, str]:
    """Those that options name."""
    named: dict[str, set[str]] = {}
    for _, command in found:
        for each in command.params:
            for variable in [each.envvar] if isinstance(each.envvar, str) else (each.envvar or []):
                named.setdefault(variable, set()).add(f"`{each.opts[0]}`")
    return {variable: f"as {', '.join(sorted(options))}" for variable, options in named.items()}


def _section(path: tuple[str, ...], command: Any) -> str:
    name = " ".join(("convoy", *path))
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and each.name != "help"]
    own = [each for each in options if getattr(each, "rich_help_panel", None) != WHERE]
    usage = " ".join([name, *(_argument(each) for each in arguments)])
    text = f"\n### {name}\n\n`{usage}`\n\n{_prose(command.help)}\n"
    rows = [(f"`{_argument(each)}`", each.help) for each in arguments]
    rows += [(_option(each), _explained(each)) for each in own]
    if rows:
        text += "\n| | |\n|---|---|\n" + "".join(f"| {left} | {_cell(right)} |\n" for left, right in rows)
    where = [f"`{each.opts[0]}`" for each in options if each not in own]
    if where:
        text += f"\nWhich fleet: {', '.join(where)}.\n"
    return text


def _prose(text: str | None) -> str:
    """A docstring's paragraphs, its lines joined."""
    paragraphs = re.split(r"\n\s*\n", (text or "").strip())
    return "\n\n".join(_wrapped(" ".join(paragraph.split())) for paragraph in paragraphs)


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, 124, break_long_words=False, break_on_hyphens=False))


def _argument(each: Any) -> str:
    name = each.metavar or each.name.upper()
    if name.startswith("["):
        name = name.replace("[", "", 1).replace("]", "", 1)
    many = "" if each.nargs == 1 or name.endswith("...") else "..."
    return f"{name}{many}" if each.required else f"[{name}{many}]"


def _option(each: Any) -> str:
    names = ", ".join(f"`{name}`" for name in sorted(each.opts, key=len, reverse=True))
    return names if getattr(each, "is_flag", False) else f"{names} {_cell(_kind(each))}"


def _kind(each: Any) -> str:
    """What is put behind an option, whatever version of Typer says it how."""
    if each.metavar:
        return str(each.metavar)
    described = getattr(each, "type_descriptor", None)
    kind = described.annotation if described is not None else each.type
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "|".join(str(member.value) for member in kind)
    if getattr(kind, "choices", None):
        return "|".join(str(getattr(choice, "value", choice)) for choice in kind.choices)
    name = str(getattr(kind, "name", "") or getattr(kind, "__name__", "")).lower()
    return next((word for part, word in _KINDS.items() if part in name), "TEXT")


def _explained(each: Any) -> str:
    """Its help, and what stands when it is not given."""
    text = " ".join((each.help or "").split())
    shown = getattr(each, "show_default", None)
    default = getattr(each.default, "value", each.default)
    if isinstance(shown, str):
        return f"{text} ({shown})"
    if default in (None, False, "", ()) or each.required or callable(default):
        return text
    return f"{text} ({default})"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


def main() -> int:
    """Write the page, or with `--check` say whether it is as it should be."""
    made = document()
    if sys.argv[1:] != ["--check"]:
        DOCUMENT.write_text(made, encoding="utf-8")
        return 0
    if DOCUMENT.exists() and DOCUMENT.read_text(encoding="utf-8") == made:
        print("Command reference: docs/cli.md is what the help says.")
        return 0
    print("docs/cli.md is not what the help says: run 'make reference'", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
