"""The queries' bench on a small fleet: every query is answered in either database, and by an index."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta

import pytest
from convoy_controller.bench.queries import Ask, explained, questions
from convoy_controller.bench.query_plans import plan_of
from convoy_controller.bench.sample_fleet import SampleFleet, Size
from convoy_controller.database import queries, status
from convoy_controller.database.engine import Database, open_database
from convoy_controller.database.history import deployment_over_time, stages_over_time
from convoy_controller.database.records import CountScope, utc_now
from convoy_controller.database.views import Condition
from postgresql_server import PostgresqlServer

SIZE = Size(1000, 20_000)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleFleet]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('bench') / 'convoy.db'}"
    else:
        server: PostgresqlServer = request.getfixturevalue("shared_postgresql")
        url = server.new_database()
    database = open_database(url)
    made = SampleFleet(database, SIZE, utc_now())
    made.make()
    yield made
    database.close()


def test_the_fleet_is_as_varied_as_real_ones(fleet: SampleFleet):
    (whole,) = status.fleet_by_state(fleet.database)
    assert whole.boards == SIZE.boards
    told = {Condition.OFFLINE, Condition.PRESENCE_UNKNOWN, Condition.FAILED, Condition.DEGRADED, Condition.BLOCKED}
    told |= {Condition.STALE, Condition.DRAINED, Condition.PREPARING, Condition.UNASSIGNED, Condition.READY}
    assert set(whole.conditions) >= {condition.value for condition in told}
    assert whole.problems < SIZE.boards / 10
    groups = status.fleet_by_state(fleet.database, CountScope.GROUP)
    assert [group.boards for group in groups] == [500, 500]
    deployment = queries.deployment(fleet.database, "net-00001")
    assert (deployment.assigned_boards, str(deployment.generation)) == (48, "1-8")
    span = (fleet.now - timedelta(hours=1), fleet.now)
    assert stages_over_time(fleet.database, *span, deployment="net-00000", now=fleet.now).points
    assert deployment_over_time(fleet.database, "net-00000", *span, now=fleet.now).points


def test_every_query_is_carried_by_an_index(fleet: SampleFleet):
    asked: dict[str, Ask] = questions(fleet, random.Random(1))
    scans = {
        name: plan.scans for name, ask in asked.items() if (plan := explained(fleet.database, ask, is_small=True)).scans
    }
    assert scans == {}


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT events.kind FROM events WHERE events.sentence = 'x'",
        "SELECT count(*) FROM board_conditions WHERE sentence = 'x'",
        "SELECT a.id FROM assignments AS a WHERE a.code = 'x'",
    ],
)
def test_a_scan_would_be_found(fleet: SampleFleet, statement: str):
    database: Database = fleet.database
    with database.engine.connect() as connection:
        if database.engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        assert plan_of(connection, statement, (), few=1).scans
