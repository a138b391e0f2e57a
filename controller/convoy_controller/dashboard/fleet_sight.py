"""What the fleet page shows, read page by page: counts by state, site and group, problems, and the boards asked for.

However large the fleet is, it reads a few rows of counts and no more boards than it shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from convoy_controller.database import groups, queries
from convoy_controller.database.engine import Database
from convoy_controller.database.queries import BoardFilter
from convoy_controller.database.records import CountScope
from convoy_controller.database.status import fleet_by_state, problems
from convoy_controller.database.status_views import Problem, StateCounts
from convoy_controller.database.views import CONDITION_RANKS, Condition, FleetLine

#: Boards on one page of the table, problems on one page of theirs, and sites or groups that are told.
ROWS = 50
MOST_PROBLEMS = 20
MOST_PLACES = 100

#: Where a page of problems begins: beyond that rank and name.
Place = tuple[int, str]


@dataclass(frozen=True)
class Asked:
    """Which boards the table shows: names that contain `text`, in that condition, group and site, beyond `after`.

    `troubled_after` is where the page of problems begins; None: with the worst.
    """

    text: str = ""
    condition: Condition | None = None
    group: str = ""
    site: str = ""
    deployment: str = ""
    after: str = ""
    troubled_after: Place | None = None

    def filter(self) -> BoardFilter:
        """As the query takes it."""
        return BoardFilter(
            condition=self.condition,
            deployment=self.deployment or None,
            group=self.group or None,
            site=self.site or None,
            text=self.text,
        )


@dataclass(frozen=True)
class FleetSight:
    """`fleet` counts all boards; of `sites` and `groups` (each with its site) there are the first by name.

    `after` and `troubled_after` are where the two pages begin, which is at the start when nothing is left beyond;
    `found` is how many boards fit, None where that is not counted.
    """

    fleet: StateCounts
    sites: tuple[StateCounts, ...]
    groups: tuple[tuple[StateCounts, str], ...]
    troubles: tuple[Problem, ...]
    troubled_after: Place | None
    has_more_troubles: bool
    lines: tuple[FleetLine, ...]
    after: str
    has_more: bool
    found: int | None


def place_of(problem: Problem) -> Place:
    """Where the page of problems behind this one begins."""
    return CONDITION_RANKS[problem.condition], problem.board


def fleet_sight(database: Database, asked: Asked) -> FleetSight:
    """Read it; may raise `DatabaseError`."""
    [fleet] = fleet_by_state(database)
    sites = fleet_by_state(database, CountScope.SITE, MOST_PLACES)
    grouped = fleet_by_state(database, CountScope.GROUP, MOST_PLACES)
    sited = groups.sites(database, [each.name for each in grouped]) if grouped else {}
    troubled_after = asked.troubled_after
    troubles = _troubles(database, troubled_after) if fleet.problems else ()
    if troubled_after is not None and not troubles:
        troubled_after, troubles = None, _troubles(database, None) if fleet.problems else ()
    after, lines = asked.after, queries.fleet(database, asked.filter(), ROWS + 1, asked.after)
    if after and not lines:
        after, lines = "", queries.fleet(database, asked.filter(), ROWS + 1)
    return FleetSight(
        fleet,
        sites,
        tuple((each, sited.get(each.name, "")) for each in grouped),
        troubles[:MOST_PROBLEMS],
        troubled_after,
        len(troubles) > MOST_PROBLEMS,
        lines[:ROWS],
        after,
        len(lines) > ROWS,
        len(lines) if not after and len(lines) <= ROWS else _found(asked, fleet, sites, grouped),
    )


def _troubles(database: Database, after: Place | None) -> tuple[Problem, ...]:
    """Those of a page and one more; what is no problem comes behind all of them."""
    found = problems(database, MOST_PROBLEMS + 1, after)
    return tuple(takewhile(lambda each: each.condition.is_problem, found))


def _found(
    asked: Asked, fleet: StateCounts, sites: Sequence[StateCounts], grouped: Sequence[StateCounts]
) -> int | None:
    """How many boards fit, where one row of counts says so."""
    if asked.text or asked.deployment or (asked.group and asked.site):
        return None
    among, name = (grouped, asked.group) if asked.group else (sites, asked.site) if asked.site else ((fleet,), "")
    counts = next((each for each in among if each.name == name), None)
    if counts is None or asked.condition is None:
        return None if counts is None else counts.boards
    return counts.conditions.get(asked.condition.value, 0)
