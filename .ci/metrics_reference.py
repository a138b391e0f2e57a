"""The made parts of docs/metrics.md: `python .ci/metrics_reference.py` writes them, `--check` compares.

Between two marks of the document stands what the code says: every metric, and every alert. `make check` compares.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from convoy_controller.metrics.alerts import alerts, recorded
from convoy_controller.metrics.families import BOTH, CONTROLLER, FAMILIES, GATEWAY, Family

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"
_HEADINGS = {
    CONTROLLER: "### On the controller",
    GATEWAY: "### On each gateway",
    BOTH: "### On either, about itself",
}
_PLACEHOLDER = re.compile(r"\{\{\s*(.*?)\s*\}\}")
_VALUES = {"$value": "VALUE"}


def metrics_part() -> str:
    """A table for each exporter."""
    parts = []
    for by, heading in _HEADINGS.items():
        rows = "\n".join(_row(family) for family in FAMILIES if family.by == by)
        parts.append(f"{heading}\n\n| metric | type | labels | what |\n|---|---|---|---|\n{rows}\n")
    return "\n".join(parts)


def alerts_part() -> str:
    """A heading for each alert: what its runbook link leads to."""
    parts = ["| series recorded | from |\n|---|---|"]
    parts[0] += "".join(f"\n| `{name}` | `{' '.join(expr.split())}` |" for name, expr in recorded().items()) + "\n"
    for alert in alerts():
        when = f"for {alert.wait}" if alert.wait else "at once"
        parts.append(
            f"### {alert.name}\n\n**{_plain(alert.summary)}** {_plain(alert.description)}\n\n"
            f"Severity {alert.severity}, {when}. What to do: {_plain(alert.action)}\n\n"
            f"```text\n{alert.expr}\n```\n"
        )
    return "\n".join(parts)


PARTS: dict[str, Callable[[], str]] = {"metrics": metrics_part, "alerts": alerts_part}


def text(found: str) -> str:
    """The document with its made parts as the code says."""
    for name, part in PARTS.items():
        begin, end = f"<!-- made: {name} -->\n", f"<!-- end: {name} -->\n"
        if begin not in found or end not in found:
            sys.exit(f"Metrics: {DOCUMENT.name} lacks the marks of {name!r}")
        head, _, rest = found.partition(begin)
        found = f"{head}{begin}\n{part()}\n{end}{rest.partition(end)[2]}"
    return found


def _row(family: Family) -> str:
    return f"| `{family.name}` | {family.kind.value} | {', '.join(family.labels)} | {family.help} |"


def _plain(sentence: str) -> str:
    """With words in place of what Prometheus fills in."""

    def word(match: re.Match[str]) -> str:
        first = match[1].split("|")[0].strip()
        return _VALUES.get(first, first.removeprefix("$labels.").upper())

    return _PLACEHOLDER.sub(word, sentence)


def main() -> None:
    """Write the document, or with --check say whether it is up to date."""
    found = DOCUMENT.read_text(encoding="utf-8")
    wanted = text(found)
    if "--check" not in sys.argv:
        DOCUMENT.write_text(wanted, encoding="utf-8")
    elif found != wanted:
        sys.exit(f"Metrics: {DOCUMENT.name} is not what the code says: make reference")
    print(f"Metrics: {len(FAMILIES)} metrics and {len(alerts())} alerts, as the code says.")


if __name__ == "__main__":
    main()
