"""What a board keeps of its log, and what it gives to whoever asks."""

from __future__ import annotations

import logging

import pytest
from convoy_device.journal import FIELDS
from convoy_device.log_ring import (
    KEPT_RECORDS,
    MESSAGE_BYTES,
    PROCESS_BYTES,
    LogRing,
    RingHandler,
    redacted,
    rings_for,
)
from convoy_schema import codec
from convoy_schema.messages.logs import MOST_RECORDS, BoardLog, LogLevel
from hypothesis import given
from hypothesis import strategies as st


def filled(count: int, sentence: str = "line") -> LogRing:
    ring = LogRing()
    for number in range(1, count + 1):
        ring.add(LogLevel.INFO, "daemon", f"{sentence} {number}", {}, float(number))
    return ring


@given(st.lists(st.text(max_size=3000), max_size=40), st.integers(0, 45))
def test_asking_again_and_again_gives_every_record_once_and_each_answer_fits(texts: list[str], first: int) -> None:
    ring = LogRing()
    for text in texts:
        ring.add(LogLevel.WARNING, "a", text, {"deployment": text}, 0.0)
    after, numbers = first, []
    while True:
        answer = codec.decode(BoardLog, codec.encode(ring.after(ring.session, after, 1.0)))
        numbers += [record.number for record in answer.records]
        if not answer.records or answer.records[-1].number == answer.newest:
            break
        after = answer.records[-1].number
    assert numbers == list(range(max(first + 1, answer.oldest), len(texts) + 1))


def test_a_ring_keeps_the_newest_within_its_bounds_and_says_what_is_gone() -> None:
    answer = filled(KEPT_RECORDS + 30).after(1, 0, 0.0)
    assert (answer.oldest, answer.newest) == (31, KEPT_RECORDS + 30)
    assert len(answer.records) == MOST_RECORDS
    small = LogRing(most_bytes=1000)
    for _ in range(100):
        small.add(LogLevel.INFO, "a", "x" * 100, {}, 0.0)
    assert len(small.after(1, 0, 0.0).records) == 4


def test_numbers_of_another_session_are_not_ours() -> None:
    ring = filled(3)
    assert [record.number for record in ring.after(ring.session, 2, 0.0).records] == [3]
    assert [record.number for record in ring.after(ring.session + 1, 2, 0.0).records] == [1, 2, 3]
    assert ring.after(0, 0, 0.0).session == ring.session


def test_an_answer_is_bounded_in_bytes() -> None:
    ring = filled(60, "ä" * 1900)
    answer = ring.after(1, 0, 0.0)
    assert 1 < len(answer.records) < 60
    assert len(codec.encode(answer)) < MESSAGE_BYTES + 10_000


def test_a_record_says_how_long_ago_it_was() -> None:
    ring = filled(1)
    assert ring.after(1, 0, 3.5).records[0].age_ms == 2500


@pytest.mark.parametrize(
    "text",
    [
        "no broker at mqtt://board:hunter2@host:1883 (refused)",
        "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----",
        "cut off: -----BEGIN EC PRIVATE KEY-----\nhunter2",
    ],
)
def test_secrets_are_struck_out(text: str) -> None:
    assert "hunter2" not in redacted(text)
    assert "***" in redacted(text)


@pytest.fixture
def logger() -> logging.Logger:
    return logging.Logger("convoy_device.daemon")


def sentences(ring: LogRing) -> list[str]:
    return [record.sentence for record in ring.after(1, 0, 0.0).records]


def test_each_board_of_a_process_gets_what_speaks_of_it(logger: logging.Logger) -> None:
    rings = rings_for(("board-1", "board-2"))
    logger.addHandler(RingHandler(rings, lambda: 0.0))
    logger.info("board %s: awake", "board-1")
    logger.info("board-2:control:abc: no broker")
    logger.info("of the second", extra={FIELDS: {"board": "board-2", "deployment": "net", "step": "testing"}})
    logger.info("the watchdog is not fed")
    assert sentences(rings["board-1"]) == ["board board-1: awake", "the watchdog is not fed"]
    assert sentences(rings["board-2"]) == [
        "board-2:control:abc: no broker",
        "of the second",
        "the watchdog is not fed",
    ]
    assert rings["board-2"].after(1, 0, 0.0).records[1].deployment == "net"


def test_an_exception_is_named_with_its_place(logger: logging.Logger) -> None:
    rings = rings_for(("board-1",))
    logger.addHandler(RingHandler(rings, lambda: 0.0))
    try:
        raise ValueError("mqtt://u:hunter2@h is bad")
    except ValueError:
        logger.exception("it was not carried out")
    (sentence,) = sentences(rings["board-1"])
    assert sentence.startswith("it was not carried out: ValueError: mqtt://u:***@h is bad (")
    assert "test_log_ring.py:" in sentence


def test_many_boards_of_one_process_share_what_one_may_take() -> None:
    rings = rings_for(tuple(f"b{number}" for number in range(1000)))
    for ring in rings.values():
        for _ in range(20):
            ring.add(LogLevel.INFO, "a", "x" * 200, {}, 0.0)
    kept = sum(len(record.sentence) for ring in rings.values() for record in ring.after(1, 0, 0.0).records)
    assert kept <= PROCESS_BYTES
