"""Minutes and hours from samples: each sample once, whatever is cut off, repeated, or late."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from convoy_controller.database.engine import Database, open_database
from convoy_controller.database.rollup import BOARDS, FEEDS, NOUNS, STAGES, Step, roll_up, rolled_up_to
from convoy_controller.database.telemetry_tables import RollupMarkRow
from convoy_controller.errors import DatabaseError
from database_samples import START
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, event, insert, select
from sqlalchemy.exc import OperationalError

LATER = timedelta(seconds=1)
Row = dict[str, Any]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = open_database(database_url)
    yield made
    made.close()


def board(second: float, name: str = "a", **values: object) -> Row:
    counts = dict.fromkeys(("starts", "refused", "control_bytes", "artifact_bytes", "activation_bytes"), 0)
    usual = {"elapsed_ms": 1000, "frames": 1, "rows": 2, "queued": 0, "rss_bytes": 9, "temperature_c": None}
    return {"at": START + second * LATER, "board": name, **counts, **usual, **values}


def stage(second: float, **values: object) -> Row:
    key = {"board": "a", "deployment": "d", "generation": "1-1", "stage": 0}
    usual = {"elapsed_ms": 1000, "frames": 1, "rows": 2, "busy_us": 7, "refused": 0, "queued": 0, "residence_us": 5}
    return {"at": START + second * LATER, **key, **usual, **values}


def feed(second: float, **values: object) -> Row:
    counts = dict.fromkeys(("failed", "retried", "late", "refused", "in_flight", "waiting"), 0)
    usual = {"elapsed_ms": 1000, "accepted": 1, "answered": 1, "latency_p50_us": 3, "latency_p99_us": 8, "hop_us": 2}
    key = {"gateway": "g", "deployment": "d", "generation": "1-1"}
    return {"at": START + second * LATER, **key, **counts, **usual, **values}


def add(database: Database, noun: Any, *rows: Row) -> None:
    with database.write() as db:
        db.connection().execute(insert(noun.raw), list(rows))


def rolled(database: Database, noun: Any, step: Step) -> list[Row]:
    table = noun.rolled(step)
    with database.read() as db:
        return [
            dict(row._mapping)
            for row in db.execute(select(table).order_by(table.c.at, *[table.c[name] for name in noun.key]))
        ]


def run(database: Database, chunk_rows: int = 20_000) -> int:
    return sum(sum(roll_up(database, step, chunk_rows)) for step in (Step.MINUTE, Step.HOUR))


def test_a_minute_is_the_sum_of_its_samples_and_the_highest_of_its_gauges(database: Database):
    add(
        database,
        BOARDS,
        board(0, starts=1, queued=3, temperature_c=40.0),
        board(59.999, queued=1, rss_bytes=12, temperature_c=50.0, refused=4),
        board(60, frames=7),
        board(59, name="b"),
    )
    run(database)
    first, other, second = rolled(database, BOARDS, Step.MINUTE)
    assert (first["at"], first["board"], first["samples"], first["starts"]) == (START, "a", 2, 1)
    assert (first["frames"], first["rows"], first["refused"], first["elapsed_ms"]) == (2, 4, 4, 2000)
    assert (first["queued_sum"], first["queued_max"], first["rss_bytes_max"]) == (4, 3, 12)
    assert (first["temperature_sum"], first["temperature_samples"], first["temperature_max"]) == (90.0, 2, 50.0)
    assert (other["board"], other["temperature_samples"], other["temperature_max"]) == ("b", 0, None)
    assert (second["at"], second["frames"]) == (START + 60 * LATER, 7)
    hour = rolled(database, BOARDS, Step.HOUR)[0]
    assert (hour["at"], hour["samples"], hour["frames"], hour["temperature_max"]) == (START, 3, 9, 50.0)


def test_a_residence_is_the_mean_over_frames_and_a_latency_over_answers(database: Database):
    add(database, STAGES, stage(0, frames=1, residence_us=100), stage(1, frames=9, residence_us=200, stage=None))
    add(database, FEEDS, feed(0, answered=0, latency_p99_us=99), feed(1, answered=4, latency_p50_us=5, hop_us=0))
    run(database)
    (one,) = rolled(database, STAGES, Step.HOUR)
    assert (one["residence_us_sum"], one["frames"], one["residence_us_max"], one["stage"]) == (1900, 10, 200, 0)
    (one,) = rolled(database, FEEDS, Step.HOUR)
    assert (one["latency_p50_us_sum"], one["answered"], one["latency_p99_us_max"]) == (20, 4, 8)
    assert (one["hop_us_sum"], one["hop_samples"]) == (2, 1)


def test_a_late_sample_is_added_to_the_minute_it_belongs_to(database: Database):
    add(database, BOARDS, board(0), board(61))
    run(database)
    add(database, BOARDS, board(30, temperature_c=41.5))
    run(database)
    first, second = rolled(database, BOARDS, Step.MINUTE)
    assert (first["samples"], first["temperature_max"], second["samples"]) == (2, 41.5, 1)


def test_running_again_changes_nothing(database: Database):
    add(database, BOARDS, *(board(second) for second in range(100)))
    assert run(database) == 200
    before = rolled(database, BOARDS, Step.MINUTE)
    assert run(database) == 0
    assert rolled(database, BOARDS, Step.MINUTE) == before


def test_what_both_tables_have_may_go(database: Database):
    add(database, BOARDS, *(board(second) for second in range(10)))
    for _ in roll_up(database, Step.MINUTE):
        pass
    with database.read() as db:
        assert rolled_up_to(db, BOARDS) == 0
    run(database)
    with database.read() as db:
        assert rolled_up_to(db, BOARDS) == 10


@pytest.mark.parametrize("steps", range(4))
def test_a_run_that_was_left_half_way_is_finished_by_the_next(database: Database, steps: int):
    add(database, BOARDS, *(board(second) for second in range(25)))
    left = roll_up(database, Step.MINUTE, 10)
    for _ in range(steps):
        next(left)
    left.close()
    run(database)
    assert [row["samples"] for row in rolled(database, BOARDS, Step.MINUTE)] == [25]


def test_a_transaction_that_dies_after_the_sums_leaves_nothing(database: Database):
    add(database, BOARDS, *(board(second) for second in range(25)))

    def die(*arguments: Any) -> None:
        if arguments[2].startswith("INSERT INTO rollup_marks"):
            raise OperationalError("the power went", None, Exception("the power went"))

    event.listen(database.engine, "before_cursor_execute", die)
    with pytest.raises(DatabaseError):
        run(database, 10)
    event.remove(database.engine, "before_cursor_execute", die)
    assert rolled(database, BOARDS, Step.MINUTE) == []
    run(database, 10)
    assert [row["samples"] for row in rolled(database, BOARDS, Step.MINUTE)] == [25]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    made = open_database(f"sqlite:///{tmp_path_factory.mktemp('rollup') / 'convoy.db'}")
    yield made
    made.close()


def emptied(database: Database) -> Database:
    with database.write() as db:
        for noun in NOUNS:
            for table in (noun.raw, noun.minutes, noun.hours):
                db.execute(delete(table))
        db.execute(delete(RollupMarkRow))
    return database


SAMPLES = st.builds(
    board,
    second=st.integers(0, 7300),
    name=st.sampled_from("ab"),
    frames=st.integers(0, 9),
    queued=st.integers(0, 9),
    temperature_c=st.none() | st.sampled_from([-3.5, 40.0, 41.5]),
)


@settings(max_examples=15)
@given(batches=st.lists(st.lists(SAMPLES, min_size=1, max_size=8), max_size=5), chunk=st.integers(1, 7), data=st.data())
def test_it_is_what_one_would_count_by_hand(
    shared: Database, batches: list[list[Row]], chunk: int, data: st.DataObject
):
    """Batches in any order of their dates, rolled up in chunks of any size, wherever each run was left."""
    database = emptied(shared)
    for batch in batches:
        add(database, BOARDS, *batch)
        left = roll_up(database, data.draw(st.sampled_from([Step.MINUTE, Step.HOUR])), chunk)
        for _ in range(data.draw(st.integers(0, 4))):
            next(left, None)
        left.close()
    run(database, chunk)
    samples = [sample for batch in batches for sample in batch]
    for step in (Step.MINUTE, Step.HOUR):
        found = {(row["at"], row["board"]): row for row in rolled(database, BOARDS, step)}
        expected = by_hand(samples, step)
        assert found.keys() == expected.keys()
        for key, row in expected.items():
            assert {name: found[key][name] for name in row} == row


def by_hand(samples: list[Row], step: Step) -> dict[tuple[datetime, str], Row]:
    groups: dict[tuple[datetime, str], list[Row]] = {}
    for sample in samples:
        seconds = (sample["at"] - START) // LATER // step * step
        groups.setdefault((START + seconds * LATER, sample["board"]), []).append(sample)
    return {key: summed(rows) for key, rows in groups.items()}


def summed(rows: list[Row]) -> Row:
    warm = [row["temperature_c"] for row in rows if row["temperature_c"] is not None]
    return {
        "samples": len(rows),
        "frames": sum(row["frames"] for row in rows),
        "queued_sum": sum(row["queued"] for row in rows),
        "queued_max": max(row["queued"] for row in rows),
        "temperature_sum": sum(warm),
        "temperature_samples": len(warm),
        "temperature_max": max(warm, default=None),
    }
