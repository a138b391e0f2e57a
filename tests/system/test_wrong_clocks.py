"""Clocks that are decades wrong, or jump: boards, gateway and controller go on, since no date decides anything."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from convoy_controller.database import queries
from convoy_controller.local_fleet import CONTROLLER, GATEWAY
from convoy_schema.bundle import Method
from system_fleet import SystemFleet
from wrong_clock import NOTICED_S, WrongClock, library

pytestmark = pytest.mark.skipif(library() is None, reason="libfaketime (apt package faketime) is not installed")

BIRTH, FAR_FUTURE = "@1970-01-01 00:00:10", "@2099-06-01 12:00:00"
#: As libfaketime takes them, each from the true date.
JUMPS = ("+1y", "-1y")


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[SystemFleet]:
    with SystemFleet(tmp_path) as made:
        yield made


def jump(clock: WrongClock, date: str) -> None:
    """Let it jump, and its processes live with that for a while."""
    clock.set(date)
    time.sleep(NOTICED_S + 0.5)


@pytest.mark.long
def test_boards_and_a_gateway_at_any_date_serve_and_history_keeps_the_controllers_dates(
    fleet: SystemFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = datetime.now(timezone.utc)
    clocks = [WrongClock(tmp_path / f"clock-{n}", date) for n, date in enumerate((BIRTH, FAR_FUTURE, "+0", BIRTH))]
    fleet.publish()
    fleet.local.start_broker("auto")
    fleet.local.start_controller()
    for number, clock in enumerate(clocks[:3], 1):
        fleet.local.start_boards(f"board-{number}", 1, {}, prefix=clock.prefix)
    with monkeypatch.context() as patch:
        for name, value in clocks[3].environment.items():
            patch.setenv(name, value)
        fleet.local.start_gateway()
    fleet.deploy(Method.LIBRARY, 3)
    with fleet.traffic() as traffic:
        for date in JUMPS:
            for clock in clocks[2:]:
                clock.set(date)
            time.sleep(NOTICED_S + 0.5)
            traffic.wait_answers(50)
        # One that comes back in another century is taken in, too.
        clocks[0].set(FAR_FUTURE)
        fleet.local.processes.restart("board-1")
        fleet.wait_serving(3)
        traffic.wait_answers(50)
    traffic.check()
    ended = datetime.now(timezone.utc)
    dates = [event.at for event in fleet.events()]
    for board in fleet.local.boards:
        sessions = queries.board(fleet.database, board).sessions
        assert sessions
        dates += [date for line in sessions for date in (line.started_at, line.ended_at) if date is not None]
    # They did live at other dates: what they log says so.
    assert "1970-01-01" in fleet.log("board-1")
    assert "2099-06-01" in fleet.log("board-2")
    margin = timedelta(seconds=1)
    assert began - margin <= min(dates) <= max(dates) <= ended + margin


@pytest.mark.long
def test_a_controllers_clock_that_jumps_loses_nothing_that_it_keeps(
    fleet: SystemFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = WrongClock(tmp_path / "clock")
    fleet.publish()
    fleet.local.start_broker("auto")
    with monkeypatch.context() as patch:
        for name, value in clock.environment.items():
            patch.setenv(name, value)
        fleet.local.start_controller()
    fleet.local.start_gateway(GATEWAY)
    for number in (1, 2, 3):
        fleet.local.start_board(f"board-{number}")
    fleet.deploy(Method.ALLOCATE, 2)
    known = [event.id for event in fleet.events()]
    with fleet.traffic() as traffic:
        for boards, date in ((3, "+3600"), (2, "-3600"), (3, FAR_FUTURE)):
            jump(clock, date)
            traffic.wait_answers(20)
            fleet.deploy(Method.ALLOCATE, boards)
            assert fleet.online() == {"board-1", "board-2", "board-3"}
        # And one that boots as boards do, with a history from decades later.
        clock.set(BIRTH)
        fleet.local.processes.kill(CONTROLLER)
        fleet.local.processes.restart(CONTROLLER)
        fleet.deploy(Method.ALLOCATE, 2)
        traffic.wait_answers(20)
    traffic.check()
    # Nobody was thought dead, and history is whole and in the order in which it happened, whatever its dates.
    assert not [event.sentence for event in fleet.events("offline")]
    told = [event.id for event in fleet.events()]
    assert told[: len(known)] == known
    assert told == sorted(told)
    assert len(fleet.events("serving")) == 5
    assert {1970, 2099} <= {event.at.year for event in fleet.events()}
