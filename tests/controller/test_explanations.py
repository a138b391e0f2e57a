"""The sentence for each fault, as a pure function of a board's facts: what is told first, since when, what to do."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from convoy_controller.database.explanations import CURES, explain
from convoy_controller.database.records import BoardPresence, GenerationState, Symptom, SymptomKind
from convoy_controller.database.views import Assigned, BoardFacts, Condition
from convoy_schema.messages.boards import Phase
from convoy_schema.names import Generation
from database_samples import START

LATER = START + timedelta(minutes=5)


def assigned(phase: Phase = Phase.READY, **fields: Any) -> Assigned:
    known = Assigned(
        "digits", Generation(1, 2), GenerationState.SERVING, 0, 2, ("conv1",), {}, phase, "", 0, 0, "", "", False, START
    )
    return dataclasses.replace(known, **fields)


def facts(*symptoms: Symptom, **fields: Any) -> BoardFacts:
    """A board in order that serves, but for `fields`."""
    known = BoardFacts(
        board="board-1",
        presence=BoardPresence.ONLINE,
        presence_since=START,
        presence_reason="",
        first_seen=START,
        last_seen=START,
        session=7,
        session_started=START,
        session_ended=None,
        session_reason="",
        part="part",
        fabric="emulated",
        software="convoy-fleet 0.1",
        is_described=True,
        shell="partitions",
        blocked="",
        degraded=(),
        desired=(1, 1),
        desired_at=START,
        reported=(1, 1),
        reported_at=LATER,
        assigned=assigned(),
        symptoms=symptoms,
    )
    return dataclasses.replace(known, **fields)


def symptom(kind: SymptomKind, **figures: Any) -> Symptom:
    return Symptom(kind, START, figures)


FLAPPING = symptom(SymptomKind.FLAPPING, returns=5, sessions=5)
SLOW = symptom(SymptomKind.SLOW_LINK, of="uplink", us=180_000, peers_us=900)
BUSY = symptom(SymptomKind.OVERLOADED, deployment="digits", waiting_rows=900, queued=60, room=64, refused=0)
NEW = symptom(SymptomKind.UNREADABLE, current=3, oldest=2)
OLD = symptom(SymptomKind.UNREADABLE, current=0, oldest=0)


def stalled(phase: Phase = Phase.FETCHING, why: str = "nothing arrives there") -> Symptom:
    figures = {"deployment": "digits", "generation": "1-2", "step": "2 artifacts to come", "why": why}
    return symptom(SymptomKind.STALLED, phase=phase.value, done_bytes=10, total_bytes=30, **figures)


def test_nothing_is_wrong() -> None:
    answer = explain(facts())
    assert (answer.condition, answer.action) == (Condition.READY, "nothing to do")
    assert not answer.condition.is_problem


@pytest.mark.parametrize("presence", BoardPresence)
@pytest.mark.parametrize("first_seen", [START, None])
def test_a_revoked_certificate_is_told_before_all_else(presence: BoardPresence, first_seen: object) -> None:
    answer = explain(
        facts(NEW, FLAPPING, presence=presence, first_seen=first_seen, revoked_at=LATER, revoked_reason="stolen")
    )
    assert (answer.condition, answer.since) == (Condition.REVOKED, LATER)
    assert answer.sentence.startswith(
        "board-1 is shut out: its certificate was revoked at 2030-01-01 12:05:00 UTC, for 'stolen'; the broker takes "
        f"nothing from it and it is {presence.value}"
    )
    assert "convoy board invite" in answer.action


def test_a_revoked_bundle_is_told_from_a_revoked_certificate() -> None:
    message = "bundle 1 of digits (version 1) was revoked: serial 2 is the lowest that may run"
    failed = assigned(Phase.FAILED, code="below-floor", message=message, failing_since=LATER)
    answer = explain(facts(assigned=failed))
    assert (answer.condition, answer.since, answer.blocked_by) == (Condition.REVOKED, LATER, message)
    assert "has stopped stage 1 of 2 of digits (generation 1-2), since the bundle was revoked" in answer.sentence
    assert answer.action == CURES["below-floor"]


@pytest.mark.parametrize(
    ("found", "words", "action"),
    [
        (NEW, "it needs protocol 2 or newer, 1 is spoken here", "update the controller and its gateways"),
        (OLD, "it speaks protocol 0, 1 or newer is needed here", "update the board: `convoy-device upgrade`"),
    ],
)
def test_a_version_out_of_range_names_the_side_to_update(found: Symptom, words: str, action: str) -> None:
    for known in (facts(found), facts(found, first_seen=None, assigned=None, presence=BoardPresence.OFFLINE)):
        answer = explain(known)
        assert (answer.condition, answer.since, answer.blocked_by) == (Condition.VERSION_OUT_OF_RANGE, START, words)
        assert words in answer.sentence
        assert answer.action.startswith(action)


@pytest.mark.parametrize("presence", BoardPresence)
def test_flapping_is_told_whether_the_board_is_there_just_now_or_not(presence: BoardPresence) -> None:
    answer = explain(facts(FLAPPING, presence=presence, session_reason="the connection was lost"))
    assert (answer.condition, answer.since) == (Condition.FLAPPING, START)
    assert "5 times within minutes, 5 of these times as a new session; its daemon dies" in answer.sentence
    assert "journalctl" in answer.action


def test_a_connection_that_flaps_is_told_from_a_daemon_that_does() -> None:
    answer = explain(facts(symptom(SymptomKind.FLAPPING, returns=4, sessions=1)))
    assert "each time in the same session; its connection breaks" in answer.sentence
    assert "network" in answer.action


def test_stuck_in_fetching_says_where_since_when_and_why() -> None:
    answer = explain(facts(stalled(), assigned=assigned(Phase.FETCHING)))
    assert (answer.condition, answer.since) == (Condition.STUCK, START)
    assert answer.sentence == (
        "board-1 is stuck in fetching at 10 of 30 bytes for stage 1 of 2 of digits (generation 1-2): nothing has moved "
        "since 2030-01-01 12:00:00 UTC; nothing arrives there."
    )


def test_stuck_in_another_phase() -> None:
    answer = explain(facts(stalled(Phase.CONFIGURING, why=""), assigned=assigned(Phase.CONFIGURING)))
    assert answer.condition is Condition.STUCK
    assert answer.actual == "stuck in configuring"
    assert "power-cycle" in answer.action


@pytest.mark.parametrize("phase", [Phase.READY, Phase.FAILED])
def test_what_is_done_is_not_stuck(phase: Phase) -> None:
    assert explain(facts(stalled(), assigned=assigned(phase))).condition is not Condition.STUCK


CODES = {
    "shell-mismatch": Condition.WRONG_SHELL,
    "part-mismatch": Condition.WRONG_SHELL,
    "module-missing": Condition.WRONG_SHELL,
    "store-full": Condition.STORE_FULL,
    "self-test": Condition.FAILED,
    "unheard-of": Condition.FAILED,
}


@pytest.mark.parametrize(("code", "condition"), CODES.items())
@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.IDLE, Phase.FETCHING, Phase.TESTING])
def test_what_it_failed_at_is_told_while_it_tries_again(code: str, condition: Condition, phase: Phase) -> None:
    failed = assigned(phase, code=code, message="it broke", failing_since=LATER, retryable=code == "store-full")
    answer = explain(facts(assigned=failed))
    assert (answer.condition, answer.since, answer.blocked_by) == (condition, LATER, "it broke")
    assert "it broke" in answer.sentence
    assert answer.action


@pytest.mark.parametrize(("code", "condition"), [*CODES.items(), ("stalled", Condition.STUCK)])
def test_what_it_is_left_out_for_is_told(code: str, condition: Condition) -> None:
    answer = explain(facts(assigned=None, given_up="it broke", given_up_at=LATER, given_up_code=code))
    assert (answer.condition, answer.since, answer.blocked_by) == (condition, LATER, "it broke")


def test_what_people_tell_apart_is_told_though_it_serves_others_or_is_tried_again() -> None:
    given_up = {"given_up": "no room", "given_up_at": LATER, "given_up_code": "store-full"}
    serving, again = explain(facts(**given_up)), explain(facts(**given_up, assigned=assigned(Phase.FETCHING)))
    assert serving.condition is again.condition is Condition.STORE_FULL
    assert serving.sentence.endswith("Meanwhile board-1 serves stage 1 of 2 of digits (generation 1-2).")
    assert again.sentence.endswith("It is tried again: fetching for stage 1 of 2 of digits (generation 1-2).")
    other = explain(facts(given_up="it broke", given_up_at=LATER, given_up_code="self-test"))
    assert other.condition is Condition.READY
    assert "It was to take up something else: it broke" in other.sentence


def test_a_degraded_partition_says_why_whether_its_stage_fails_or_was_given_up() -> None:
    broken = {"degraded": ("west",), "degraded_since": START}
    failed = assigned(Phase.FAILED, code="fabric", message="reads back as nothing", failing_since=LATER)
    for known in (
        facts(**broken, assigned=failed),
        facts(
            **broken, assigned=assigned(Phase.CONFIGURING, code="fabric", message=failed.message, failing_since=LATER)
        ),
        facts(**broken, assigned=None, given_up=failed.message, given_up_at=LATER, given_up_code="fabric"),
    ):
        answer = explain(known)
        assert (answer.condition, answer.since) == (Condition.DEGRADED, START)
        assert "partition west of shell partitions failed to configure" in answer.sentence
        assert answer.sentence.endswith("The last attempt: reads back as nothing.")
    assert explain(facts(**broken)).condition is Condition.DEGRADED


def test_a_degraded_board_with_a_full_store_is_told_of_the_store() -> None:
    failed = assigned(Phase.FAILED, code="store-full", message="no room", failing_since=LATER)
    assert explain(facts(degraded=("west",), assigned=failed)).condition is Condition.STORE_FULL


def test_a_slow_link_is_told_beside_its_peers() -> None:
    answer = explain(facts(SLOW, BUSY))
    assert (answer.condition, answer.since) == (Condition.SLOW_LINK, START)
    assert "its frames wait 180 ms for their way out, 0.9 ms at the boards it works with" in answer.sentence
    assert "convoy board drain board-1" in answer.action
    far = explain(facts(symptom(SymptomKind.SLOW_LINK, of="round-trip", us=600_000, peers_us=3_000)))
    assert "the way to the broker and back takes 600 ms, 3.0 ms at the boards it works with" in far.sentence


def test_overload_says_what_waits_where() -> None:
    answer = explain(facts(BUSY))
    assert (answer.condition, answer.since) == (Condition.OVERLOADED, START)
    assert "900 rows of digits wait at the gateways, and 60 of 64 frames before this board" in answer.sentence
    assert "convoy scale digits" in answer.action
    refused = symptom(SymptomKind.OVERLOADED, deployment="", waiting_rows=0, queued=0, room=0, refused=12)
    assert "had no room for frames of digits and refused 12" in explain(facts(refused)).sentence


@pytest.mark.parametrize("found", [SLOW, BUSY])
def test_a_board_that_serves_nothing_is_neither_slow_nor_overloaded(found: Symptom) -> None:
    assert explain(facts(found, assigned=None)).condition is Condition.UNASSIGNED
    assert explain(facts(found, assigned=assigned(Phase.LOADING))).condition is Condition.PREPARING
