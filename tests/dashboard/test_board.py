"""The page of one board: why, what to do, what it holds, how it does, what happened, and its log."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from convoy_controller.dashboard.board_sight import Presence
from convoy_controller.dashboard.pages.board import (
    assignment_row,
    partition_row,
    presence_text,
    temperature_text,
    throughput_text,
)
from convoy_controller.database.availability import Absence
from convoy_controller.database.history import BoardPoint
from convoy_controller.database.log_records import log_state
from convoy_controller.database.queries import board as board_of
from convoy_controller.database.records import LogOutcome, NewEvent
from convoy_schema.messages.boards import PartitionReport, Phase
from convoy_schema.messages.logs import LogLevel, LogRecord
from database_samples import START, Fleet
from playwright.sync_api import expect
from served import Sight


def test_it_says_why_the_board_is_not_at_target_and_follows_it(sight: Sight, fleet: Fleet):
    page = sight.open("/boards/board-1")
    why = page.get_by_role("region", name="Why it is where it is")
    expect(why).to_contain_text("ready")
    fleet.clock.advance(1)
    fleet.at("board-1", Phase.FETCHING, done_bytes=250_000, total_bytes=1_000_000)
    expect(why).to_contain_text("board-1 is fetching (250000 of 1000000 bytes)")
    expect(page.get_by_role("progressbar", name="Fetched: 250.0 kB of 1.0 MB")).to_have_attribute("value", "250000")
    fleet.clock.advance(1)
    fleet.at("board-1", Phase.FAILED, code="signature", message="the signature is wrong", retryable=False)
    expect(why).to_contain_text("the signature is wrong")
    expect(why).to_contain_text("To do: give the board this fleet's keys/trusted.pem")
    expect(page.get_by_role("region", name="Partitions").get_by_role("row", name="p0")).to_contain_text("conv2d")
    fleet.recorder.record_event(NewEvent("noted", "board-1 was looked at", board="board-1"))
    expect(page.get_by_role("region", name="Newest events")).to_contain_text("board-1 was looked at")
    fleet.clock.advance(1)
    fleet.at("board-1", Phase.READY)


def test_its_log_is_fetched_by_a_button(sight: Sight, fleet: Fleet):
    page = sight.open("/boards/board-2")
    page.get_by_role("button", name="Fetch the log").click()
    page.get_by_text("Asked; it answers within a few seconds").wait_for()
    assert log_state(fleet.database, "board-2").asked == 1
    record = LogRecord(1, 1000, LogLevel.WARNING, "convoy_device.link", "the broker went away")
    fleet.recorder.record_log("board-2", 1, [record], 0)
    fleet.recorder.answer_log_request("board-2", 1, LogOutcome.COLLECTED)
    expect(page.get_by_role("region", name="Log of board-2")).to_contain_text("the broker went away")
    expect(page.get_by_text("Asked; it answers")).to_have_count(0)


def test_a_board_that_was_never_seen_is_said_to_be(sight: Sight):
    page = sight.open("/boards/nobody")
    expect(page.get_by_role("main")).to_contain_text("nobody was never seen")
    expect(page.get_by_role("heading", name="Partitions")).to_have_count(0)


# In words -------------------------------------------------------------------------------------------------------------


def test_a_degraded_partition_is_told_by_a_word():
    row = partition_row(PartitionReport("p1", None, False, degraded=True), "conv2d")
    assert row.cells[1:3] == ("blank", "conv2d")
    assert row.cells[3][0]["text"] == "degraded"  # type: ignore[index]


def test_a_failed_assignment_says_message_and_code(fleet: Fleet):
    fleet.at("board-2", Phase.FAILED, code="topology", message="no such layer")
    [assigned] = board_of(fleet.database, "board-2").assignments
    told = " ".join(part["text"] for part in assignment_row(assigned).cells[3])  # type: ignore[index]
    assert told == "failed no such layer (code topology)"


@pytest.mark.parametrize(
    ("share", "absences", "expected"),
    [
        (1.0, 0, "There for 100.00 % of the last 7 d."),
        (0.995, 1, "There for 99.50 % of the last 7 d, and away once."),
        (0.5, 3, "There for 50.00 % of the last 7 d, and away 3 times."),
        (None, 0, "Whether it was there is not known."),
    ],
)
def test_presence_in_words(share: float | None, absences: int, expected: str):
    away = tuple(Absence(START, START, True, 1, "gone") for _ in range(absences))
    assert presence_text(Presence(timedelta(days=7), share, away)) == expected


def point(seconds: int, rows_per_s: float, temperature_c: float | None) -> BoardPoint:
    at = datetime(2030, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)
    rest = (rows_per_s, 0, 0.0, 0.0, 0.0, 0.0, 0, 0)
    return BoardPoint(at, 1, 0, rows_per_s, *rest, temperature_c, temperature_c)


def test_charts_in_words():
    points = (point(0, 100.0, 40.0), point(10, 300.0, 44.5), point(20, 200.0, None))
    assert throughput_text(points) == "200.0 a second last; at most 300.0, on average 200.0."
    assert temperature_text(points) == "44.5 °C last; at most 44.5 °C."
    assert throughput_text(()) == "Nothing was heard in this time."
    assert "no temperature" in temperature_text((point(0, 1.0, None),))
