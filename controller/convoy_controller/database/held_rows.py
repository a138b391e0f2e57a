"""Rows that one transaction asks for again and again: a session holds its rows weakly, and would read them anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from sqlalchemy.orm import Session

R = TypeVar("R")


def held(db: Session, kind: type[R], key: object, new: Callable[[], R]) -> R:
    """The row of that key, made by `new` where there is none, until the transaction ends."""
    rows = _rows(db, kind)
    row = rows.get(key) or db.get(kind, key)
    if row is None:
        row = new()
        db.add(row)
        db.flush()
    rows[key] = row
    return row


def let_go(db: Session, kind: type[R], key: object) -> R | None:
    """Forget a row that is about to be deleted; the row, if it was held."""
    return _rows(db, kind).pop(key, None)


def _rows(db: Session, kind: type[R]) -> dict[object, R]:
    return cast("dict[object, R]", db.info.setdefault(kind, {}))
