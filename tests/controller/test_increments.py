"""Counters as increments: nothing negative, nothing twice, whatever restarts."""

from __future__ import annotations

from dataclasses import replace

from convoy_controller.database.increments import grown, of_board, of_gateway
from convoy_schema.messages.boards import Published, Pulse, StagePulse
from convoy_schema.messages.gateways import FeedReport, GatewayReported
from convoy_schema.names import Generation
from hypothesis import given
from hypothesis import strategies as st

COUNT = st.integers(0, 10**6)
FIRST, SECOND = Generation(1, 1), Generation(1, 2)


def stage(frames: int, generation: Generation = FIRST, **values: int) -> StagePulse:
    return replace(StagePulse("digits", generation, frames, 4 * frames, 0, 3, 10 * frames, 0), **values)


def pulse(*stages: StagePulse, session: int = 1, uptime_ms: int = 0, control: int = 0, **values: object) -> Pulse:
    published = Published(control, 2 * control, 3 * control)
    return replace(Pulse(session, 1, 1, 1000, uptime_ms, 7, stages, published), **values)  # type: ignore[arg-type]


def feed(accepted: int, answered: int) -> FeedReport:
    return FeedReport("digits", FIRST, (), (), accepted=accepted, answered=answered)


def reported(*feeds: FeedReport, session: int = 1) -> GatewayReported:
    return GatewayReported(session, 1, 1, "http://g", feeds, Published())


def test_the_first_pulse_counts_from_the_start_of_its_session():
    board, (one,) = of_board(None, pulse(stage(5, queued=2), uptime_ms=900, control=10, temperature_c=40.5))
    assert (board["starts"], board["elapsed_ms"], board["frames"], board["rows"]) == (1, 900, 5, 20)
    assert (board["control_bytes"], board["artifact_bytes"], board["activation_bytes"]) == (10, 20, 30)
    assert (board["queued"], board["temperature_c"]) == (2, 40.5)
    assert (one["deployment"], one["generation"], one["elapsed_ms"], one["busy_us"]) == ("digits", "1-1", 900, 50)


def test_the_next_one_counts_from_there():
    before = pulse(stage(5, refused={"budget": 2}), uptime_ms=900, control=10, refused={"decode": 1})
    now = pulse(stage(9, refused={"budget": 2, "shape": 1}), uptime_ms=1900, control=11, refused={"decode": 4})
    board, (one,) = of_board(before, now)
    assert (board["starts"], board["elapsed_ms"], board["frames"], board["control_bytes"]) == (0, 1000, 4, 1)
    assert (one["refused"], board["refused"]) == (1, 4)


def test_a_restarted_daemon_begins_anew():
    board, (one,) = of_board(pulse(stage(9), uptime_ms=9000, control=9), pulse(stage(2), session=2, uptime_ms=400))
    assert (board["starts"], board["elapsed_ms"], board["frames"], board["control_bytes"]) == (1, 400, 2, 0)
    assert one["busy_us"] == 20


def test_a_stage_that_leaves_and_one_that_comes_make_nothing_negative():
    board, (one,) = of_board(pulse(stage(9), uptime_ms=1), pulse(stage(2, SECOND), uptime_ms=2))
    assert (board["frames"], one["frames"], one["generation"]) == (2, 2, "1-2")


def test_a_stage_that_is_taken_up_again_begins_anew_in_every_counter():
    again = stage(2, busy_us=95)  # more than the 90 of before, of much slower frames
    _, (one,) = of_board(pulse(stage(9), uptime_ms=1), pulse(again, uptime_ms=2))
    assert (one["frames"], one["busy_us"]) == (2, 95)


def test_the_same_message_again_adds_nothing():
    said = pulse(stage(9), uptime_ms=1, control=4, refused={"decode": 3})
    board, (one,) = of_board(said, said)
    counters = ("starts", "elapsed_ms", "frames", "rows", "refused", "control_bytes", "activation_bytes")
    assert [board[name] for name in counters] == [0] * 7
    assert (one["frames"], one["busy_us"]) == (0, 0)


def test_a_gateway_counts_from_the_report_before_and_anew_after_a_restart():
    (one,) = of_gateway(reported(feed(10, 8)), reported(feed(15, 14)), 1000)
    assert (one["accepted"], one["answered"], one["elapsed_ms"], one["generation"]) == (5, 6, 1000, "1-1")
    (one,) = of_gateway(reported(feed(10, 8)), reported(feed(3, 3), session=2), 1000)
    assert (one["accepted"], one["answered"]) == (3, 3)
    (one,) = of_gateway(None, reported(replace(feed(3, 3), serving=None)), 0)
    assert (one["accepted"], one["generation"]) == (3, "")


def test_a_clock_set_back_makes_no_negative_time():
    assert of_gateway(reported(feed(1, 1)), reported(feed(2, 2)), -5000)[0]["elapsed_ms"] == 0


@given(before=COUNT, now=COUNT)
def test_a_counter_never_shrinks(before: int, now: int):
    assert 0 <= grown(before, now) <= now


@given(runs=st.lists(st.lists(st.integers(0, 50), min_size=1), min_size=1))
def test_increments_add_up_to_what_every_run_counted(runs: list[list[int]]):
    """Each run is a session: the frames between its pulses."""
    before, total = None, 0
    for session, steps in enumerate(runs, 1):
        frames = 0
        for number, step in enumerate(steps):
            frames += step
            now = pulse(stage(frames), session=session, uptime_ms=1000 * number)
            board, _ = of_board(before, now)
            assert min(value for value in board.values() if isinstance(value, int)) >= 0
            total += board["frames"]
            before = now
    assert total == sum(map(sum, runs))
