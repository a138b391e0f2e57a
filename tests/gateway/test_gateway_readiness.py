"""When a gateway knows that the serving generation answers its golden vector: in virtual time, through the session."""

from __future__ import annotations

import dataclasses

from convoy_controller.gateway.flights import FIRST_TIMEOUT_S
from convoy_controller.gateway.probe import RETRY_S, TRIES
from convoy_controller.gateway.readiness import AGAIN_S, SILENCE_S
from convoy_controller.gateway.session import GatewaySession
from convoy_schema.frames import TensorData
from session_bench import (
    MODEL,
    NAME,
    answer,
    desired,
    feed,
    frames,
    generation,
    golden,
    prove,
    reply,
    report,
    route,
    rows_of,
    started,
)

MODELS = {MODEL.digest: MODEL}


def serving_untested() -> tuple[GatewaySession, list[object]]:
    session = GatewaySession(NAME, 77)
    session.reconnected(0.0)
    return session, list(session.configure(desired(1, feed(route(1))), MODELS, 0.0))


def test_a_generation_it_never_tested_is_ready_once_all_golden_rows_came_back() -> None:
    session, effects = serving_untested()
    (first,) = golden(effects)  # type: ignore[arg-type]
    assert session.is_serving("shop")
    assert not session.is_ready("shop")
    assert "1-1 has not answered" in session.why_not_ready("shop")
    prove(session, reply(session, answer(first), 0.1), 0.1)
    assert session.is_ready("shop")
    session.disconnected(0.2)
    assert not session.is_ready("shop")
    assert session.why_not_ready("shop") == "the gateway has no broker"
    effects = session.reconnected(0.3)  # type: ignore[assignment]
    assert not session.is_ready("shop")
    prove(session, effects, 0.3)  # type: ignore[arg-type]
    assert session.is_ready("shop")


def test_wrong_golden_rows_are_no_evidence_and_are_asked_for_again() -> None:
    session, effects = serving_untested()
    (first,) = golden(effects)  # type: ignore[arg-type]
    shape = first.tensors[0].shape
    wrong = answer(first, tensors=(TensorData("y", shape, bytes([9]) * len(first.tensors[0].data)),))
    reply(session, wrong, 0.1)
    assert not session.is_ready("shop")
    assert "golden row 0" in session.why_not_ready("shop")
    assert not golden(session.tick(0.1 + AGAIN_S / 2))
    prove(session, session.tick(0.1 + AGAIN_S), 0.1 + AGAIN_S)
    assert session.is_ready("shop")


def test_after_an_overdue_answer_golden_rows_are_asked_for_and_decide() -> None:
    session = started(route(1, window=4))
    (sent,) = frames(session.submit(1, "shop", rows_of(2), 30.0, 0.1))
    late = FIRST_TIMEOUT_S + 0.1
    (asked,) = golden(session.tick(late))
    assert session.is_ready("shop"), "it may only be slow"
    again = session.tick(late + FIRST_TIMEOUT_S)
    assert not session.is_ready("shop"), "but golden rows did not come back either"
    reply(session, answer(sent), late + 2)  # one request's answer is no golden vector
    assert not session.is_ready("shop")
    prove(session, reply(session, answer(asked), late + 2), late + 2)  # late is late enough: it was the right answer
    assert session.is_ready("shop")
    assert golden(again)


def test_what_a_probe_gathered_before_a_loss_does_not_count() -> None:
    session, effects = serving_untested()
    (first,) = golden(effects)  # type: ignore[arg-type]
    session.submit(1, "shop", rows_of(2), 30.0, 0.0)
    now = FIRST_TIMEOUT_S
    lost = session.tick(now)
    others = prove(session, reply(session, answer(first), now), now)
    assert golden(lost) or not golden(others)
    assert session.is_ready("shop"), "the second probe began after the loss"


def test_silence_is_tested_and_a_dead_board_found_without_requests() -> None:
    session = started()
    assert not golden(session.tick(SILENCE_S - 0.1))
    (asked,) = golden(session.tick(SILENCE_S))
    assert session.is_ready("shop"), "a question is no doubt"
    assert session.is_busy
    now = SILENCE_S + FIRST_TIMEOUT_S
    assert len(golden(session.tick(now))) == 1
    assert not session.is_ready("shop")
    assert session.pending == 0
    tries = 2
    while session.is_busy:
        now += RETRY_S
        tries += len(golden(session.tick(now)))
        assert now < 60
    assert tries == TRIES
    prove(session, session.tick(now + AGAIN_S), now + AGAIN_S)
    assert session.is_ready("shop")
    assert reply(session, answer(asked), now + 2) == []  # long given up


def test_answers_to_requests_are_a_sign_of_life() -> None:
    session = started()
    for second in range(1, 20):
        (sent,) = frames(session.submit(second, "shop", rows_of(1), 30.0 + second, float(second)))
        reply(session, answer(sent), second + 0.01)
        assert not golden(session.tick(second + 0.5))
    assert session.is_ready("shop")


def test_golden_frames_take_places_of_the_window() -> None:
    session = GatewaySession(NAME, 77)
    session.reconnected(0.0)
    effects = session.configure(desired(1, feed(route(1, window=2))), MODELS, 0.0)
    assert len(golden(effects)) == 1
    assert len(frames(session.submit(1, "shop", rows_of(4), 30.0, 0.0))) == 1
    assert not frames(session.submit(2, "shop", rows_of(4), 30.0, 0.0))
    prove(session, effects, 0.1)
    assert report(session).in_flight[0].frames == 2


def test_a_tested_generation_is_ready_at_the_switch_and_a_rerouted_one_stays_so() -> None:
    session = started()
    effects = session.configure(desired(2, feed(route(1), route(2))), MODELS, 1.0)
    prove(session, effects, 1.0)
    assert report(session).probes[0].passed
    assert not golden(session.configure(desired(3, feed(route(2))), MODELS, 1.1))
    assert session.is_ready("shop")
    narrower = dataclasses.replace(route(2), batch_rows=2)
    effects = session.configure(desired(4, feed(narrower)), MODELS, 1.2)
    assert all(frame.tensors[0].shape[0] <= 2 for frame in golden(effects))
    assert session.is_ready("shop")
    prove(session, effects, 1.2)
    assert report(session).serving == generation(2)
    session.configure(desired(5, feed(None)), MODELS, 1.3)
    assert not session.is_ready("shop")
