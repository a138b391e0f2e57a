"""How long a lost board costs, from the event to the first answer of the next generation; and what a stale one adds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from convoy_controller.local_fleet import wait_until
from convoy_schema.bundle import Method
from crash_harness import BOARDS, CrashFleet
from system_fleet import PATIENCE_S, Intruder

#: Seconds a board may cost that is gone, and one that is only silent.
KILLED_S = 3.0
SILENT_S = 6.0


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[CrashFleet]:
    with CrashFleet(tmp_path) as made:
        yield made


@pytest.mark.parametrize("method", [Method.ALLOCATE, pytest.param(Method.LIBRARY, marks=pytest.mark.long)])
def test_a_killed_board_costs_less_than_three_seconds(fleet: CrashFleet, method: Method) -> None:
    fleet.serve_all(method)
    before = fleet.serving_generation()
    with fleet.callers() as flow:
        seconds = flow.wait_recovered(fleet.strike(BOARDS[1]), before)
    print(f"SIGKILL, method {method.value}: {seconds:.2f} s")
    assert seconds < KILLED_S


@pytest.mark.long
def test_a_frozen_board_costs_less_than_six_seconds_and_adds_nothing_when_it_wakes(fleet: CrashFleet) -> None:
    fleet.serve_all()
    before = fleet.serving_generation()
    stale = fleet.plan().stages[1].replicas[0].board
    with Intruder(fleet.local.url) as witness, fleet.callers() as flow:
        seconds = flow.wait_recovered(fleet.freeze(stale), before)
        print(f"SIGSTOP: {seconds:.2f} s")
        flow.wait_answers(60)
        witness.subscribe(f"{fleet.topics.prefix}from/{stale}/#")
        awake = fleet.thaw(stale)
        # It comes back as the same daemon, in the same session, and is taken in again.
        fleet.wait_serving(3)
        flow.wait_answers(60)
        late = [answer for answer in flow.timeline.answers() if answer.came_at > awake and answer.generation == before]
        assert late == []
        spoken = [topic for topic, _ in witness.all_heard() if f"/{before}/" in topic]
        # What it had taken before it froze may leave it once; nobody takes it, and nothing new follows.
        assert len(spoken) <= 64, spoken
        now = fleet.serving_generation()
        assert wait_until(lambda: any(f"/{now}/" in topic for topic, _ in witness.all_heard()), PATIENCE_S)
    assert seconds < SILENT_S


@pytest.mark.long
def test_a_board_that_froze_for_longer_than_the_broker_waits_is_taken_in_again(fleet: CrashFleet) -> None:
    fleet.serve_all()
    with fleet.callers(rate=30) as flow:
        fleet.freeze(BOARDS[0])
        time.sleep(9.0)  # the broker has ended its connection, and published its will
        fleet.thaw(BOARDS[0])
        fleet.wait_serving(3)
        flow.wait_answers(30)
