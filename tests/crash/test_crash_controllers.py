"""Two controllers on one fleet: one is in charge, the other says why it is not, and is there when it is needed."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from convoy_controller.database import queries
from convoy_controller.database.records import GenerationState
from convoy_controller.local_fleet import CONTROLLER, SINGLE_THREADED, wait_until
from convoy_schema.bundle import Method
from crash_harness import CrashFleet
from system_fleet import PATIENCE_S

SECOND = "controller-2"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[CrashFleet]:
    with CrashFleet(tmp_path) as made:
        yield made


def start_second(fleet: CrashFleet) -> None:
    first = fleet.local.processes[CONTROLLER]
    log = fleet.directory / "logs" / f"{SECOND}.log"
    fleet.local.processes.start(SECOND, first.argv, log, env=SINGLE_THREADED)
    fleet.wait_log(SECOND, "standing by: controller ")


def generations(fleet: CrashFleet) -> list[tuple[str, GenerationState]]:
    return [(str(line.generation), line.state) for line in queries.generations(fleet.database, "small")]


def wait_in_charge(fleet: CrashFleet, times: int) -> None:
    assert wait_until(lambda: len(fleet.events("in-charge")) == times, PATIENCE_S, 0.05), fleet.complaint()


def test_the_second_says_why_it_stands_by_and_takes_over_from_one_that_was_killed(fleet: CrashFleet) -> None:
    fleet.serve_all()
    before = generations(fleet)
    with fleet.callers() as flow:
        start_second(fleet)
        assert "is in charge, epoch 1" in fleet.wait_event("standby").sentence
        time.sleep(2.0)
        assert len(fleet.events("in-charge")) == 1
        assert fleet.log(CONTROLLER).count("standing by") == 0
        since = fleet.strike(CONTROLLER)
        wait_in_charge(fleet, 2)
        print(f"taken over after {time.monotonic() - since:.1f} s")
        fleet.wait_boards("board-1", "board-2", "board-3")
        assert generations(fleet) == before
        fleet.deploy(Method.ALLOCATE, 2)
        flow.wait_answered_by("2-2")
        # The first one is started again, and finds that it is not needed.
        fleet.local.processes.restart(CONTROLLER)
        fleet.wait_log(CONTROLLER, "standing by: controller ")
        fleet.deploy(Method.ALLOCATE, 3)
        flow.wait_answered_by("2-3")
    assert flow.timeline.generations == {"1-1", "2-2", "2-3"}


def freeze_between_writes(fleet: CrashFleet) -> None:
    """Stopped in the middle of a write it would keep SQLite's lock until it wakes, and its successor waiting."""
    path = fleet.local.home.database_url.removeprefix("sqlite:///")
    while True:
        fleet.freeze(CONTROLLER)
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=0.5, isolation_level=None)) as db:
                db.execute("BEGIN IMMEDIATE")
                db.execute("ROLLBACK")
            return
        except sqlite3.OperationalError:
            fleet.thaw(CONTROLLER)
            time.sleep(0.1)


@pytest.mark.long
def test_one_that_slept_stands_back_when_it_wakes(fleet: CrashFleet) -> None:
    fleet.serve_all()
    with fleet.callers() as flow:
        start_second(fleet)
        freeze_between_writes(fleet)
        wait_in_charge(fleet, 2)
        fleet.deploy(Method.ALLOCATE, 2)
        settled = generations(fleet)
        fleet.thaw(CONTROLLER)
        fleet.wait_log(CONTROLLER, "standing by: controller ")
        fleet.deploy(Method.ALLOCATE, 3)
        flow.wait_answers(60)
    assert len(fleet.events("in-charge")) == 2
    # It decided nothing meanwhile: what there is now is what its successor made.
    assert [number for number, _ in generations(fleet)] == ["2-3", *(number for number, _ in settled)]
    assert fleet.online() == {"board-1", "board-2", "board-3"}
