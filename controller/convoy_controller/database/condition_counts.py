"""How many boards are in which condition: of the fleet, of each site and of each group, as rows.

Kept by `condition_records` as boards move from one condition to another, and by `groups` as their members change. The
boards of a site are those of its groups, each counted once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import cast

from sqlalchemy import Integer, Table, bindparam, delete, func, insert, literal, select, update
from sqlalchemy.orm import Session

from convoy_controller.database.models import BoardGroupRow
from convoy_controller.database.records import CountScope
from convoy_controller.database.status_models import BoardConditionRow, ConditionCountRow, GroupMemberRow
from convoy_controller.database.views import Condition

#: From one condition to another; None: the board was not counted, or is not any more.
Move = tuple[Condition | None, Condition | None]
_Place = tuple[CountScope, str]
_COUNTS = cast("Table", ConditionCountRow.__table__)
_COUNTED = (
    update(_COUNTS)
    .where(
        _COUNTS.c.scope == bindparam("of_scope"),
        _COUNTS.c.name == bindparam("of_name"),
        _COUNTS.c.condition == bindparam("of_condition"),
    )
    .values(boards=_COUNTS.c.boards + bindparam("change", type_=Integer))
)
_MEMBER_OF = (
    select(GroupMemberRow.board, BoardGroupRow.name, BoardGroupRow.site)
    .join(BoardGroupRow, BoardGroupRow.name == GroupMemberRow.group_name)
    .where(GroupMemberRow.board.in_(bindparam("boards", expanding=True)))
)


def move(db: Session, moves: Mapping[str, Move]) -> None:
    """Count boards where they are now, and no longer where they were."""
    if not moves:
        return
    places = _places(db, moves)
    changes: Counter[tuple[CountScope, str, Condition]] = Counter()
    for board, (old, new) in moves.items():
        for scope, name in ((CountScope.FLEET, ""), *places.get(board, ())):
            if old is not None:
                changes[scope, name, old] -= 1
            if new is not None:
                changes[scope, name, new] += 1
    for (scope, name, condition), change in changes.items():
        if change:
            _add(db, scope, name, condition, change)


def recount(db: Session) -> None:
    """Count every board anew."""
    db.execute(delete(ConditionCountRow))
    groups = db.execute(select(BoardGroupRow.name, BoardGroupRow.site)).all()
    _insert(db, CountScope.FLEET, "")
    for group, _ in groups:
        _insert(db, CountScope.GROUP, group)
    for site in {site for _, site in groups}:
        _insert(db, CountScope.SITE, site)


def recount_group(db: Session, group: str, sites: Iterable[str]) -> None:
    """Count a group anew, whose members have changed, and the sites that it was or is at."""
    db.flush()
    for scope, name in ((CountScope.GROUP, group), *((CountScope.SITE, site) for site in set(sites))):
        db.execute(delete(ConditionCountRow).where(ConditionCountRow.scope == scope, ConditionCountRow.name == name))
        _insert(db, scope, name)


def _places(db: Session, boards: Iterable[str]) -> dict[str, set[_Place]]:
    """The groups that boards are in, and the sites of those."""
    found: dict[str, set[_Place]] = defaultdict(set)
    for board, group, site in db.connection().execute(_MEMBER_OF, {"boards": list(boards)}):
        found[board] |= {(CountScope.GROUP, group), (CountScope.SITE, site)}
    return found


def _add(db: Session, scope: CountScope, name: str, condition: Condition, change: int) -> None:
    counted = db.connection().execute(
        _COUNTED, {"of_scope": scope, "of_name": name, "of_condition": condition, "change": change}
    )
    if not counted.rowcount:
        db.execute(insert(ConditionCountRow).values(scope=scope, name=name, condition=condition, boards=change))


def _insert(db: Session, scope: CountScope, name: str) -> None:
    boards = select(GroupMemberRow.board)
    wanted = select(literal(scope.value), literal(name), BoardConditionRow.condition, func.count())
    if scope is CountScope.GROUP:
        wanted = wanted.where(BoardConditionRow.board.in_(boards.where(GroupMemberRow.group_name == name)))
    elif scope is CountScope.SITE:
        groups = select(BoardGroupRow.name).where(BoardGroupRow.site == name)
        wanted = wanted.where(BoardConditionRow.board.in_(boards.where(GroupMemberRow.group_name.in_(groups))))
    columns = ["scope", "name", "condition", "boards"]
    db.execute(insert(ConditionCountRow).from_select(columns, wanted.group_by(BoardConditionRow.condition)))
