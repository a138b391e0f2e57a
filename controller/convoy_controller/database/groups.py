"""Groups of boards: named sets that a request may mean, at the moment at which it is made."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from convoy_schema.names import check_name
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from convoy_controller.database import condition_counts
from convoy_controller.database.engine import Database
from convoy_controller.database.expectations import ANYTHING, Change, Expected
from convoy_controller.database.models import BoardGroupRow, BoardRow
from convoy_controller.database.placement_records import next_count
from convoy_controller.database.status_models import GroupMemberRow
from convoy_controller.database.views import GroupLine
from convoy_controller.errors import NotFoundError


def groups(database: Database) -> tuple[GroupLine, ...]:
    """Every group, by name. Index: the key."""
    with database.read() as db:
        return tuple(_line(row) for row in db.scalars(select(BoardGroupRow).order_by(BoardGroupRow.name)))


def sites(database: Database, names: Collection[str]) -> dict[str, str]:
    """The site of each of those groups that there are, by group. Index: the key."""
    wanted = select(BoardGroupRow.name, BoardGroupRow.site).where(BoardGroupRow.name.in_(names))
    with database.read() as db:
        return {row.name: row.site for row in db.execute(wanted)}


def group(database: Database, name: str) -> GroupLine:
    """One group; raises `NotFoundError`."""
    with database.read() as db:
        return _line(_found(db, name))


def put_group(
    database: Database,
    name: str,
    site: str,
    boards: Sequence[str],
    note: str,
    now: datetime,
    expected: Expected = ANYTHING,
) -> Change:
    """Make a group, or replace one. Raises `NotFoundError` for a board that was never seen, and as `expected`."""
    check_name(name, "group")
    with database.write() as db:
        known = set(db.scalars(select(BoardRow.name).where(BoardRow.name.in_(boards))))
        for board in boards:
            if board not in known:
                raise NotFoundError(f"there is no board {board!r}: see `convoy boards`", board=board)
        row = db.get(BoardGroupRow, name)
        before = None if row is None else row.revision
        expected.check(f"group {name}", before, row is not None)
        revision = next_count(db, "intent")
        if row is None:
            row = BoardGroupRow(name=name)
            db.add(row)
        sites = {site} if before is None else {site, row.site}
        row.site, row.boards, row.note = site, sorted(set(boards)), note
        row.revision, row.changed_at = revision, now
        db.execute(delete(GroupMemberRow).where(GroupMemberRow.group_name == name))
        db.add_all(GroupMemberRow(group_name=name, board=board) for board in row.boards)
        condition_counts.recount_group(db, name, sites)
        return Change(before, row.revision, before is None)


def remove_group(database: Database, name: str, expected: Expected = ANYTHING) -> GroupLine:
    """Remove a group; its boards and what was deployed on them stay. Raises `NotFoundError`, and as `expected`."""
    with database.write() as db:
        row = _found(db, name)
        expected.check(f"group {name}", row.revision, True)
        line = _line(row)
        db.delete(row)
        db.execute(delete(GroupMemberRow).where(GroupMemberRow.group_name == name))
        condition_counts.recount_group(db, name, (line.site,))
        return line


def _found(db: Session, name: str) -> BoardGroupRow:
    row = db.get(BoardGroupRow, name)
    if row is None:
        raise NotFoundError(f"there is no group {name!r}: the list of groups shows those there are", name=name)
    return row


def _line(row: BoardGroupRow) -> GroupLine:
    return GroupLine(row.name, row.site, tuple(row.boards), row.note, row.revision, row.changed_at)
