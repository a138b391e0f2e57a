"""The fleet status queries over 100,000 boards and 10,000,000 rows of history in PostgreSQL, a tenth of it in SQLite.

The database is made first (`sample_fleet`). Then every named query is asked many times with other arguments each time,
and the slowest twentieth decides. After that each statement is explained: no table that grows may be read whole.
`CONVOY_BENCH_DATABASE` names an empty PostgreSQL database to use instead of a server of the bench's own;
`CONVOY_BENCH_SHARE` makes all of it smaller. No broker is needed.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from convoy_schema.resident import settle_memory

from convoy_controller.bench.figures import Figure, Result
from convoy_controller.bench.postgresql_server import PostgresqlServer, binaries
from convoy_controller.bench.query_plans import FEW, Plan, plan_of
from convoy_controller.bench.sample_fleet import ASSIGNED, MODELS, SHARING, SampleFleet, Size
from convoy_controller.database import availability, fleet_presence, history, hops, pages, queries, spread, status
from convoy_controller.database.engine import Database, open_database
from convoy_controller.database.pages import EventFilter
from convoy_controller.database.queries import BoardFilter
from convoy_controller.database.records import BoardPresence, CountScope, Severity, utc_now
from convoy_controller.database.views import CONDITION_RANKS, Condition
from convoy_controller.errors import DemoError

#: What each database holds, and the milliseconds in which nineteen of twenty answers must be there.
POSTGRESQL, POSTGRESQL_MS = Size(100_000, 10_000_000), 50.0
SQLITE, SQLITE_MS = Size(10_000, 1_000_000), 100.0
#: How often each query is asked, and how often before that without counting.
ROUNDS, WARM_UP = 100, 10
PAGE = 100

Ask = Callable[[], object]


def run(broker: str) -> Result:
    """Both databases, one after the other; `broker` is not used."""
    del broker
    share = float(os.environ.get("CONVOY_BENCH_SHARE", "1"))
    figures: list[Figure] = []
    notes: dict[str, Any] = {"load at the beginning": _load()}
    for name, opened, size, bar_ms in (
        ("PostgreSQL", _postgresql, POSTGRESQL, POSTGRESQL_MS),
        ("SQLite", _sqlite, SQLITE, SQLITE_MS),
    ):
        with opened() as url:
            measured = measure(url, Size(int(size.boards * share), int(size.history * share)), bar_ms)
        figures += [
            Figure(f"{name}: {each.name}", "ms (p95)", each.p95_ms, bar_ms, at_least=False) for each in measured.answers
        ]
        scans = [each for each in measured.answers if each.plan.scans]
        figures.append(Figure(f"{name}: queries that read a growing table whole", "", len(scans), 0, at_least=False))
        notes |= {f"{name}: {key}": value for key, value in measured.notes.items()}
        notes |= {f"{name}: {each.name} scans": sorted(each.plan.scans) for each in scans}
    return Result("queries", tuple(figures), notes)


@dataclass(frozen=True)
class Answer:
    """One query: the time in which 95 of 100 answers were there, half of them, and the first of all; and its plan.

    On a machine that does other work as well, the fastest says what the query takes, and the rest what it waited.
    """

    name: str
    p95_ms: float
    median_ms: float
    fastest_ms: float
    plan: Plan


@dataclass(frozen=True)
class Measured:
    """Every query of one database, and what else was observed."""

    answers: tuple[Answer, ...]
    notes: dict[str, Any]


def measure(url: str, size: Size, bar_ms: float, rounds: int = ROUNDS, only: Collection[str] = ()) -> Measured:
    """Make a fleet of that size in the database `url` names, and ask it everything, or `only` what is named so."""
    database = open_database(url)
    try:
        began = time.perf_counter()
        fleet = SampleFleet(database, size, utc_now())
        fleet.make()
        made_s = time.perf_counter() - began
        asked = {name: ask for name, ask in questions(fleet, random.Random(1)).items() if not only or name in only}
        settle_memory()  # as the API's process does before it answers
        answers = tuple(_answer(database, name, ask, rounds) for name, ask in asked.items())
        slow = {
            each.name: f"median {each.median_ms:.1f}, fastest {each.fastest_ms:.1f} ms"
            for each in answers
            if each.p95_ms > bar_ms / 2
        }
        notes = {
            "boards and rows of history": f"{size.boards:,} and {size.history:,}",
            "seconds to make them": round(made_s, 1),
            "load while asking": _load(),
            "beyond half the bar": slow,
        }
        notes |= {f"indexes of {each.name}": ", ".join(sorted(each.plan.indexes)) for each in answers}
        return Measured(answers, notes)
    finally:
        database.close()


def _load() -> str:
    return " ".join(f"{each:.1f}" for each in os.getloadavg()) + f" on {os.cpu_count()} cores"


@contextmanager
def _postgresql() -> Iterator[str]:
    given = os.environ.get("CONVOY_BENCH_DATABASE")
    if given is not None:
        yield given
        return
    programs = binaries()
    if programs is None:
        raise DemoError(
            "PostgreSQL is not installed: `apt-get install postgresql`, or name an empty database in "
            "CONVOY_BENCH_DATABASE, as postgresql://user@host/name"
        )
    server = PostgresqlServer(programs)
    try:
        yield server.url
    finally:
        server.close()


@contextmanager
def _sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="convoy-bench-") as folder:
        yield f"sqlite:///{Path(folder) / 'convoy.db'}"


def _answer(database: Database, name: str, ask: Ask, rounds: int) -> Answer:
    for _ in range(WARM_UP):
        ask()
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        ask()
        took.append(1e3 * (time.perf_counter() - began))
    p95 = quantiles(took, n=20)[-1] if len(took) > 1 else took[0]
    return Answer(name, p95, median(took), min(took), explained(database, ask))


def explained(database: Database, ask: Ask, *, is_small: bool = False) -> Plan:
    """The plans of all statements of one answer, together; `is_small`: as if the tables were large."""
    seen = statements(database, ask)
    with database.engine.connect() as connection:
        if is_small and database.engine.dialect.name == "postgresql":
            for way in ("seqscan", "mergejoin", "hashjoin"):
                connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
        plans = [plan_of(connection, *each, few=1 if is_small else FEW) for each in seen]
    indexes = frozenset[str]().union(*(plan.indexes for plan in plans))
    return Plan(indexes, frozenset[str]().union(*(plan.scans for plan in plans)))


def statements(database: Database, ask: Ask) -> list[tuple[str, Any]]:
    """Every query that `ask` makes, with its parameters."""
    found: list[tuple[str, Any]] = []
    with database.watched(lambda statement, parameters: found.append((statement, parameters))):
        ask()
    return [each for each in found if each[0].lstrip().startswith(("SELECT", "WITH"))]


def questions(fleet: SampleFleet, r: random.Random) -> dict[str, Ask]:
    """Every named query, asked with other arguments each time."""
    db, now, size = fleet.database, fleet.now, fleet.size

    def board() -> str:
        return f"board-{r.randrange(size.boards // SHARING) * SHARING + r.randrange(ASSIGNED):06}"

    def flapping() -> str:
        return f"board-{r.randrange(max(1, size.boards // 100)) * 100:06}"

    def deployment(among: int = size.deployments) -> str:
        return f"net-{r.randrange(min(among, size.deployments)):05}"

    def group() -> str:
        return f"group-{r.randrange(max(1, size.boards // 500)):04}"

    def moment() -> datetime:
        return now - timedelta(seconds=r.randrange(30 * 86_400))

    def span(longest_h: float) -> tuple[datetime, datetime]:
        until = now - timedelta(seconds=r.randrange(3600))
        return until - timedelta(hours=r.uniform(0.1, longest_h)), until

    def model() -> tuple[str, str]:
        number = r.randrange(MODELS)
        return f"model-{number // 4}", str(number % 4 + 1)

    def event() -> int:
        return r.randrange(1, max(2, int(size.history * 0.28)))

    return {
        "fleet by state": lambda: status.fleet_by_state(db),
        "fleet by state, sites": lambda: status.fleet_by_state(db, CountScope.SITE),
        "fleet by state, groups": lambda: status.fleet_by_state(db, CountScope.GROUP, PAGE, group()),
        "boards": lambda: queries.fleet(db, BoardFilter(), PAGE, board()),
        "boards of a condition": lambda: queries.fleet(
            db, BoardFilter(condition=r.choice((Condition.OFFLINE, Condition.READY, Condition.FAILED))), PAGE
        ),
        "boards of a presence": lambda: queries.fleet(db, BoardFilter(BoardPresence.OFFLINE), PAGE, board()),
        "boards of a deployment": lambda: queries.fleet(db, BoardFilter(deployment=deployment()), PAGE),
        "boards of a group": lambda: queries.fleet(db, BoardFilter(group=group()), PAGE),
        "boards of a site": lambda: queries.fleet(db, BoardFilter(site=f"site-{r.randrange(10)}"), PAGE),
        "boards by part of a name": lambda: queries.fleet(db, BoardFilter(text=board()[-4:]), PAGE),
        "boards of a label": lambda: queries.fleet(db, BoardFilter(label=("hall", str(r.randrange(40)))), PAGE),
        "not at target": lambda: status.problems(db, PAGE),
        "not at target, later pages": lambda: status.problems(db, PAGE, (CONDITION_RANKS[Condition.OFFLINE], board())),
        "not at target, of a group": lambda: status.problems(db, PAGE, group=group()),
        "not at target, of a site": lambda: status.problems(db, PAGE, site=f"site-{r.randrange(10)}"),
        "why": lambda: queries.why(db, r.choice((board, flapping))()),
        "board": lambda: queries.board(db, r.choice((board, flapping))()),
        "changed since a moment": lambda: status.changed_since(db, moment()),
        "changed since an event": lambda: status.changed_since(db, event=event()),
        "deployments": lambda: queries.deployments(db, limit=PAGE, after=deployment()),
        "deployment": lambda: queries.deployment(db, deployment()),
        "generations": lambda: queries.generations(db, deployment()),
        "plan": lambda: queries.plan(db, deployment()),
        "hops of a deployment": lambda: hops.deployment_hops(db, deployment(15), now),
        "models": lambda: queries.models(db),
        "gateways": lambda: queries.gateways(db),
        "spread of a model": lambda: spread.model_spread(db, *model()),
        "spread of an artifact": lambda: spread.artifact_spread(db, f"0a{r.randrange(MODELS):062x}"),
        "holders of a model": lambda: spread.holders(db, *model(), PAGE, (4 * r.randrange(size.deployments), board())),
        "sessions of a board": lambda: pages.sessions(db, flapping(), PAGE),
        "availability of a board": lambda: availability.availability(db, board(), *span(720), now=now),
        "availability of one that flaps": lambda: availability.availability(db, flapping(), *span(720), now=now),
        "availability of the fleet": lambda: fleet_presence.fleet_availability(db, *span(720), now=now),
        "board over time": lambda: history.board_over_time(db, board(), *span(r.choice((1, 30, 700))), now=now),
        # Of sixteen stages, so that a page of points is shorter.
        "stages over time": lambda: history.stages_over_time(
            db, *span(r.choice((0.2, 1.4, 80))), deployment=deployment(15), now=now
        ),
        "throughput and latency over time": lambda: history.deployment_over_time(
            db, deployment(30), *span(r.choice((1, 30, 700))), now=now
        ),
        "events": lambda: pages.events(db, EventFilter(), PAGE, event()),
        "events of a time": lambda: pages.events(
            db, EventFilter(since=(at := moment()), until=at + timedelta(1)), PAGE
        ),
        "events of a board": lambda: pages.events(db, EventFilter(board=board()), PAGE),
        "events of a board and a time": lambda: pages.events(
            db, EventFilter(board=board(), since=moment()), PAGE, oldest_first=True
        ),
        "errors since": lambda: pages.events(
            db, EventFilter(severity=Severity.ERROR, since=moment()), PAGE, oldest_first=True
        ),
        "events around a moment": lambda: pages.events_around(db, moment(), PAGE),
        "events of a board around a moment": lambda: pages.events_around(db, moment(), PAGE, board=board()),
        "events of a deployment around a moment": lambda: pages.events_around(
            db, moment(), PAGE, deployment=deployment()
        ),
    }
