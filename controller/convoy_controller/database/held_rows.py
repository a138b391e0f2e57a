"""Rows that one transaction asks for again and again: a session holds its rows weakly, and would read them anew."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from sqlalchemy import Select, bindparam, select
from sqlalchemy.orm import Session, class_mapper

R = TypeVar("R")


def held(db: Session, kind: type[R], key: object, new: Callable[[], R]) -> R:
    """The row of that key, made by `new` where there is none, until the transaction ends."""
    rows = _rows(db, kind)
    row = rows.get(key) or db.scalars(_by_key(cast("Any", kind)), {"key": key}).first()
    if row is None:
        row = new()
        db.add(row)
        db.flush()
    rows[key] = row
    return row


def let_go(db: Session, kind: type[R], key: object) -> R | None:
    """Forget a row that is about to be deleted; the row, if it was held."""
    return _rows(db, kind).pop(key, None)


@functools.cache
def _by_key(kind: type[Any]) -> Select[Any]:
    """What `Session.get` would ask, and build anew each time: that takes as long as all the rest of it."""
    (column,) = class_mapper(kind).primary_key
    return select(kind).where(column == bindparam("key")).execution_options(autoflush=False)


def _rows(db: Session, kind: type[R]) -> dict[object, R]:
    return cast("dict[object, R]", db.info.setdefault(kind, {}))
