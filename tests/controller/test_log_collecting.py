"""Bringing boards' logs into the database: the core by itself, then the controller over a real broker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from convoy_controller.database import log_records
from convoy_controller.database.engine import open_database
from convoy_controller.database.log_records import KEPT_LINES, log_lines, log_state, pending_requests, request_log
from convoy_controller.database.recorder import Recorder
from convoy_controller.database.records import BoardPresence, LogOutcome, LogRequest, utc_now
from convoy_controller.errors import NotFoundError
from convoy_controller.log_collecting import ASK_AGAIN_S, GIVE_UP_S, MOST_MESSAGES, Answer, Ask, Keep, LogCollector
from convoy_schema.messages.logs import BoardLog, LogLevel, LogRecord


def records(*numbers: int, level: LogLevel = LogLevel.INFO) -> tuple[LogRecord, ...]:
    return tuple(LogRecord(number, 1000, level, "daemon", f"line {number}") for number in numbers)


def asked(collector: LogCollector, request: LogRequest, now: float = 0.0) -> list[Any]:
    return collector.requested([request], lambda board: True, now)


def test_a_board_is_asked_for_what_is_not_here_yet() -> None:
    collector = LogCollector()
    assert asked(collector, LogRequest("a", 3, 7, 20)) == [Ask("a", 7, 20)]
    assert asked(collector, LogRequest("a", 4, 7, 20)) == []
    assert collector.heard("a", BoardLog(7, 1, 22, records(19, 21, 22)), 0.1) == [
        Keep("a", 7, records(21, 22), 0),
        Answer("a", 3, LogOutcome.COLLECTED),
    ]


def test_it_is_asked_again_until_its_last_record_and_no_longer_than_is_good() -> None:
    collector = LogCollector()
    asked(collector, LogRequest("a", 1, 0, 0))
    assert collector.heard("a", BoardLog(7, 5, 10_000, records(5, 6)), 0.1) == [
        Keep("a", 7, records(5, 6), 4),
        Ask("a", 7, 6),
    ]
    for number in range(7, 6 + MOST_MESSAGES):
        effects = collector.heard("a", BoardLog(7, 5, 10_000, records(number)), 0.1)
        assert effects is not None
    assert effects == [Keep("a", 7, records(number), 0), Answer("a", 1, LogOutcome.COLLECTED)]
    assert collector.heard("a", BoardLog(7, 5, 10_000, records(9000)), 0.1) is None


def test_a_new_session_begins_with_its_first_record() -> None:
    collector = LogCollector()
    asked(collector, LogRequest("a", 1, 7, 500))
    assert collector.heard("a", BoardLog(8, 1, 2, records(1, 2)), 0.1) == [
        Keep("a", 8, records(1, 2), 0),
        Answer("a", 1, LogOutcome.COLLECTED),
    ]


def test_records_that_do_not_grow_are_dropped() -> None:
    collector = LogCollector()
    asked(collector, LogRequest("a", 1, 0, 0))
    effects = collector.heard("a", BoardLog(7, 1, 3, records(2, 1, 3, 3, 99)), 0.1)
    assert effects is not None
    assert effects[0] == Keep("a", 7, records(2, 3), 1)


def test_a_lost_message_is_asked_for_again_and_then_given_up() -> None:
    collector = LogCollector()
    asked(collector, LogRequest("a", 1, 7, 2))
    assert collector.tick(ASK_AGAIN_S - 0.1) == []
    assert collector.tick(ASK_AGAIN_S) == [Ask("a", 7, 2)]
    assert collector.tick(GIVE_UP_S) == [Answer("a", 1, LogOutcome.SILENT)]
    assert collector.heard("a", BoardLog(7, 1, 3, records(3)), 2.1) is None


def test_a_board_that_is_away_is_not_asked() -> None:
    collector = LogCollector()
    assert collector.requested([LogRequest("a", 1, 0, 0)], lambda board: False, 0.0) == [
        Answer("a", 1, LogOutcome.OFFLINE)
    ]
    assert collector.heard("a", BoardLog(7, 1, 1, records(1)), 0.1) is None


# In the database -----------------------------------------------------------------------------------------------------


@pytest.fixture
def recorder(tmp_path: Path) -> Any:
    database = open_database(f"sqlite:///{tmp_path / 'convoy.db'}")
    made = Recorder(database)
    made.record_presence("a", BoardPresence.ONLINE, 7)
    yield made
    database.close()


def test_requests_and_lines_come_together_and_go_with_their_board(recorder: Recorder) -> None:
    database = recorder._database
    assert request_log(database, "a") == 1
    assert pending_requests(database) == (LogRequest("a", 1, 0, 0),)
    recorder.record_log("a", 7, records(1, 2), 0)
    recorder.record_log("a", 7, records(2, 3), 0)
    recorder.answer_log_request("a", 1, LogOutcome.COLLECTED)
    assert [line.number for line in log_lines(database, "a")] == [1, 2, 3]
    assert pending_requests(database) == ()
    assert request_log(database, "a") == 2
    assert pending_requests(database) == (LogRequest("a", 2, 7, 3),)
    state = log_state(database, "a")
    assert (state.asked, state.answered, state.outcome, state.is_online) == (2, 1, LogOutcome.COLLECTED, True)
    recorder.forget_board("a")
    recorder.record_log("a", 7, records(4), 0)  # on its way when the board was forgotten
    recorder.record_presence("a", BoardPresence.ONLINE, 8)
    assert log_lines(database, "a") == ()


def test_what_matters_less_and_what_is_older_can_be_left_out(recorder: Recorder) -> None:
    database = recorder._database
    request_log(database, "a")
    recorder.record_log("a", 7, (*records(1), *records(2, level=LogLevel.ERROR)), 0)
    assert [line.number for line in log_lines(database, "a", level=LogLevel.WARNING)] == [2]
    assert log_lines(database, "a", since=utc_now()) == ()
    first = log_lines(database, "a", 1, after=0)
    assert [line.number for line in first] == [1]
    assert [line.number for line in log_lines(database, "a", after=first[0].id)] == [2]


def test_a_chatty_board_fills_nothing(recorder: Recorder) -> None:
    database = recorder._database
    request_log(database, "a")
    for first in range(1, KEPT_LINES + 500, 100):
        recorder.record_log("a", 7, records(*range(first, first + 100)), 0)
    lines = log_lines(database, "a", 10_000)
    assert len(lines) == KEPT_LINES
    assert lines[-1].number == KEPT_LINES + 500


def test_a_board_whose_records_have_impossible_ages_is_kept(recorder: Recorder) -> None:
    request_log(recorder._database, "a")
    recorder.record_log("a", 7, (LogRecord(1, 2**63 - 1, LogLevel.INFO, "daemon", "old"),), 0)
    assert [line.sentence for line in log_lines(recorder._database, "a")] == ["old"]


@pytest.mark.parametrize("call", [request_log, log_state, log_lines])
def test_a_board_that_nobody_knows_is_named(recorder: Recorder, call: Any) -> None:
    with pytest.raises(NotFoundError, match="there is no board 'x'"):
        call(recorder._database, "x")


def test_an_old_request_is_nobodys(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    request_log(recorder._database, "a")
    monkeypatch.setattr(log_records, "STALE_S", 0.0)
    assert pending_requests(recorder._database) == ()
