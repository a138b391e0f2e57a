"""The fleet's availability: what its hours add up to is what its boards' absences do."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from convoy_controller.database import presence_hours
from convoy_controller.database.availability import availability
from convoy_controller.database.fleet_presence import fleet_availability
from convoy_controller.database.models import BoardRow
from convoy_controller.database.records import BoardPresence
from database_samples import START, Fleet, open_fleet
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

HOUR = timedelta(hours=1)
steps = st.lists(
    st.tuples(st.sampled_from(("a", "b", "c")), st.sampled_from(BoardPresence), st.integers(0, 5000)),
    min_size=1,
    max_size=20,
)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an empty database, to be copied."""
    folder = tmp_path_factory.mktemp("empty")
    open_fleet(folder).database.close()
    return folder


@settings(max_examples=10)
@given(steps, st.integers(0, 12))
def test_hours_add_up_to_what_the_boards_were(
    empty: Path,
    tmp_path_factory: pytest.TempPathFactory,
    changes: list[tuple[str, BoardPresence, int]],
    fold_hours: int,
):
    fleet = open_fleet(Path(shutil.copytree(empty, tmp_path_factory.mktemp("fleet"), dirs_exist_ok=True)))
    for board in ("a", "b"):
        fleet.online(board)
    for number, (board, state, seconds) in enumerate(changes):
        fleet.clock.advance(seconds)
        if board == "c" and number == 0:
            fleet.online("c")
        fleet.recorder.record_presence(board, state, 1 + number % 2)
    fleet.clock.advance(700)
    now = fleet.clock()
    for since, until in ((START, now), (START + 2 * HOUR, START + 4 * HOUR), (now - HOUR, now)):
        found = fleet_availability(fleet.database, since, until, now)
        compare(fleet, found.since, found.until, (found.online_s, found.offline_s, found.unknown_s))
    before = fleet_availability(fleet.database, START + fold_hours * HOUR, now, now)
    with fleet.database.write() as db:
        presence_hours.fold(db, START + fold_hours * HOUR)
    assert fleet_availability(fleet.database, START + fold_hours * HOUR, now, now) == before
    fleet.database.close()


def compare(fleet: Fleet, since: object, until: object, totals: tuple[float, ...]) -> None:
    with fleet.database.read() as db:
        boards = list(db.scalars(select(BoardRow.name).where(BoardRow.first_seen.is_not(None))))
    each = [availability(fleet.database, board, since, until, now=fleet.clock()) for board in boards]  # type: ignore[arg-type]
    wanted = [sum(getattr(one, name).total_seconds() for one in each) for name in ("online", "offline", "unknown")]
    assert list(totals) == pytest.approx(wanted, abs=1e-3)


def test_a_forgotten_board_counts_until_then(tmp_path_factory: pytest.TempPathFactory):
    fleet = open_fleet(tmp_path_factory.mktemp("fleet"))
    fleet.online("a")
    fleet.online("b")
    fleet.recorder.record_presence("b", BoardPresence.OFFLINE, 1)
    fleet.clock.advance(3600)
    fleet.recorder.forget_board("b")
    fleet.clock.advance(3600)
    found = fleet_availability(fleet.database, START, fleet.clock(), fleet.clock())
    assert (found.online_s, found.offline_s, found.share) == (7200.0, 3600.0, pytest.approx(2 / 3))
    assert [(hour.online, hour.offline) for hour in found.hours] == [(1.0, 1.0), (1.0, 0.0)]
    fleet.database.close()


def test_of_nothing_there_is_no_share(tmp_path_factory: pytest.TempPathFactory):
    fleet = open_fleet(tmp_path_factory.mktemp("fleet"))
    found = fleet_availability(fleet.database, START, START + HOUR, START + HOUR)
    assert (found.share, found.online_s, len(found.hours)) == (None, 0.0, 1)
    assert fleet_availability(fleet.database, START, START - HOUR, START).hours == ()
    fleet.database.close()
