"""The condition of every board as a row, kept while what explains it changes.

`touch` notes that something about a board changed; `Database.write` calls `settle` at the end of its transaction, which
explains those boards anew. So a stored condition is as new as what it is made of, and nobody has to explain the whole
fleet to count it. `settle_all` makes all of it anew: after an upgrade, and now and then by the controller.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from convoy_controller.database import condition_counts
from convoy_controller.database.explanations import explain
from convoy_controller.database.models import BoardRow
from convoy_controller.database.rows import board_facts, board_rows
from convoy_controller.database.status_models import BoardConditionRow
from convoy_controller.database.views import CONDITION_RANKS, Condition

if TYPE_CHECKING:
    from convoy_controller.database.engine import Database

#: Boards that are explained by one statement.
BATCH_BOARDS = 500
_TOUCHED = "touched boards"
#: Columns whose change is written.
_SAID = (
    *("rank", "condition", "wanted", "actual", "since", "blocked_by", "sentence", "action"),
    *("deployment", "generation", "stage", "stages", "phase"),
)


def touch(db: Session, now: datetime, boards: Iterable[str]) -> None:
    """Note that something which explains these boards changes in this transaction."""
    touched: dict[str, datetime] = db.info.setdefault(_TOUCHED, {})
    touched.update(dict.fromkeys(boards, now))


def settle(db: Session) -> int:
    """Explain every board that was touched, and count it anew; returns how many conditions changed."""
    touched: dict[str, datetime] = db.info.pop(_TOUCHED, {})
    names, changed = sorted(touched), 0
    for start in range(0, len(names), BATCH_BOARDS):
        changed += _settle(db, names[start : start + BATCH_BOARDS], touched)
    return changed


def settle_all(database: Database, now: datetime, batch_boards: int = BATCH_BOARDS) -> int:
    """Explain every board and count all of them, in small transactions; returns how many conditions were not right."""
    wrong, last = 0, ""
    while True:
        changed, last = settle_after(database, now, last, batch_boards)
        wrong += changed
        if not last:
            return wrong


def settle_after(database: Database, now: datetime, after: str, batch_boards: int = BATCH_BOARDS) -> tuple[int, str]:
    """Explain the next boards by name beyond `after`, and after the last of all count anew.

    Returns how many conditions were not right, and the last board's name, '' once there are no further ones.
    """
    with database.write() as db:
        wanted = select(BoardRow.name).where(BoardRow.name > after).order_by(BoardRow.name).limit(batch_boards)
        names = db.scalars(wanted).all()
        touch(db, now, names)
        wrong = settle(db)
        if len(names) == batch_boards:
            return wrong, names[-1]
        condition_counts.recount(db)
        return wrong, ""


def forget(db: Session, board: str) -> None:
    """Drop the condition of a board that its owner removed."""
    row = db.get(BoardConditionRow, board)
    if row is not None:
        condition_counts.move(db, {board: (row.condition, None)})
        db.expunge(row)
        db.execute(delete(BoardConditionRow).where(BoardConditionRow.board == board))


def _settle(db: Session, names: Sequence[str], touched: dict[str, datetime]) -> int:
    db.flush()
    found = db.execute(_explained(), {"names": names}).all()
    known = {row.board: row for row in db.execute(_told(), {"names": names})}
    added, altered = list[dict[str, Any]](), list[dict[str, Any]]()
    moves: dict[str, tuple[Condition | None, Condition | None]] = {}
    for values in map(_values, found):
        board = str(values["board"])
        before = known.get(board)
        if before is not None and all(getattr(before, name) == values[name] for name in _SAID):
            continue
        if before is None or before.condition is not values["condition"]:
            moves[board] = (None if before is None else before.condition, values["condition"])
            values["changed_at"] = touched[board]
        else:
            values["changed_at"] = before.changed_at
        (added if before is None else altered).append(values)
    if added:
        db.execute(insert(BoardConditionRow), added)
    if altered:
        db.execute(update(BoardConditionRow), altered)
    condition_counts.move(db, moves)
    return len(moves)


# Built once: to build them takes as long as the database takes to answer.
@functools.lru_cache(maxsize=1)
def _explained() -> Select[Any]:
    """What explains the boards of `names`. What statements changed beside the session's own rows is read anew."""
    wanted = BoardRow.name.in_(bindparam("names", expanding=True))
    return board_rows().where(wanted).execution_options(populate_existing=True)


@functools.lru_cache(maxsize=1)
def _told() -> Select[Any]:
    """The conditions of the boards of `names` as they are stored."""
    table = BoardConditionRow.__table__.c
    return select(*table).where(table.board.in_(bindparam("names", expanding=True)))


def _values(found: Any) -> dict[str, Any]:
    facts = board_facts(found)
    said, assigned = explain(facts), facts.assigned
    return {
        "board": said.board,
        "rank": CONDITION_RANKS[said.condition],
        "condition": said.condition,
        "wanted": said.wanted,
        "actual": said.actual,
        "since": said.since,
        "blocked_by": said.blocked_by,
        "sentence": said.sentence,
        "action": said.action,
        "deployment": None if assigned is None else assigned.deployment,
        "generation": None if assigned is None else str(assigned.generation),
        "stage": None if assigned is None else assigned.stage,
        "stages": None if assigned is None else assigned.stages,
        "phase": None if assigned is None else assigned.phase,
    }
