"""Throughput, latency and temperature over time, from what boards and gateways say to what is asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import msgpack
import pytest
from convoy_controller.database import history, queries
from convoy_controller.database.intents import request_deployment
from convoy_controller.database.models import BoardStatisticsRow
from convoy_controller.database.recorder import Recorder
from convoy_controller.database.rollup import Step, roll_up
from convoy_schema import codec
from convoy_schema.messages.boards import Published, Pulse, StagePulse
from convoy_schema.messages.gateways import FeedReport, GatewayReported, InFlight
from convoy_schema.names import Generation
from database_samples import START, Fleet, intent, open_fleet, publish
from sqlalchemy import select

GENERATION = Generation(1, 1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def fleet(tmp_path: Path, database_url: str) -> Iterator[Fleet]:
    """Two boards, a stage each."""
    made = open_fleet(tmp_path, database_url)
    publish(made.database, tmp_path)
    request_deployment(made.database, intent(model="tiny"))
    for board in ("board-1", "board-2"):
        made.online(board)
    made.place(("board-1", "board-2"))
    yield made
    made.database.close()


def pulse(second: int, frames: int, session: int = 1, **values: object) -> Pulse:
    stage = StagePulse("digits", GENERATION, frames, 4 * frames, 2, 3, 400_000 * second, 900)
    said = Pulse(session, 1, 4, 1000, 1000 * second, 50, (stage,), Published(10 * second, 20 * second, 30 * second))
    return replace(said, **values)  # type: ignore[arg-type]


def runs(fleet: Fleet, seconds: range, frames_per_s: int, board: str = "board-1", session: int = 1) -> None:
    """A pulse a second."""
    for second in seconds:
        said = pulse(
            second - seconds.start + 1, (second - seconds.start + 1) * frames_per_s, session, temperature_c=41.0
        )
        fleet.recorder.record_pulse(board, said, START + timedelta(seconds=second))


def feed(answered: int, **values: object) -> FeedReport:
    flying = (InFlight(GENERATION, 3),)
    return replace(FeedReport("digits", GENERATION, flying, (), 5, answered, answered), **values)  # type: ignore[arg-type]


def feeds(fleet: Fleet, seconds: range, per_s: int, gateway: str = "gw") -> None:
    """A report a second."""
    for second in seconds:
        said = feed((second - seconds.start) * per_s, latency_p50_us=700, latency_p99_us=900 + second, hop_us=60)
        reported = GatewayReported(1, 1, 1, "http://g", (said,), Published())
        fleet.recorder.record_gateway_reported(gateway, reported, START + timedelta(seconds=second))


def roll(fleet: Fleet) -> None:
    for step in (Step.MINUTE, Step.HOUR):
        for _ in roll_up(fleet.database, step):
            pass


def total(points: tuple[history.BoardPoint, ...]) -> float:
    """Frames: rates times the time that they are over."""
    return sum(point.frames_per_s * point.samples for point in points)


def beginning(step: Step) -> datetime:
    return START.replace(hour=0) if step is Step.DAY else START


@pytest.mark.parametrize("step", Step)
def test_a_board_over_time(fleet: Fleet, step: Step):
    runs(fleet, range(120), 7)
    roll(fleet)
    found = history.board_over_time(fleet.database, "board-1", START, START + 60 * MINUTE, step=step)
    assert found.step is step
    assert len(found.points) == {Step.RAW: 12, Step.MINUTE: 2, Step.HOUR: 1, Step.DAY: 1}[step]
    assert sum(point.samples for point in found.points) == 120
    first = found.points[0]
    assert (first.at, first.starts, first.frames_per_s, first.rows_per_s) == (beginning(step), 1, 7.0, 28.0)
    assert (first.control_bytes_per_s, first.artifact_bytes_per_s, first.activation_bytes_per_s) == (10.0, 20.0, 30.0)
    assert (first.queued, first.queued_max, first.rss_bytes_max) == (2.0, 2, 50)
    assert (first.temperature_c, first.temperature_max) == (41.0, 41.0)
    assert history.board_over_time(fleet.database, "board-9", START, START + MINUTE, step=step).points == ()


@pytest.mark.parametrize("step", Step)
def test_stages_over_time_are_the_sum_over_their_boards(fleet: Fleet, step: Step):
    fleet.place(("board-1",), counter=2)
    runs(fleet, range(60), 7)
    runs(fleet, range(60), 7, "board-2")
    roll(fleet)
    end = START + 60 * MINUTE
    found = history.stages_over_time(fleet.database, START, end, deployment="digits", step=step).points
    assert [(point.at, point.stage, point.boards) for point in found[:2]] == [
        (beginning(step), 0, 1),
        (beginning(step), 1, 1),
    ]
    share = min(1, 60 / step)  # of an hour it ran for a minute
    assert found[0].frames_per_s == pytest.approx(7 * share)
    assert found[0].rows_per_s == pytest.approx(28 * share)
    assert (found[0].busy, found[0].residence_us, found[0].residence_us_max) == (pytest.approx(0.4), 900.0, 900)
    of_board = history.stages_over_time(fleet.database, START, end, board="board-2", generation="1-1", step=step).points
    assert {(point.deployment, point.stage, point.boards) for point in of_board} == {("digits", 1, 1)}
    assert (
        history.stages_over_time(fleet.database, START, end, board="board-2", generation="9-9", step=step).points == ()
    )


def test_stages_of_nothing_are_refused(fleet: Fleet):
    with pytest.raises(ValueError, match="a deployment or a board"):
        history.stages_over_time(fleet.database, START, START + MINUTE)


@pytest.mark.parametrize("step", Step)
def test_a_deployment_over_time_is_the_sum_over_its_gateways(fleet: Fleet, step: Step):
    feeds(fleet, range(61), 10, "gw-1")
    feeds(fleet, range(61), 20, "gw-2")
    roll(fleet)
    found = history.deployment_over_time(fleet.database, "digits", START, START + 60 * MINUTE, step=step).points
    answered = sum(point.answered_per_s for point in found) * step
    assert answered == pytest.approx(60 * 30)
    whole = found[1] if step is Step.RAW else found[0]
    assert (whole.latency_p50_us, whole.hop_us) == (700.0, 60.0)
    assert whole.latency_p99_us in (919, 959, 960)
    assert (whole.in_flight, whole.in_flight_max, whole.waiting) == (6.0, 3, 10.0)
    one = history.deployment_over_time(
        fleet.database, "digits", START, START + MINUTE, gateway="gw-1", step=step
    ).points
    assert sum(point.answered_per_s for point in one) * step in (pytest.approx(590), pytest.approx(600))


def test_where_nothing_is_answered_there_is_no_latency(fleet: Fleet):
    for second in range(3):
        said = GatewayReported(1, 1, 1, "http://g", (feed(0, latency_p50_us=700, serving=None),), Published())
        fleet.recorder.record_gateway_reported("gw", said, START + timedelta(seconds=second))
    (point,) = history.deployment_over_time(fleet.database, "digits", START, START + MINUTE, now=START).points
    assert (point.latency_p50_us, point.latency_p99_us, point.hop_us, point.answered_per_s) == (None, None, None, 0.0)


# What restarts --------------------------------------------------------------------------------------------------------


def counted(fleet: Fleet) -> tuple[float, float]:
    """Frames in the samples, and in the hours."""
    roll(fleet)
    seen = [
        history.board_over_time(fleet.database, "board-1", START, START + 60 * MINUTE, step=step)
        for step in (Step.RAW, Step.HOUR)
    ]
    return total(seen[0].points), total(seen[1].points)


def test_a_restart_of_the_daemon_is_no_negative_rate(fleet: Fleet):
    runs(fleet, range(30), 10)
    runs(fleet, range(30, 60), 10, session=2)
    points = history.board_over_time(fleet.database, "board-1", START, START + MINUTE, step=Step.RAW).points
    assert {point.frames_per_s for point in points} == {10.0}
    assert sum(point.starts for point in points) == 2
    assert counted(fleet) == (600.0, 600.0)


def test_a_restart_of_the_controller_counts_nothing_twice(fleet: Fleet):
    fleet.recorder.record_pulse("board-1", pulse(1, 10), START)
    fleet.recorder = Recorder(fleet.database, fleet.clock)
    fleet.recorder.record_pulse("board-1", pulse(1, 10), START + timedelta(milliseconds=1))
    fleet.recorder = Recorder(fleet.database, fleet.clock)
    fleet.recorder.record_pulse("board-1", pulse(11, 110), START + timedelta(seconds=10))
    points = history.board_over_time(fleet.database, "board-1", START, START + MINUTE, step=Step.RAW).points
    assert [(point.samples, point.frames_per_s) for point in points] == [(2, 10.0), (1, 10.0)]


def test_a_transaction_that_was_undone_counts_nothing_and_is_made_up_for(fleet: Fleet):
    fleet.recorder.record_pulse("board-1", pulse(1, 10), START)
    with contextlib.suppress(ZeroDivisionError), fleet.recorder.transaction():
        fleet.recorder.record_pulse("board-1", pulse(2, 20), START + timedelta(seconds=1))
        _ = 1 / 0
    fleet.recorder.record_pulse("board-1", pulse(3, 30), START + timedelta(seconds=2))
    (point,) = history.board_over_time(fleet.database, "board-1", START, START + MINUTE, step=Step.RAW).points
    assert (point.samples, point.frames_per_s) == (2, 10.0)


def test_a_new_reign_begins_with_what_the_database_knows(fleet: Fleet):
    fleet.recorder.record_pulse("board-1", pulse(1, 10), START)
    other = Recorder(fleet.database, fleet.clock)
    other.record_pulse("board-1", pulse(2, 20), START + timedelta(seconds=1))
    fleet.recorder.raise_counters(epoch=1)
    fleet.recorder.reign = 1
    fleet.recorder.record_pulse("board-1", pulse(3, 30), START + timedelta(seconds=2))
    (point,) = history.board_over_time(fleet.database, "board-1", START, START + MINUTE, step=Step.RAW).points
    assert (point.samples, point.frames_per_s) == (3, 10.0)


def test_a_pulse_is_kept_as_it_came(fleet: Fleet):
    """Also with fields that this version does not know; who begins with what the database knows can read it."""
    came = msgpack.packb({**msgpack.unpackb(codec.encode(pulse(1, 10))), "new": 1})
    fleet.recorder.record_pulse("board-1", pulse(1, 10), START, came)
    with fleet.database.read() as db:
        assert db.scalar(select(BoardStatisticsRow.pulse)) == came
    Recorder(fleet.database, fleet.clock).record_pulse("board-1", pulse(2, 20), START + timedelta(seconds=1))
    (point,) = history.board_over_time(fleet.database, "board-1", START, START + MINUTE, step=Step.RAW).points
    assert (point.samples, point.starts, point.frames_per_s) == (2, 1, 10.0)


def test_a_board_that_was_forgotten_may_come_back(fleet: Fleet):
    runs(fleet, range(3), 1, "board-3")
    with fleet.recorder.transaction():
        fleet.recorder.record_pulse("board-3", pulse(9, 9), START + timedelta(seconds=8))
        fleet.recorder.forget_board("board-3")
    runs(fleet, range(10, 13), 1, "board-3", session=2)
    points = history.board_over_time(fleet.database, "board-3", START, START + MINUTE, step=Step.RAW).points
    assert [(point.samples, point.starts) for point in points] == [(4, 1), (3, 1)]


def test_many_pulses_of_a_batch_are_a_sample_each_and_the_last_is_the_latest(fleet: Fleet):
    with fleet.recorder.transaction():
        runs(fleet, range(5), 1, "board-7")
    found = history.board_over_time(fleet.database, "board-7", START, START + MINUTE, step=Step.RAW).points
    assert [point.samples for point in found] == [5]
    latest = queries.board(fleet.database, "board-7").statistics
    assert latest is not None
    assert latest.frames == 5


# Which step fits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ago", "length", "step"),
    [
        (timedelta(hours=1), timedelta(hours=1), Step.RAW),
        (timedelta(hours=3), timedelta(minutes=5), Step.RAW),
        (timedelta(hours=2), timedelta(hours=2), Step.MINUTE),
        (timedelta(hours=4), timedelta(minutes=5), Step.MINUTE),
        (timedelta(hours=36), timedelta(hours=36), Step.MINUTE),
        (timedelta(days=4), timedelta(minutes=5), Step.HOUR),
        (timedelta(days=30), timedelta(days=30), Step.HOUR),
        (timedelta(days=365), timedelta(days=365), Step.DAY),
    ],
)
def test_the_step_fits_the_span(ago: timedelta, length: timedelta, step: Step):
    now: datetime = START
    assert history.fitting(now - ago, now - ago + length, now) is step


@pytest.mark.parametrize(
    ("length", "step"),
    [
        (timedelta(minutes=20), Step.RAW),
        (timedelta(hours=2), Step.MINUTE),
        (timedelta(hours=36), Step.HOUR),
        (timedelta(days=30), Step.DAY),
    ],
)
def test_many_series_are_shown_by_coarser_steps(length: timedelta, step: Step):
    assert history.fitting(START - length, START, START, series=16) is step
