"""What the fleet page shows, read in one go: counts, problems, groups, and one page of the boards asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from convoy_controller.database import groups, queries
from convoy_controller.database.engine import Database
from convoy_controller.database.views import Condition, FleetLine

#: Boards on one page of the table, and problems told in full.
ROWS = 50
MOST_PROBLEMS = 20
#: What is no problem, of the order in which conditions are told: the worst first.
SETTLED = frozenset(list(Condition)[-5:])
RANKS = {condition: rank for rank, condition in enumerate(Condition)}
_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Asked:
    """Which boards the table shows: names that contain `text`, in that condition, that group, from row `first` on."""

    text: str = ""
    condition: Condition | None = None
    group: str = ""
    deployment: str = ""
    first: int = 0


@dataclass(frozen=True)
class Trouble:
    """A board that is not as it should be, and what to do."""

    line: FleetLine
    action: str


@dataclass(frozen=True)
class GroupSight:
    """A group and the conditions of its boards."""

    group: str
    site: str
    boards: int
    problems: int
    counts: tuple[tuple[Condition, int], ...]


@dataclass(frozen=True)
class FleetSight:
    """`counts` are of the whole fleet, the worst condition first; `found` boards fit, and `lines` are those shown."""

    boards: int
    problems: int
    counts: tuple[tuple[Condition, int], ...]
    groups: tuple[GroupSight, ...]
    troubles: tuple[Trouble, ...]
    found: int
    first: int
    lines: tuple[FleetLine, ...]


def fleet_sight(database: Database, asked: Asked) -> FleetSight:
    """Read it; may raise `DatabaseError`."""
    lines = queries.fleet(database)
    all_groups = groups.groups(database)
    by_name = {line.board: line for line in lines}
    troubled = sorted((line for line in lines if line.condition not in SETTLED), key=_urgency)
    members = next((frozenset(each.boards) for each in all_groups if each.group == asked.group), frozenset[str]())
    fitting = [line for line in lines if _fits(line, asked) and (not asked.group or line.board in members)]
    first = asked.first if asked.first < len(fitting) else 0
    return FleetSight(
        len(lines),
        len(troubled),
        _counts(lines),
        tuple(
            GroupSight(each.group, each.site, len(each.boards), _problems(known), _counts(known))
            for each in all_groups
            for known in [[by_name[name] for name in each.boards if name in by_name]]
        ),
        tuple(Trouble(line, queries.why(database, line.board).action) for line in troubled[:MOST_PROBLEMS]),
        len(fitting),
        first,
        tuple(fitting[first : first + ROWS]),
    )


def _urgency(line: FleetLine) -> tuple[int, datetime, str]:
    """The worst first, then what has lasted longest: an order in which nothing moves that does not change."""
    return RANKS[line.condition], line.since or _LONG_AGO, line.board


def _fits(line: FleetLine, asked: Asked) -> bool:
    return (
        asked.text.lower() in line.board
        and asked.condition in (None, line.condition)
        and asked.deployment in ("", line.deployment)
    )


def _counts(lines: Sequence[FleetLine]) -> tuple[tuple[Condition, int], ...]:
    found = Counter(line.condition for line in lines)
    return tuple((condition, found[condition]) for condition in Condition if condition in found)


def _problems(lines: Sequence[FleetLine]) -> int:
    return sum(line.condition not in SETTLED for line in lines)
