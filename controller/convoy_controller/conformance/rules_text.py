"""The rules as the table that docs/contract.md has of them; a test holds the two equal."""

from __future__ import annotations

from collections.abc import Sequence

from convoy_controller.conformance.rules import Means, Rule


def table(rules: Sequence[Rule]) -> str:
    """A Markdown table of them."""
    lines = ["| rule | | why | tried |", "|---|---|---|---|"]
    for rule in rules:
        how = "always" if rule.means is Means.NOTHING else f"with `--{rule.means.value}`"
        lines.append(f"| {rule.number} | {rule.sentence} | {rule.reason} | {how} |")
    return "\n".join(lines)
