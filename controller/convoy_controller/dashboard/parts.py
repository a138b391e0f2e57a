"""What pages are put together from, beside NiceGUI's own elements: text with a meaning, states, tables, and dates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from convoy_controller.database.records import Severity


def text(tag: str, words: str = "") -> TextElement:
    """An HTML element of that tag with text, which `set_text` changes."""
    return TextElement(tag=tag, text=words)


def date_text(at: datetime | None) -> str:
    """A date for people, in UTC as everywhere else in Convoy."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


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


@dataclass(frozen=True)
class Column:
    """Of a table. `cell` is a Vue template over `props.row`; unset: the row's text of that name.

    A column that is not `always` shown is left out on a phone.
    """

    name: str
    label: str
    cell: str = ""
    always: bool = True


class Table(ui.table):
    """Quasar's table: header cells with a scope, the first cell of a row its header, no control that has no name.

    Paging and sorting are the server's, so that a browser holds no more than it shows. `empty` is said in its place
    while it has no row.
    """

    def __init__(self, columns: Sequence[Column], key: str, caption: str, empty: str) -> None:
        described = [{"name": each.name, "label": each.label, "field": each.name, "align": "left"} for each in columns]
        super().__init__(rows=[], columns=described, row_key=key)
        self.props("flat dense wrap-cells hide-bottom").classes("convoy-table")
        self.props["aria-label"], self.props["role"] = caption, "region"
        self._empty = ui.label(empty).classes("convoy-quiet")
        heads = "".join(
            _cell("th", 'scope="col"', each, f"{{{{ props.cols[{i}].label }}}}") for i, each in enumerate(columns)
        )
        cells = "".join(
            _cell("td" if number else "th", "" if number else 'scope="row"', each, each.cell or _TEXT % each.name)
            for number, each in enumerate(columns)
        )
        self.add_slot("header", f"<tr>{heads}</tr>")
        self.add_slot("body", f'<tr :class="props.row.tone">{cells}</tr>')

    def show(self, rows: list[dict[str, Any]]) -> None:
        """Show these rows; the browser changes only what differs."""
        self.rows = rows
        self.set_visibility(bool(rows))
        self._empty.set_visibility(not rows)


_TEXT = "{{ props.row.%s }}"
#: A template for a cell that leads to the page of a board, or of a deployment.
BOARD_LINK = '<a v-if="props.row.board" :href="\'/boards/\' + props.row.board">{{ props.row.board }}</a>'
DEPLOYMENT_LINK = (
    '<a v-if="props.row.deployment" :href="\'/deployments/\' + props.row.deployment">{{ props.row.deployment }}</a>'
)
#: A template for a state: `glyph`, `tone` and `state` of the row.
STATE = (
    '<span class="convoy-sign" :class="props.row.tone"><span aria-hidden="true">{{ props.row.glyph }}</span> '
    "{{ props.row.state }}</span>"
)


def _cell(tag: str, attributes: str, column: Column, content: str) -> str:
    hidden = "" if column.always else ' class="convoy-wide"'
    return f"<{tag} {attributes}{hidden}>{content}</{tag}>"
