"""What pages are put together from, beside NiceGUI's own elements: text with a meaning, states, buttons, and dates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from convoy_controller.database.records import Severity
from convoy_controller.database.views import Condition


def text(tag: str, words: str = "") -> TextElement:
    """An HTML element of that tag with text, which `set_text` changes."""
    return TextElement(tag=tag, text=words)


def button(name: str, pressed: Callable[..., Any]) -> ui.button:
    """A button in the page's own colours, whose contrast is known."""
    return ui.button(name, on_click=pressed, color=None).props("outline no-caps").classes("convoy-button")


def date_text(at: datetime | None) -> str:
    """A date for people, in UTC as everywhere else in Convoy."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def duration_text(length: timedelta) -> str:
    """A length of time in its largest unit that fits."""
    seconds = max(0, int(length.total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def bytes_text(count: int) -> str:
    """Bytes for people: 123 B, 12.3 kB, 4.0 MB."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def iso(at: datetime | None) -> str:
    """A date for `<convoy-ago>`."""
    return "" if at is None else at.isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Sign:
    """How a state is told: a glyph and a colour (a class of the style sheet) beside its word, never alone."""

    glyph: str
    tone: str


SEVERITIES = {
    Severity.INFO: Sign("·", "quiet"),
    Severity.WARNING: Sign("▲", "warning"),
    Severity.ERROR: Sign("■", "bad"),
}
_CONDITIONS = {
    Condition.READY: Sign("●", "good"),
    Condition.UNASSIGNED: Sign("○", "quiet"),
    Condition.PREPARING: Sign("◔", "busy"),
    Condition.DRAINED: Sign("◌", "quiet"),
    Condition.RESTARTING: Sign("↻", "busy"),
    Condition.NEVER_SEEN: Sign("✕", "bad"),
    Condition.OFFLINE: Sign("✕", "bad"),
    Condition.FAILED: Sign("■", "bad"),
    Condition.PRESENCE_UNKNOWN: Sign("?", "warning"),
}


def condition_sign(condition: Condition) -> Sign:
    """How the condition of a board is told."""
    return _CONDITIONS.get(condition, Sign("▲", "warning"))
