"""Tables of pages: a header for each column and each row, and cells of text, links, states, durations and progress.

Paging and sorting are the server's, so that a browser holds no more than it shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from nicegui.element import Element

from convoy_controller.dashboard.parts import Sign, date_text, iso

#: One thing in a cell, as the browser draws it; those below make them.
Part = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """Of a table; one that is not `always` shown is left out on a phone."""

    label: str
    always: bool = True


@dataclass(frozen=True)
class Row:
    """A row and the key by which it is known again; a cell is text or parts."""

    key: str | int
    cells: tuple[str | Sequence[Part], ...]


def words(text: str, label: str = "", block: bool = False) -> Part:
    """Text, on a line of its own if `block`; `label` stands before it in bold."""
    return {"text": text, "label": label, "block": block}


def link(text: str, href: str, block: bool = False) -> Part:
    """A link to a page of ours."""
    return {"text": text, "href": href, "block": block}


def board_link(board: str | None) -> list[Part]:
    """To the page of a board; nothing for none."""
    return [link(board, f"/boards/{quote(board, safe='')}")] if board else []


def deployment_link(deployment: str | None) -> list[Part]:
    """To the page of a deployment; nothing for none."""
    return [link(deployment, f"/deployments/{quote(deployment, safe='')}")] if deployment else []


def state(sign: Sign, word: str, block: bool = False) -> Part:
    """A state: glyph, colour and word."""
    return {"text": word, "glyph": sign.glyph, "tone": sign.tone, "block": block}


def ago(at: datetime | None) -> list[Part]:
    """How long ago that was, kept up by the browser; nothing for None."""
    return [] if at is None else [{"at": iso(at), "text": date_text(at)}]


def progress(done: int, most: int, told: str) -> Part:
    """A bar; `told` is its name, as what is how far."""
    return {"done": done, "most": most, "text": told}


class Table(Element, component="table.js"):
    """Has `caption` as its name; `empty` is said in its place while it has no row."""

    def __init__(self, columns: Sequence[Column], caption: str, empty: str = "") -> None:
        super().__init__()
        self.props["caption"] = caption
        self.props["columns"] = [{"label": each.label, "always": each.always} for each in columns]
        self.props["rows"] = ()
        self.props["empty"] = empty

    def show(self, rows: Iterable[Row]) -> None:
        """Show these rows; the browser changes only what differs."""
        # A tuple: lists and what is in them are watched by NiceGUI, at a price.
        shown = tuple(
            {"key": row.key, "cells": [[words(cell)] if isinstance(cell, str) else list(cell) for cell in row.cells]}
            for row in rows
        )
        if shown != self.props["rows"]:
            self.props["rows"] = shown
