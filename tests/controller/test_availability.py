"""How much of a time a board was there, also when its connection came and went within one session."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from convoy_controller.database.availability import Availability, availability
from convoy_controller.database.records import BoardPresence
from convoy_controller.errors import NotFoundError
from database_samples import START, Fleet, open_fleet

HOUR = timedelta(hours=1)


@pytest.fixture
def fleet(tmp_path: Path, database_url: str) -> Iterator[Fleet]:
    made = open_fleet(tmp_path, database_url)
    yield made
    made.database.close()


def asked(fleet: Fleet, since: float, until: float, board: str = "board-1") -> Availability:
    """Of the hours after the start."""
    return availability(fleet.database, board, START + since * HOUR, START + until * HOUR, now=fleet.clock())


def becomes(fleet: Fleet, presence: BoardPresence, after_h: float, session: int = 1) -> None:
    fleet.clock.advance(3600 * after_h)
    fleet.recorder.record_presence("board-1", presence, session, "as it goes")


def test_a_board_that_was_never_seen_is_not_found(fleet: Fleet):
    with pytest.raises(NotFoundError, match="no board 'board-9'"):
        asked(fleet, 0, 1, "board-9")


def test_a_board_that_stays_is_available_from_when_it_was_first_seen(fleet: Fleet):
    becomes(fleet, BoardPresence.ONLINE, 1)
    fleet.clock.advance(3600)
    found = asked(fleet, 0, 9)
    assert (found.since, found.until) == (START + HOUR, START + 2 * HOUR)
    assert (found.online, found.offline, found.unknown) == (HOUR, timedelta(), timedelta())
    assert found.share == 1.0
    assert found.absences == ()


def test_flapping_within_one_session_counts_each_time(fleet: Fleet):
    becomes(fleet, BoardPresence.ONLINE, 0)
    for _ in range(3):
        becomes(fleet, BoardPresence.OFFLINE, 1)
        becomes(fleet, BoardPresence.ONLINE, 0.25)
    found = asked(fleet, 0, 3.75)
    assert found.offline == 0.75 * HOUR
    assert found.online == 3 * HOUR
    assert found.share == 0.8
    assert [(each.began_at, each.ended_at) for each in found.absences] == [
        (START + begin * HOUR, START + (begin + 0.25) * HOUR) for begin in (1.0, 2.25, 3.5)
    ]
    assert {each.reason for each in found.absences} == {"as it goes"}


def test_only_what_lies_inside_the_span_counts(fleet: Fleet):
    becomes(fleet, BoardPresence.ONLINE, 0)
    becomes(fleet, BoardPresence.OFFLINE, 1)  # until hour 3
    becomes(fleet, BoardPresence.ONLINE, 2)
    becomes(fleet, BoardPresence.OFFLINE, 1)  # from hour 4 on
    fleet.clock.advance(3600)
    found = asked(fleet, 2, 9)
    assert (found.until, found.offline, found.online) == (START + 5 * HOUR, 2 * HOUR, HOUR)
    assert [each.ended_at for each in found.absences] == [START + 3 * HOUR, None]


def test_what_was_not_known_is_neither_here_nor_away(fleet: Fleet):
    becomes(fleet, BoardPresence.ONLINE, 0)
    becomes(fleet, BoardPresence.UNKNOWN, 1)
    becomes(fleet, BoardPresence.OFFLINE, 2)
    becomes(fleet, BoardPresence.ONLINE, 1)
    found = asked(fleet, 0, 4)
    assert (found.online, found.unknown, found.offline) == (HOUR, 2 * HOUR, HOUR)
    assert found.share == 0.5
    assert [each.is_certain for each in found.absences] == [False, True]


def test_the_same_presence_again_is_no_second_absence(fleet: Fleet):
    becomes(fleet, BoardPresence.ONLINE, 0)
    becomes(fleet, BoardPresence.OFFLINE, 1)
    becomes(fleet, BoardPresence.OFFLINE, 1, session=2)
    becomes(fleet, BoardPresence.ONLINE, 1, session=2)
    assert len(asked(fleet, 0, 3).absences) == 1


def test_a_clock_set_back_makes_no_negative_time(fleet: Fleet):
    becomes(fleet, BoardPresence.ONLINE, 0)
    becomes(fleet, BoardPresence.OFFLINE, 3)
    becomes(fleet, BoardPresence.ONLINE, -2)
    fleet.clock.advance(2 * 3600)
    found = asked(fleet, 0, 3)
    assert found.offline == timedelta()
    assert found.share == 1.0
