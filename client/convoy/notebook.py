"""How results, models and gateways look in a notebook: small tables of HTML. Whatever came from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convoy.results import GatewayStatus

#: Characters of one cell.
MAX_CELL = 300


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], more: str = "") -> str:
    """A table of text; `more` is a line below it."""
    head = "".join(f"<th>{_cell(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(text)}</td>' for text in row)}</tr>" for row in rows)
    below = f"<div>{_cell(more)}</div>" if more else ""
    thead = f"<thead><tr>{head}</tr></thead>" if heads else ""
    return f"<div><b>{_cell(caption)}</b><table>{thead}<tbody>{body}</tbody></table>{below}</div>"


def gateways_table(kind: str, statuses: Sequence[GatewayStatus]) -> str:
    """The gateways of a client, and which are ready."""
    words = {True: "ready", False: "not ready", None: "not asked"}
    rows = [(status.url, words[status.is_ready], status.reason) for status in statuses]
    return table(f"convoy {kind}", ("gateway", "state", "reason"), rows)


def bar(share: float) -> str:
    """A probability as text: ten steps, and the number."""
    filled = round(10 * min(1.0, max(0.0, share)))
    return "█" * filled + "░" * (10 - filled) + f" {share:.1%}"


def _cell(text: str) -> str:
    return escape(text if len(text) <= MAX_CELL else text[:MAX_CELL] + "…")
