"""The fleet at a glance: how many boards are in which state, which are not what they should be, what changed since.

Each says which index carries it; none reads a row for every board; lists are bounded. All may raise `DatabaseError`.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from convoy_schema.names import Generation
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from convoy_controller.database.engine import Database
from convoy_controller.database.models import BoardGroupRow, DeploymentRow, EventRow, GenerationRow, ModelRow
from convoy_controller.database.narrowing import last_before
from convoy_controller.database.records import CountScope
from convoy_controller.database.status_models import BoardConditionRow, ConditionCountRow, GroupMemberRow
from convoy_controller.database.status_views import (
    Changed,
    ChangedDeployment,
    EventCount,
    NewGeneration,
    NewModel,
    Problem,
    StateCounts,
)
from convoy_controller.database.views import AT_TARGET, CONDITION_RANKS, PROBLEMS, Condition
from convoy_controller.errors import NotFoundError

#: Items of a list unless told otherwise, and events that are counted one by one.
USUAL_ITEMS = 100
MOST_COUNTED = 10_000


def fleet_by_state(
    database: Database, scope: CountScope = CountScope.FLEET, limit: int = USUAL_ITEMS, after: str = ""
) -> tuple[StateCounts, ...]:
    """How many boards are in which condition: of the fleet, or of at most `limit` sites or groups named beyond `after`.

    Index: the key of `condition_counts`, which has a few rows for each; no board's row is read.
    """
    wanted = select(ConditionCountRow).where(ConditionCountRow.scope == scope, ConditionCountRow.boards > 0)
    if scope is not CountScope.FLEET:
        names = (
            select(ConditionCountRow.name)
            .where(ConditionCountRow.scope == scope, ConditionCountRow.name > after, ConditionCountRow.boards > 0)
            .distinct()
            .order_by(ConditionCountRow.name)
            .limit(limit)
        )
        wanted = wanted.where(ConditionCountRow.name.in_(names))
    found: dict[str, dict[Condition, int]] = defaultdict(dict)
    with database.read() as db:
        for row in db.scalars(wanted):
            found[row.name][row.condition] = row.boards
    if scope is CountScope.FLEET and not found:
        found[""] = {}
    return tuple(_counts(scope, name, found[name]) for name in sorted(found))


def _counts(scope: CountScope, name: str, found: dict[Condition, int]) -> StateCounts:
    ordered = sorted(found.items(), key=lambda item: CONDITION_RANKS[item[0]])
    problems = sum(boards for condition, boards in ordered if condition in PROBLEMS)
    return StateCounts(
        scope, name, sum(found.values()), problems, {condition.value: boards for condition, boards in ordered}
    )


def problems(
    database: Database,
    limit: int = USUAL_ITEMS,
    after: tuple[int, str] | None = None,
    condition: Condition | None = None,
    group: str | None = None,
    site: str | None = None,
) -> tuple[Problem, ...]:
    """At most `limit` boards that are not what they should be, by rank of the condition and name, beyond `after`.

    Problems come first, then what is on its way or out of service on purpose; what serves, is ready or is free is not
    told. Index: `ix_board_conditions_rank_board`; with `group` or `site` the key of `board_group_members`.
    """
    ranks = [CONDITION_RANKS[each] for each in Condition if each not in AT_TARGET and condition in (None, each)]
    first, last = min(ranks, default=0), max(ranks, default=-1)
    row = BoardConditionRow
    wanted = select(row).where(row.rank <= last, row.rank >= first)
    if after is not None:
        rank = after[0]
        wanted = wanted.where(row.rank >= rank, (row.rank > rank) | (row.board > after[1]))
    if group is not None or site is not None:
        wanted = wanted.where(row.board.in_(members(group, site)))
    with database.read() as db:
        return tuple(_problem(found) for found in db.scalars(wanted.order_by(row.rank, row.board).limit(limit)))


def members(group: str | None, site: str | None) -> Select[tuple[str]]:
    """The names of the boards of a group, of a site, or of both."""
    wanted = select(GroupMemberRow.board)
    if group is not None:
        wanted = wanted.where(GroupMemberRow.group_name == group)
    if site is not None:
        wanted = wanted.where(
            GroupMemberRow.group_name.in_(select(BoardGroupRow.name).where(BoardGroupRow.site == site))
        )
    return wanted


def changed_since(
    database: Database, since: datetime | None = None, event: int | None = None, limit: int = USUAL_ITEMS
) -> Changed:
    """What is not as it was at a moment, or after an event; the one of the two that is given. At most `limit` of each.

    Raises `NotFoundError` for an event that is not, or no longer, there. Indexes: events' key and `ix_events_at`,
    `ix_board_conditions_changed_at_board`, `ix_deployments_changed_at`, `ix_generations_created_at`,
    `ix_models_imported_at`.
    """
    with database.read() as db:
        at, after = _place(db, since, event)
        boards = db.scalars(
            select(BoardConditionRow)
            .where(BoardConditionRow.changed_at >= at)
            .order_by(BoardConditionRow.changed_at.desc(), BoardConditionRow.board.desc())
            .limit(limit + 1)
        ).all()
        events = _event_counts(db, after)
        newest = db.scalar(select(EventRow.id).where(EventRow.id > after).order_by(EventRow.id.desc()).limit(1))
        return Changed(
            since=at,
            after=after,
            newest=newest or after,
            boards=tuple(_problem(row) for row in boards[:limit]),
            boards_more=len(boards) > limit,
            deployments=_deployments(db, at, limit),
            generations=_generations(db, at, limit),
            models=_models(db, at, limit),
            events=events,
            events_more=sum(each.events for each in events) >= MOST_COUNTED,
        )


def _place(db: Session, since: datetime | None, event: int | None) -> tuple[datetime, int]:
    """The moment, and the number of the last event before it."""
    if (since is None) == (event is None):
        raise ValueError("a moment or an event, one of the two")
    if since is not None:
        return since, db.scalar(last_before(EventRow, since)) or 0
    found = db.get(EventRow, event)
    if found is None:
        raise NotFoundError(f"there is no event {event}, or no longer: `convoy events` shows those there are")
    return found.at, found.id


def _event_counts(db: Session, after: int) -> tuple[EventCount, ...]:
    first = (
        select(EventRow.severity, EventRow.kind)
        .where(EventRow.id > after)
        .order_by(EventRow.id)
        .limit(MOST_COUNTED)
        .subquery()
    )
    rows = db.execute(
        select(first.c.severity, first.c.kind, func.count()).group_by(first.c.severity, first.c.kind)
    ).all()
    return tuple(EventCount(*row) for row in sorted(rows, key=lambda row: (-row[2], row[1])))


def _deployments(db: Session, at: datetime, limit: int) -> tuple[ChangedDeployment, ...]:
    row = DeploymentRow
    wanted = select(row.name, row.state, row.message, row.changed_at).where(row.changed_at >= at)
    return tuple(ChangedDeployment(*each) for each in db.execute(wanted.order_by(row.changed_at.desc()).limit(limit)))


def _generations(db: Session, at: datetime, limit: int) -> tuple[NewGeneration, ...]:
    row = GenerationRow
    wanted = select(row.deployment, row.epoch, row.counter, row.state, row.reason, row.created_at)
    found = db.execute(wanted.where(row.created_at >= at).order_by(row.created_at.desc()).limit(limit))
    return tuple(NewGeneration(each[0], Generation(each[1], each[2]), each[3], each[4], each[5]) for each in found)


def _models(db: Session, at: datetime, limit: int) -> tuple[NewModel, ...]:
    row = ModelRow
    wanted = select(row.name, row.version, row.imported_at).where(row.imported_at >= at)
    return tuple(NewModel(*each) for each in db.execute(wanted.order_by(row.imported_at.desc()).limit(limit)))


def _problem(row: BoardConditionRow) -> Problem:
    return Problem(
        row.board,
        row.condition,
        row.wanted,
        row.actual,
        row.since,
        row.blocked_by,
        row.sentence,
        row.action,
        row.deployment,
        row.changed_at,
    )
