"""What is old goes and what is young stays, on both kinds of database; in PostgreSQL by whole partitions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from convoy_controller.database import partitions, queries, upkeep
from convoy_controller.database.partitions import MOST_PARTITIONS
from convoy_controller.database.records import NewEvent
from convoy_controller.database.rollup import BOARDS
from convoy_controller.database.spans import EVENTS, PARTITIONED, RAW, Kept, Span
from database_samples import START, Fleet, open_fleet
from sqlalchemy import func, insert, select, text

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def fleet(tmp_path: Path, database_url: str) -> Iterator[Fleet]:
    made = open_fleet(tmp_path, database_url)
    yield made
    made.database.close()


def sample(at: datetime, board: str = "a") -> dict[str, Any]:
    counts = ("starts", "elapsed_ms", "frames", "rows", "refused", "queued", "rss_bytes")
    sent = ("control_bytes", "artifact_bytes", "activation_bytes")
    return {"at": at, "board": board, "temperature_c": None, **dict.fromkeys((*counts, *sent), 1)}


def add(fleet: Fleet, *dates: datetime) -> None:
    with fleet.database.write() as db:
        db.connection().execute(insert(BOARDS.raw), [sample(at) for at in dates])


def keep(fleet: Fleet, is_date_trusted: bool = True, keep_rows: int = 0, roll: bool = True) -> None:
    if roll:
        for _ in upkeep.every_minute(fleet.database):
            pass
    for _ in upkeep.now_and_then(fleet.database, fleet.clock(), is_date_trusted=is_date_trusted, keep_rows=keep_rows):
        pass


def count(fleet: Fleet, table: Any) -> int:
    with fleet.database.read() as db:
        return db.scalar(select(func.count()).select_from(table)) or 0


def there(fleet: Fleet, kept: Kept) -> list[partitions.Partition]:
    with fleet.database.read() as db:
        return partitions.partitions(db.connection(), kept.table)


def passes(fleet: Fleet, time: timedelta, every: timedelta) -> None:
    """A sample at each step, and what is looked after now and then."""
    until = fleet.clock() + time
    while fleet.clock() < until:
        add(fleet, fleet.clock())
        keep(fleet)
        fleet.clock.advance(every.total_seconds())


def test_raw_samples_stay_for_hours_minutes_for_days_and_hours_for_long(fleet: Fleet):
    passes(fleet, 5 * DAY, 3 * HOUR)
    # Each span that holds a sample lies hours from the next; the newest three stay, and no more.
    assert count(fleet, BOARDS.raw) in (3, 4)
    assert count(fleet, BOARDS.minutes) in range(3 * 8, 4 * 8 + 1)
    assert count(fleet, BOARDS.hours) == 40


def test_the_old_goes_in_batches(fleet: Fleet, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(upkeep, "BATCH_ROWS", 7)
    old = [START + timedelta(seconds=number) for number in range(50)]
    add(fleet, *old, *(START + (20 + number) * HOUR for number in range(3)))
    fleet.clock.advance(22 * 3600)
    keep(fleet)
    assert count(fleet, BOARDS.raw) == 3


def test_what_is_not_rolled_up_yet_stays(fleet: Fleet):
    for hours in (0, 20, 21, 22):
        fleet.clock.now = START + hours * HOUR
        keep(fleet, roll=False)  # makes partitions
        add(fleet, fleet.clock())
    keep(fleet, roll=False)
    assert count(fleet, BOARDS.raw) == 4
    keep(fleet)
    assert count(fleet, BOARDS.raw) == 3
    assert count(fleet, BOARDS.hours) == 4


def test_a_date_that_is_not_trusted_makes_nothing_old(fleet: Fleet):
    passes(fleet, 4 * HOUR, HOUR)
    fleet.clock.advance(1000 * 86400)
    keep(fleet, is_date_trusted=False)
    assert count(fleet, BOARDS.raw) == 4


def test_a_clock_that_is_wrong_from_the_beginning_takes_little(fleet: Fleet):
    passes(fleet, 4 * HOUR, HOUR)
    fleet.clock.advance(9 * 365 * 86400)
    add(fleet, fleet.clock())
    keep(fleet)
    assert count(fleet, BOARDS.raw) == 3  # the one of the wrong date, and the newest two before
    assert count(fleet, BOARDS.minutes) == 5


# Partitions ----------------------------------------------------------------------------------------------------------


@on_postgresql
def test_partitions_are_there_before_they_are_needed(fleet: Fleet):
    keep(fleet)
    for kept in PARTITIONED:
        spans = [Span(part.begin, part.end) for part in there(fleet, kept) if part.begin is not None]
        assert spans == kept.wanted(fleet.clock())
    add(fleet, fleet.clock(), fleet.clock() + 2 * HOUR)
    with fleet.database.read() as db:
        assert db.scalar(text("SELECT count(*) FROM board_samples_default")) == 0
    before = [there(fleet, kept) for kept in PARTITIONED]
    keep(fleet)
    assert [there(fleet, kept) for kept in PARTITIONED] == before


@on_postgresql
def test_what_lay_in_the_default_partition_moves_into_its_own(fleet: Fleet):
    add(fleet, fleet.clock(), fleet.clock() - 30 * DAY)
    number = fleet.recorder.record_event(NewEvent("told", "before anybody looked"))
    keep(fleet, is_date_trusted=False)
    with fleet.database.read() as db:
        assert db.scalar(text("SELECT count(*) FROM board_samples_default")) == 1
        assert db.scalar(text("SELECT count(*) FROM events_default")) == 0
    assert [line.id for line in queries.events(fleet.database)] == [number]
    assert count(fleet, BOARDS.raw) == 2


@on_postgresql
def test_more_than_can_be_moved_at_once_stays_in_the_default_partition(fleet: Fleet, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(partitions, "MOST_MOVED", 2)
    add(fleet, *(fleet.clock() for _ in range(3)))
    keep(fleet)
    assert [part.begin for part in there(fleet, RAW[0])] == [span.begin for span in RAW[0].wanted(fleet.clock())[1:]]
    assert count(fleet, BOARDS.raw) == 3


@on_postgresql
def test_old_partitions_are_dropped_whole(fleet: Fleet):
    passes(fleet, 8 * HOUR, HOUR)
    now = fleet.clock()
    kept = there(fleet, RAW[0])
    assert min(part.end for part in kept) > now - RAW[0].keep - 2 * HOUR
    assert len(kept) <= 3 + 1 + RAW[0].ahead + 1


@on_postgresql
def test_a_clock_that_leaps_about_makes_few_partitions(fleet: Fleet, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(partitions, "MOST_PARTITIONS", 10)
    for number in range(20):
        fleet.clock.now = START + (number * 7919 % 3000) * DAY
        keep(fleet, is_date_trusted=False)
        add(fleet, fleet.clock())
    assert MOST_PARTITIONS == 100
    assert max(len(there(fleet, kept)) for kept in PARTITIONED) <= 10
    assert count(fleet, BOARDS.raw) == 20


@on_postgresql
def test_events_go_by_weeks_but_for_the_newest(fleet: Fleet):
    numbers = []
    for _ in range(8):
        keep(fleet, is_date_trusted=False)
        numbers.append(fleet.recorder.record_event(NewEvent("told", "one")))
        fleet.clock.advance(7 * 86400)
    keep(fleet, keep_rows=6)
    assert [line.id for line in queries.events(fleet.database)] == numbers[-6:]
    keep(fleet, keep_rows=0)
    # Thirty days are four weeks and a part of one.
    left = [line.id for line in queries.events(fleet.database)]
    assert left == numbers[-5:]
    assert there(fleet, EVENTS)[0].end > fleet.clock() - EVENTS.keep
    assert fleet.recorder.record_event(NewEvent("told", "one")) == numbers[-1] + 1


@on_postgresql
def test_weeks_without_an_event_leave_no_partition_behind(fleet: Fleet):
    for _ in range(9):
        keep(fleet, keep_rows=10)
        fleet.clock.advance(7 * 86400)
    keep(fleet, keep_rows=10)
    left = there(fleet, EVENTS)
    assert left[0].end > fleet.clock() - EVENTS.keep
    assert len(left) <= 5 + 1 + EVENTS.ahead


@on_postgresql
def test_a_reader_in_the_way_is_waited_for_and_then_left_alone(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(partitions, "WAIT_MS", 50)
    passes(fleet, 4 * HOUR, HOUR)
    fleet.clock.advance(3600)
    with fleet.database.engine.begin() as reader:
        reader.execute(text("SELECT count(*) FROM board_samples"))
        keep(fleet)
    assert "locked by another process" in caplog.text
    assert count(fleet, BOARDS.raw) == 4
    keep(fleet)
    assert count(fleet, BOARDS.raw) == 3


@on_postgresql
def test_without_the_right_to_make_tables_nothing_is_lost(fleet: Fleet, caplog: pytest.LogCaptureFixture):
    role = f"writer_{fleet.database.engine.url.database}"
    with fleet.database.write() as db:
        db.execute(text(f"CREATE ROLE {role}"))
        db.execute(text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"))
        db.execute(text(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"))
        db.execute(
            text(
                f"ALTER ROLE {fleet.database.engine.url.username} IN DATABASE"
                f" {fleet.database.engine.url.database} SET role = '{role}'"
            )
        )
    fleet.database.engine.dispose()
    for hours in (0, 1, 2, 30):
        fleet.clock.now = START + hours * HOUR
        add(fleet, fleet.clock())
    keep(fleet)
    assert "a partition of board_samples is not made for now" in caplog.text
    assert count(fleet, BOARDS.raw) == 3
