"""Partitions come and go although autovacuum, which nobody can time, is at work on the very table."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from convoy_controller.database import partitions, upkeep
from convoy_controller.database.rollup import BOARDS
from convoy_controller.database.spans import RAW
from database_samples import START, Fleet, open_fleet
from patience import PATIENCE_S
from postgresql_server import PostgresqlServer, started
from ready_databases import ready_postgresql
from sqlalchemy import func, select, text

#: For minutes with a few thousand rows: a page, and then a rest.
SLOWLY = "autovacuum_enabled = true, autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1"
OLD, DEFAULT = "board_samples_p2030010112", "board_samples_default"


@pytest.fixture(scope="module")
def vacuuming() -> Iterator[PostgresqlServer]:
    """A server on which autovacuum runs, once a second, and waits for a lock are looked at soon."""
    with started(autovacuum="on", autovacuum_naptime="1s", deadlock_timeout="300ms") as server:
        yield server


def filled(server: PostgresqlServer, database: str, at: datetime) -> None:
    numbers = "starts, elapsed_ms, frames, rows, refused, control_bytes, artifact_bytes, activation_bytes, queued"
    server.execute(
        f"INSERT INTO board_samples (at, board, {numbers}, rss_bytes)"
        f" SELECT '{at.isoformat()}', 'b' || n % 50, n, n, n, n, n, n, n, n, n, n FROM generate_series(1, 6000) n",
        database=database,
    )


def vacuumed(server: PostgresqlServer, fleet: Fleet, table: str) -> None:
    """Returns while autovacuum is at work on a table, which it will be for long."""
    database = str(fleet.database.engine.url.database)
    server.execute(f"ALTER TABLE {table} SET ({SLOWLY})", f"UPDATE {table} SET queued = 1", database=database)
    working = text("SELECT query FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'")
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with fleet.database.read() as db:
            at_work = " ".join(db.scalars(working))
        if table in at_work:
            return
        assert time.monotonic() < deadline, at_work
        time.sleep(0.05)


def keep(fleet: Fleet, now: datetime, is_date_trusted: bool) -> list[str]:
    """Look after history; the partitions of raw samples that there are then."""
    for _ in upkeep.now_and_then(fleet.database, now, is_date_trusted=is_date_trusted):
        pass
    with fleet.database.read() as db:
        return [part.name for part in partitions.partitions(db.connection(), RAW[0].table)]


def test_autovacuum_lets_go_of_what_is_dropped_and_of_what_rows_are_moved_out_of(
    vacuuming: PostgresqlServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    fleet = open_fleet(tmp_path, ready_postgresql(vacuuming))
    monkeypatch.setattr(partitions, "WAIT_MS", 300)  # a wait that ends before autovacuum lets go ends in vain
    caplog.set_level(logging.WARNING)
    assert OLD in keep(fleet, START, is_date_trusted=False)
    later = START + timedelta(days=1)
    for at in (START, later, later + timedelta(hours=1), later + timedelta(hours=2)):
        filled(vacuuming, str(fleet.database.engine.url.database), at)
    for _ in upkeep.every_minute(fleet.database):
        pass

    vacuumed(vacuuming, fleet, DEFAULT)
    assert f"board_samples_p{later:%Y%m%d%H}" in keep(fleet, later, is_date_trusted=False)
    vacuumed(vacuuming, fleet, OLD)
    assert OLD not in keep(fleet, later + timedelta(hours=2), is_date_trusted=True)
    with fleet.database.read() as db:
        assert db.scalar(select(func.count()).select_from(BOARDS.raw)) == 3 * 6000
    assert caplog.text == ""
    fleet.database.close()
