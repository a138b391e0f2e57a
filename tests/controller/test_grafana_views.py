"""The SQL views say what the functions say, in either database; they are what is documented and what the board asks."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from convoy_controller.bench.sample_fleet import SampleFleet, Size
from convoy_controller.database import pages, spread, status
from convoy_controller.database.availability import availability
from convoy_controller.database.engine import open_database
from convoy_controller.database.fleet_presence import fleet_availability
from convoy_controller.database.history import deployment_over_time, stages_over_time
from convoy_controller.database.pages import EventFilter
from convoy_controller.database.records import CountScope, utc_now
from convoy_controller.database.rollup import Step
from convoy_controller.metrics.alerts import history_board_text
from postgresql_server import PostgresqlServer
from sqlalchemy import inspect, text
from sqlalchemy.exc import ProgrammingError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleFleet]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('views') / 'convoy.db'}"
    else:
        server: PostgresqlServer = request.getfixturevalue("shared_postgresql")
        url = server.new_database()
    database = open_database(url)
    made = SampleFleet(database, Size(500, 10_000), utc_now())
    made.make()
    yield made
    database.close()


def rows(fleet: SampleFleet, query: str, **values: Any) -> list[dict[str, Any]]:
    with fleet.database.read() as db:
        return [dict(row) for row in db.execute(text(query), values).mappings()]


def dated(value: Any) -> datetime:
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    return found.replace(tzinfo=timezone.utc) if found.tzinfo is None else found


def text_of(fleet: SampleFleet, value: datetime) -> Any:
    is_sqlite = fleet.database.engine.dialect.name == "sqlite"
    return value.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f") if is_sqlite else value


def test_states(fleet: SampleFleet):
    found = rows(fleet, "SELECT * FROM convoy_fleet_states")
    for scope in CountScope:
        for counts in status.fleet_by_state(fleet.database, scope):
            seen = {r["condition"]: r["boards"] for r in found if (r["scope"], r["name"]) == (scope.value, counts.name)}
            assert seen == counts.conditions


def test_problems(fleet: SampleFleet):
    found = rows(fleet, "SELECT * FROM convoy_problems ORDER BY rank, board")
    wanted = status.problems(fleet.database, 1000)
    assert len(wanted) > 5
    assert [(r["board"], r["condition"], r["sentence"], r["action"], dated(r["changed_at"])) for r in found] == [
        (each.board, each.condition.value, each.sentence, each.action, each.changed_at) for each in wanted
    ]


def test_hours_of_presence(fleet: SampleFleet):
    found = {dated(r["at"]): r for r in rows(fleet, "SELECT * FROM convoy_fleet_hours")}
    hours = fleet_availability(fleet.database, fleet.now - timedelta(days=3), fleet.now, fleet.now).hours
    for hour in hours[:-1]:  # the last one is not over
        row = found[hour.at]
        assert [float(row[name]) for name in ("online", "offline", "unknown")] == pytest.approx(
            [hour.online, hour.offline, hour.unknown]
        )


def test_absences(fleet: SampleFleet):
    found = rows(fleet, "SELECT * FROM convoy_absences WHERE board = 'board-000000' ORDER BY began_at")
    wanted = availability(fleet.database, "board-000000", fleet.now - timedelta(days=40), fleet.now).absences
    assert [dated(r["began_at"]) for r in found] == [each.began_at for each in wanted]


def test_spread(fleet: SampleFleet):
    found = rows(fleet, "SELECT * FROM convoy_model_spread WHERE model = 'model-1' AND version = '2'")
    wanted = spread.model_spread(fleet.database, "model-1", "2")
    counts = Counter({r["phase"]: int(r["boards"]) for r in found})
    assert (counts.total(), counts["ready"], counts["failed"]) == (wanted.boards, wanted.ready, wanted.failed)
    assert sum(int(r["away"]) for r in found) == wanted.away


@pytest.mark.parametrize(
    ("view", "step"), [("convoy_deployment_minutes", Step.MINUTE), ("convoy_deployment_hours", Step.HOUR)]
)
def test_throughput_and_latency(fleet: SampleFleet, view: str, step: Step):
    since = fleet.now - timedelta(days=2)
    wanted = deployment_over_time(fleet.database, "net-00000", since, fleet.now, step=step, now=fleet.now).points
    found = rows(
        fleet,
        f"SELECT * FROM {view} WHERE deployment = 'net-00000' AND at >= :since AND at < :until ORDER BY at",
        since=text_of(fleet, since),
        until=text_of(fleet, fleet.now),
    )
    assert len(wanted) == len(found) > 0
    for row, point in zip(found, wanted, strict=True):
        assert dated(row["at"]) == point.at
        names = ("accepted_per_s", "answered_per_s", "failed", "retried", "latency_p50_us", "latency_p99_us", "hop_us")
        for name in names:
            assert float(row[name]) == pytest.approx(getattr(point, name)), name


def test_stages(fleet: SampleFleet):
    since = fleet.now - timedelta(days=2)
    wanted = stages_over_time(
        fleet.database, since, fleet.now, deployment="net-00000", step=Step.MINUTE, now=fleet.now
    ).points
    found = rows(
        fleet,
        "SELECT * FROM convoy_stage_minutes WHERE deployment = 'net-00000' AND at >= :since AND at < :until "
        "ORDER BY at, stage",
        since=text_of(fleet, since),
        until=text_of(fleet, fleet.now),
    )
    assert len(wanted) == len(found) > 0
    for row, point in zip(found, wanted, strict=True):
        assert (dated(row["at"]), row["stage"], row["boards"]) == (point.at, point.stage, point.boards)
        assert float(row["rows_per_s"]) == pytest.approx(point.rows_per_s)
        assert float(row["residence_us"]) == pytest.approx(point.residence_us)


def test_events(fleet: SampleFleet):
    found = rows(fleet, "SELECT * FROM convoy_events ORDER BY id DESC LIMIT 20")
    wanted = pages.events(fleet.database, EventFilter(), 20)
    assert [(r["id"], r["kind"], r["sentence"]) for r in found] == [(e.id, e.kind, e.sentence) for e in wanted]


def test_every_view_and_column_is_documented(fleet: SampleFleet):
    document = (ROOT / "docs" / "queries.md").read_text(encoding="utf-8")
    told = {name: columns.split(", ") for name, columns in re.findall(r"\| `(convoy_\w+)` \| `([^`]+)` \|", document)}
    with fleet.database.engine.connect() as connection:
        inspector = inspect(connection)
        there = {
            name: [column["name"] for column in inspector.get_columns(name)] for name in inspector.get_view_names()
        }
    assert told == there


# The board ------------------------------------------------------------------------------------------------------------

BOARD: dict[str, Any] = json.loads(history_board_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
VARIABLE = next(each["query"] for each in BOARD["templating"]["list"] if each["type"] == "query")
on_postgresql = pytest.mark.parametrize("fleet", ["postgresql"], indirect=True)


def filled(fleet: SampleFleet, query: str, deployments: list[str]) -> str:
    """As Grafana's PostgreSQL data source fills a query in for the last two days."""
    since, until = (f"'{at:%Y-%m-%dT%H:%M:%S}Z'" for at in (fleet.now - timedelta(days=2), fleet.now))
    chosen = ",".join(f"'{name}'" for name in deployments)
    query = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN {since} AND {until}", query)
    query = query.replace("$__timeFrom()", since).replace("$__timeTo()", until)
    query = query.replace("${deployment:sqlstring}", chosen)
    assert "$" not in query
    return query


class Grafana:
    """Asks as the user whom docs/queries.md makes, who may read the views and nothing else."""

    def __init__(self, fleet: SampleFleet) -> None:
        self.fleet = fleet
        document = (ROOT / "docs" / "queries.md").read_text(encoding="utf-8")
        (block,) = re.findall(r"```sql\n(.*?)```", document, re.DOTALL)
        self.role = f"grafana_{fleet.database.engine.url.database}"
        with fleet.database.engine.begin() as connection:
            for statement in block.replace("grafana", self.role).split(";")[:-1]:
                connection.exec_driver_sql(statement)
        self.deployments = [str(name) for (name,) in self.asked(VARIABLE, [])[1]]

    def asked(self, query: str, deployments: list[str]) -> tuple[list[str], list[Any]]:
        with self.fleet.database.engine.connect() as connection:
            connection.exec_driver_sql(f"SET ROLE {self.role}")
            found = connection.exec_driver_sql(filled(self.fleet, query, deployments).replace("%", "%%"))
            answer = list(found.keys()), [tuple(row) for row in found]
            connection.exec_driver_sql("RESET ROLE")
            return answer


@pytest.fixture(scope="module")
def grafana(fleet: SampleFleet) -> Grafana:
    return Grafana(fleet)


@on_postgresql
def test_every_query_of_the_board_is_answered_with_something_to_show(grafana: Grafana):
    assert len(grafana.deployments) > 2
    for panel in PANELS:
        (target,) = panel["targets"]
        assert target["datasource"] == panel["datasource"] == BOARD["templating"]["list"][1]["datasource"]
        columns, found = grafana.asked(target["rawSql"], grafana.deployments[:2])
        assert found, panel["title"]
        if target["format"] == "time_series":
            assert columns[0] == "time"
            assert all(isinstance(row[0], datetime) and row[0].tzinfo is not None for row in found)
            assert [row[0] for row in found] == sorted(row[0] for row in found)
            names = [name for name in columns[1:] if name != "metric"]
            assert any(row[columns.index(name)] is not None for row in found for name in names), panel["title"]
            assert all(
                isinstance(row[columns.index(name)] or 0, (int, float, Decimal)) for row in found for name in names
            )


@on_postgresql
def test_the_user_of_the_board_may_read_nothing_else(grafana: Grafana):
    with pytest.raises(ProgrammingError, match="permission denied"):
        grafana.asked("SELECT count(*) FROM tokens", [])


def test_the_board_shows_every_view_and_asks_for_a_time_or_so_many():
    queries = [target["rawSql"] for panel in PANELS for target in panel["targets"]]
    document = (ROOT / "docs" / "queries.md").read_text(encoding="utf-8")
    for view in re.findall(r"\| `(convoy_\w+)` \|", document):
        assert any(view in query for query in queries), view
        if view not in ("convoy_fleet_states", "convoy_problems", "convoy_model_spread"):  # what is, not what was
            assert all(re.search(r"\$__time(Filter|From)\(", query) for query in queries if view in query), view
    assert all("LIMIT" in panel["targets"][0]["rawSql"] for panel in PANELS if panel["type"] == "table")
