"""A deployment's pipeline: rates, what hops take, and which part a frame spends most of its time in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from convoy_controller.database.pipeline import HopFlow, StageFlow, pipeline, slowest
from convoy_controller.errors import NotFoundError
from convoy_schema.messages.boards import Published, Pulse, StagePulse
from convoy_schema.names import Generation
from database_samples import Fleet, three_boards


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = three_boards(tmp_path)
    yield made
    made.database.close()


def run(fleet: Fleet, seconds: int = 8, uplink_us: int = 0, residence_us: int = 2_000) -> None:
    """Both boards compute 100 rows a second; board-2 is busy for half of it."""
    for second in range(1, seconds + 1):
        fleet.clock.advance(1)
        for board, busy_us, wait_us in (("board-1", 100_000, uplink_us), ("board-2", 500_000, 0)):
            stage = StagePulse(
                "digits", Generation(1, 1), 50 * second, 100 * second, 3, 61, busy_us * second, residence_us
            )
            pulse = Pulse(1, 1, 1, 1000, 1000 * second, 1, (stage,), Published())
            fleet.recorder.record_pulse(board, replace(pulse, uplink_us=wait_us, round_trip_us=400))


def test_rates_and_times_of_stages_and_hops(fleet: Fleet) -> None:
    run(fleet)
    found = pipeline(fleet.database, "digits", fleet.clock.now)
    assert [stage.stage for stage in found.stages] == [0, 1]
    assert [stage.rows_per_s for stage in found.stages] == pytest.approx([100, 100], rel=0.05)
    assert [stage.busy for stage in found.stages] == pytest.approx([0.1, 0.5], rel=0.05)
    assert [stage.residence_us for stage in found.stages] == pytest.approx([2_000, 2_000])
    assert [(hop.to, hop.us, hop.slowest) for hop in found.hops] == [
        (0, 200, ""),
        (1, 400, "board-1"),
        (2, 200, "board-2"),
    ]
    assert found.planned_rows_per_s == 100
    assert found.slowest in (("stage", 0), ("stage", 1))
    assert (found.stages[1].boards[0].queued, found.stages[1].boards[0].room) == (3, 64)


def test_a_slow_link_is_the_bottleneck_of_its_pipeline(fleet: Fleet) -> None:
    run(fleet, uplink_us=180_000)
    found = pipeline(fleet.database, "digits", fleet.clock.now)
    assert found.slowest == ("hop", 1)
    assert found.hops[1] == HopFlow(1, pytest.approx(100, rel=0.05), 180_400, "board-1")


def test_where_nothing_flows_nothing_is_slowest(fleet: Fleet) -> None:
    found = pipeline(fleet.database, "digits", fleet.clock.now)
    assert (found.slowest, found.rows_per_s) == (None, 0)
    assert [stage.residence_us for stage in found.stages] == [None, None]


def test_what_was_not_placed_has_no_pipeline(fleet: Fleet) -> None:
    with pytest.raises(NotFoundError):
        pipeline(fleet.database, "nobody")


def test_the_slowest_is_where_a_frame_is_longest() -> None:
    stages = [StageFlow(number, (), (), (), 10.0, 0.5, us) for number, us in ((0, 100.0), (1, 900.0))]
    hops = [HopFlow(number, 10.0, us, "") for number, us in ((0, 50.0), (1, 800.0), (2, None))]
    assert slowest(stages, hops) == ("stage", 1)
    assert slowest(stages, [replace(hops[1], us=1000.0)]) == ("hop", 1)
    assert slowest([], []) is None
