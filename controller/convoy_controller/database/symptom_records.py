"""What is wrong with a board, as its row keeps it: by kind, since when, and in figures. Called by `recorder` alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from convoy_controller.database.board_records import board_row
from convoy_controller.database.condition_records import touch
from convoy_controller.database.models import BoardRow
from convoy_controller.database.records import NewEvent, SymptomKind

#: Kind of the event that says why a generation was given up; it names a board when it was that board's doing.
GIVEN_UP = "abandoned"


def begin(db: Session, now: datetime, board: str, kind: SymptomKind, ago_s: float, figures: Mapping[str, Any]) -> None:
    """It began `ago_s` ago, unless it is there already: then only its figures are new."""
    touch(db, now, (board,))
    row = board_row(db, board)
    known = dict(row.symptoms or {})
    since = known.get(kind.value, {}).get("since") or (now - timedelta(seconds=ago_s)).isoformat()
    row.symptoms = {**known, kind.value: {"since": since, "figures": dict(figures)}}


def end(db: Session, now: datetime, board: str, kind: SymptomKind) -> None:
    """It is over."""
    touch(db, now, (board,))
    row = board_row(db, board)
    if row.symptoms and kind.value in row.symptoms:
        left = {name: value for name, value in row.symptoms.items() if name != kind.value}
        row.symptoms = left or None


def give_up(db: Session, now: datetime, event: NewEvent) -> None:
    """A generation was given up for what a board did: it is left out of the next ones for a while."""
    if event.board is None:
        return
    end(db, now, event.board, SymptomKind.GIVEN_UP)
    figures = {"sentence": event.sentence, "code": event.data.get("code", ""), "deployment": event.deployment or ""}
    begin(db, now, event.board, SymptomKind.GIVEN_UP, 0.0, figures)


def forgive(db: Session, now: datetime, board: str, deployment: str | None = None) -> None:
    """It has a new chance: it got ready for that deployment, or began anew (None)."""
    given_up = (board_row(db, board).symptoms or {}).get(SymptomKind.GIVEN_UP.value)
    if given_up is not None and deployment in (None, given_up["figures"]["deployment"]):
        end(db, now, board, SymptomKind.GIVEN_UP)


def forgive_all(db: Session, now: datetime, deployment: str) -> None:
    """A deployment has ended: what boards did to it is past."""
    for name in db.scalars(select(BoardRow.name).where(BoardRow.symptoms.is_not(None))).all():
        forgive(db, now, name, deployment)
