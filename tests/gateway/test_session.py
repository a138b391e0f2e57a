"""The gateway's core in virtual time: no broker, no clock, every decision from (event, now)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from convoy_controller.errors import DeadlineError, InvalidInputError, ModelChangedError, NotServingError, OverloadError
from convoy_controller.gateway.effects import Complete, Effect, Fail, Report, SendFrame
from convoy_controller.gateway.flights import FIRST_TIMEOUT_S
from convoy_controller.gateway.lane import HOLD_S, SWITCH_GRACE_S
from convoy_controller.gateway.session import GatewaySession, Limits
from convoy_schema import codec
from convoy_schema.frames import MAX_FRAME, TensorData
from gateway_models import identity
from numpy.typing import NDArray
from session_bench import (
    MODEL,
    NAME,
    STAGES,
    answer,
    desired,
    feed,
    frames,
    generation,
    only,
    reply,
    report,
    route,
    rows_of,
    started,
    topic_of,
)


def sendings(effects: Sequence[Effect]) -> list[SendFrame]:
    return [effect for effect in effects if isinstance(effect, SendFrame) and effect.frame.requests]


def test_a_request_goes_out_as_one_frame_and_comes_back_complete() -> None:
    session = started()
    (sent,) = session.submit(1, "shop", rows_of(3), 30.0, 0.5)
    assert isinstance(sent, SendFrame)
    assert sent.receiver == "a"
    frame = sent.frame
    assert (frame.deployment, frame.generation, frame.stage, frame.gateway) == ("shop", generation(1), 0, NAME)
    assert frame.batch[0] == 77
    assert frame.requests == (1,)
    assert frame.budget_ms == pytest.approx(29_500)
    assert frame.tensors == (TensorData("x", (3, 3), rows_of(3).tobytes()),)
    (done,) = reply(session, answer(frame), 0.6)
    assert isinstance(done, Complete)
    assert done.request == 1
    assert done.generation == generation(1)
    np.testing.assert_array_equal(done.outputs, rows_of(3))
    state = report(session)
    assert (state.accepted, state.answered, state.failed, state.in_flight) == (1, 1, 0, ())
    assert state.latency_p50_us == state.latency_p99_us == 99_999


def test_a_hop_is_what_stages_did_not_take_of_the_round_trip() -> None:
    session = started()
    assert report(session).hop_us == 0
    for ident in range(1, 4):
        (sent,) = frames(session.submit(ident, "shop", rows_of(3), 30.0, float(ident)))
        reply(session, answer(sent, residence_us=(10_000, 20_000, 30_000)), ident + 0.1)
    # 100 ms, of which 60 in three stages: 40 over four hops.
    assert report(session).hop_us == pytest.approx(10_000, abs=2)
    (sent,) = frames(session.submit(9, "shop", rows_of(3), 30.0, 10.0))
    session.configure(desired(2, feed(route(2))), {MODEL.digest: MODEL}, 10.05)
    assert report(session).hop_us == 0  # nothing of the new pipeline is known yet
    reply(session, answer(sent, residence_us=(2**60,)), 10.1)
    assert report(session).hop_us == 0


def test_a_request_larger_than_a_batch_is_split_and_put_together_in_order() -> None:
    session = started(route(1, window=8, rows=4))
    sent = frames(session.submit(1, "shop", rows_of(11), 30.0, 0.0))
    assert [frame.tensors[0].shape[0] for frame in sent] == [4, 4, 3]
    assert not reply(session, answer(sent[2]), 0.1)
    assert not reply(session, answer(sent[0]), 0.1)
    (done,) = reply(session, answer(sent[1]), 0.1)
    assert isinstance(done, Complete)
    np.testing.assert_array_equal(done.outputs, rows_of(11))


def test_rows_of_several_requests_share_a_batch_once_the_window_is_full() -> None:
    session = started(route(1, window=1, rows=4))
    (first,) = frames(session.submit(1, "shop", rows_of(1), 30.0, 0.0))
    for ident in (2, 3, 4):
        assert not session.submit(ident, "shop", rows_of(2, ident), 30.0, 0.0)
    (second,) = frames(reply(session, answer(first), 0.1))
    assert second.requests == (2, 3)
    assert second.tensors[0].shape == (4, 3)
    effects = reply(session, answer(second), 0.2)
    assert {effect.request for effect in effects if isinstance(effect, Complete)} == {2, 3}
    for effect in effects:
        if isinstance(effect, Complete):
            np.testing.assert_array_equal(effect.outputs, rows_of(2, effect.request))
    assert frames(effects)[0].requests == (4,)


def test_the_urgent_are_sent_first_and_the_patient_are_not_forgotten() -> None:
    session = started(route(1, window=1, rows=4))
    (sent,) = frames(session.submit(1, "shop", rows_of(4), 60.0, 0.0))
    session.submit(2, "shop", rows_of(4), 60.0, 0.0, 8)
    order = []
    for second in range(1, 12):
        now = float(second)
        session.submit(10 + second, "shop", rows_of(4), 60.0, now, 1)
        (sent,) = frames(reply(session, answer(sent), now))
        order.append(sent.requests)
    assert order[:6] == [(10 + second,) for second in range(1, 7)]
    assert order[6] == (2,), "seven levels are worth seven seconds, and of equals the first to come goes first"


def test_a_full_pipeline_holds_small_batches_back_but_not_for_long() -> None:
    session = started(route(1, window=64, rows=4))
    now = 0.0
    for ident in range(STAGES + 1):
        assert len(frames(session.submit(ident, "shop", rows_of(1), 30.0, now))) == 1
    assert not session.submit(10, "shop", rows_of(1), 30.0, now)
    assert not frames(session.tick(now + HOLD_S / 2))
    assert len(frames(session.tick(now + HOLD_S))) == 1
    assert not session.submit(11, "shop", rows_of(1), 30.0, now)
    assert [f.requests for f in frames(session.submit(12, "shop", rows_of(3), 30.0, now))] == [(11, 12)]


def test_a_batch_fits_a_frame_however_many_rows_the_route_allows() -> None:
    model = identity(width=60_000)
    session = GatewaySession(NAME, 2**62, Limits(rows=100_000))
    session.reconnected(0.0)
    session.configure(desired(1, feed(route(1, rows=4096), model=model)), {model.digest: model}, 0.0)
    sent = frames(session.submit(2**62, "shop", np.zeros((9, 60_000), np.int8), 30.0, 0.0))
    assert sum(frame.tensors[0].shape[0] for frame in sent) == 9
    assert all(len(codec.encode(frame)) <= MAX_FRAME for frame in sent)
    small = identity(width=1)
    session.configure(desired(2, feed(route(2, rows=4096, window=999), model=small)), {small.digest: small}, 0.0)
    sent = [
        frame
        for ident in range(4096)
        for frame in frames(session.submit(2**62 + ident + 1, "shop", np.zeros((2, 1), np.int8), 30.0, 0.0))
    ]
    assert all(len(codec.encode(frame)) <= MAX_FRAME for frame in sent)


def test_a_lost_frame_is_sent_again_under_a_new_id_to_another_replica() -> None:
    session = started(route(1, boards=("a", "b")))
    (first,) = sendings(session.submit(1, "shop", rows_of(2), 30.0, 0.0))
    assert not frames(session.tick(FIRST_TIMEOUT_S - 0.01))
    (second,) = sendings(session.tick(FIRST_TIMEOUT_S))
    assert second.receiver != first.receiver
    assert second.frame.batch != first.frame.batch
    assert second.frame.tensors == first.frame.tensors
    assert second.frame.budget_ms == pytest.approx(29_000)
    assert report(session).in_flight[0].frames == 1  # the same credit
    assert not frames(session.tick(FIRST_TIMEOUT_S + 1.99))
    assert len(frames(session.tick(FIRST_TIMEOUT_S + 2.0))) == 1  # doubled
    assert report(session).retried_frames == 2


def test_a_late_answer_counts_while_its_rows_are_unanswered_and_only_then() -> None:
    session = started()
    (first,) = frames(session.submit(1, "shop", rows_of(2), 30.0, 0.0))
    (second,) = frames(session.tick(FIRST_TIMEOUT_S))
    assert len(only(reply(session, answer(first), 1.1), Complete)) == 1
    assert not reply(session, answer(second), 1.2)
    assert not reply(session, answer(second), 1.3)
    state = report(session)
    assert (state.answered, state.late_frames, state.in_flight) == (1, 2, ())


def test_a_request_fails_once_at_its_deadline_and_frees_its_room() -> None:
    session = started(limits=Limits(rows=4))
    session.submit(1, "shop", rows_of(4), 2.0, 0.0)
    with pytest.raises(OverloadError) as refusal:
        session.submit(2, "shop", rows_of(1), 9.0, 0.0)
    assert refusal.value.data["retry_after_s"] == 1.0
    with pytest.raises(OverloadError, match="4 of at most 4 rows"):
        session.check_room("shop")
    session.check_room("another")
    assert not only(session.tick(1.99), Fail)
    (failure,) = only(session.tick(2.0), Fail)
    session.check_room("shop")
    assert isinstance(failure, Fail)
    assert isinstance(failure.error, DeadlineError)
    assert "within 2 s" in str(failure.error)
    assert "4 of 4 rows" in str(failure.error)
    assert report(session).failed == 1
    session.submit(2, "shop", rows_of(4), 9.0, 2.0)
    assert session.pending == 1


def test_memory_is_bounded_over_all_deployments() -> None:
    session = GatewaySession(NAME, 1, Limits(rows=100, held_bytes=60))
    session.reconnected(0.0)
    other = dataclasses.replace(feed(None), intent=dataclasses.replace(feed(None).intent, deployment="other"))
    session.configure(desired(1, feed(None), other), {MODEL.digest: MODEL}, 0.0)
    session.submit(1, "shop", rows_of(6), 9.0, 0.0)
    with pytest.raises(OverloadError, match="36 of at most 60 bytes"):
        session.submit(2, "other", rows_of(5), 9.0, 0.0)
    with pytest.raises(InvalidInputError, match="in parts"):
        session.submit(2, "other", rows_of(11), 9.0, 0.0)
    session.cancel(1, 0.0)
    session.submit(2, "other", rows_of(10), 9.0, 0.0)


def test_the_memory_of_one_deployment_is_not_all_there_is() -> None:
    session = GatewaySession(NAME, 1, Limits(rows=100, held_bytes=60))
    session.reconnected(0.0)
    other = dataclasses.replace(feed(None), intent=dataclasses.replace(feed(None).intent, deployment="other"))
    session.configure(desired(1, feed(None), other), {MODEL.digest: MODEL}, 0.0)
    numbers = iter(range(1, 100))
    for _ in range(7):
        session.submit(next(numbers), "shop", rows_of(1), 9.0, 0.0)
    with pytest.raises(OverloadError, match="42 of at most 60 bytes, 42 of them of shop"):
        session.submit(next(numbers), "shop", rows_of(1), 9.0, 0.0)
    session.submit(next(numbers), "other", rows_of(2), 9.0, 0.0)


@pytest.mark.parametrize(
    "rows", [np.zeros((2, 4), np.int8), np.zeros((0, 3), np.int8), np.zeros(3, np.int8), np.zeros((2, 3), np.uint8)]
)
def test_wrong_rows_are_refused_with_what_was_expected(rows: NDArray[np.int8]) -> None:
    session = started()
    with pytest.raises(InvalidInputError, match=r"identity takes int8 rows \(n, 3\)"):
        session.submit(1, "shop", rows, 9.0, 0.0)
    assert session.pending == 0


def test_what_cannot_be_served_is_said_at_once() -> None:
    session = GatewaySession(NAME, 1)
    with pytest.raises(NotServingError, match="feeds no deployment 'shop'"):
        session.submit(1, "shop", rows_of(1), 9.0, 0.0)
    session.configure(desired(1, feed(route(1))), {}, 0.0)
    with pytest.raises(NotServingError, match="no verified model"):
        session.submit(1, "shop", rows_of(1), 9.0, 0.0)


def test_requests_wait_without_a_serving_generation_and_without_a_broker() -> None:
    session = GatewaySession(NAME, 1)
    session.configure(desired(1, feed(None)), {MODEL.digest: MODEL}, 0.0)
    assert not frames(session.submit(1, "shop", rows_of(2), 30.0, 0.0))
    assert not frames(session.configure(desired(2, feed(route(1))), {MODEL.digest: MODEL}, 5.0))
    assert len(frames(session.reconnected(6.0))) == 1
    session.disconnected(7.0)
    assert not frames(session.submit(2, "shop", rows_of(2), 30.0, 7.5))
    again = frames(session.reconnected(8.0))
    assert [frame.requests for frame in again] == [(1,), (2,)]
    assert report(session).retried_frames == 1


def test_an_order_of_a_lower_epoch_or_revision_is_ignored() -> None:
    session = started()
    models = {MODEL.digest: MODEL}
    session.configure(desired(5, feed(route(7)), epoch=2), models, 0.0)
    for stale in (desired(4, feed(route(1)), epoch=2), desired(9, epoch=1)):
        assert session.configure(stale, models, 0.0) == []
        assert (session.epoch, session.revision) == (2, 5)
        assert report(session).serving == generation(7)
    session.configure(desired(1, epoch=3), models, 0.0)
    assert session.report() == ()


def test_on_a_switch_the_overdue_is_sent_at_once_and_the_rest_after_a_grace() -> None:
    session = started(route(1, window=4))
    (warm,) = frames(session.submit(9, "shop", rows_of(1), 30.0, 0.0))
    reply(session, answer(warm), 0.01)
    (old,) = frames(session.submit(1, "shop", rows_of(4), 30.0, 1.0))
    (young,) = frames(session.submit(2, "shop", rows_of(4, 50), 30.0, 1.15))
    effects = session.configure(desired(2, feed(route(2, window=4))), {MODEL.digest: MODEL}, 1.21)
    (again,) = frames(effects)
    assert Report() in effects
    assert (again.requests, again.generation) == ((1,), generation(2))
    assert [entry.generation for entry in report(session).in_flight] == [generation(1), generation(2)]
    assert not frames(session.tick(1.22))
    effects = session.tick(1.21 + SWITCH_GRACE_S)
    assert (2,) in [frame.requests for frame in frames(effects)]
    assert Report() in effects  # the old generation awaits nothing any more
    assert [entry.generation for entry in report(session).in_flight] == [generation(2)]
    assert (
        len(only(reply(session, answer(young), 1.8), Complete)) == 1
    )  # late, under its own generation: as good as any
    assert len(only(reply(session, answer(old), 1.8), Complete)) == 1


def test_an_answer_under_the_old_generation_still_counts_within_the_grace() -> None:
    session = started(route(1))
    (young,) = frames(session.submit(1, "shop", rows_of(4), 30.0, 0.0))
    session.configure(desired(2, feed(route(2))), {MODEL.digest: MODEL}, 0.1)
    effects = reply(session, answer(young), 0.2)
    (done,) = only(effects, Complete)
    assert isinstance(done, Complete)
    assert done.generation == generation(1)
    assert Report() in effects
    assert report(session).in_flight == ()
    assert report(session).retried_frames == 0


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("generation", {"generation": generation(9)}),
        ("stage", {"stage": STAGES - 1}),
        ("tensor", {"tensors": (TensorData("x", (2, 3), bytes(6)),)}),
        ("tensor", {"tensors": ()}),
        ("dtype", {"tensors": (TensorData("y", (2, 3), bytes(6), "uint8"),)}),
        ("shape", {"tensors": (TensorData("y", (3, 2), bytes(6)),)}),
        ("shape", {"tensors": (TensorData("y", (2, 3), bytes(5)),)}),
        ("session", {"batch": (78, 1)}),
        ("gateway", {"gateway": "gateway-b"}),
        ("deployment", {"deployment": "shed"}),
    ],
)
def test_a_wrong_answer_is_refused_and_counted_and_costs_nothing_else(reason: str, changes: dict[str, object]) -> None:
    session = started()
    (sent,) = frames(session.submit(1, "shop", rows_of(2), 30.0, 0.0))
    assert reply(session, answer(sent, **changes), 0.1) == []
    counted = {**session.refused, **report(session).refused}
    assert counted == {reason: 1}
    assert len(only(reply(session, answer(sent), 0.2), Complete)) == 1


def test_an_answer_that_contradicts_its_topic_is_refused() -> None:
    session = started()
    (sent,) = frames(session.submit(1, "shop", rows_of(2), 30.0, 0.0))
    good = answer(sent)
    assert session.frame(dataclasses.replace(topic_of(good), generation=generation(3)), good, 0.1) == []
    assert session.refused == {"topic": 1}


def test_a_smaller_batch_of_the_new_generation_splits_what_is_sent_again() -> None:
    session = started(route(1, rows=4))
    session.submit(1, "shop", rows_of(4), 30.0, 0.0)
    sent = frames(session.configure(desired(2, feed(route(2, rows=3))), {MODEL.digest: MODEL}, 2.0))
    assert [frame.tensors[0].shape[0] for frame in sent] == [3, 1]
    reply(session, answer(sent[1]), 2.1)
    (done,) = only(reply(session, answer(sent[0]), 2.1), Complete)
    assert isinstance(done, Complete)
    np.testing.assert_array_equal(done.outputs, rows_of(4))


def test_requests_for_a_replaced_model_are_given_back_rather_than_mixed() -> None:
    session = started(route(1, window=1))
    (out,) = frames(session.submit(1, "shop", rows_of(4), 30.0, 0.0))
    session.submit(2, "shop", rows_of(4), 30.0, 0.0)
    other = identity("2")
    effects = session.configure(desired(2, feed(route(2), model=other)), {other.digest: other}, 0.1)
    (failure,) = only(effects, Fail)
    assert isinstance(failure, Fail)
    assert failure.request == 2
    assert isinstance(failure.error, ModelChangedError)
    assert len(only(reply(session, answer(out), 0.2), Complete)) == 1  # what runs may finish under the old one


def test_a_withdrawn_deployment_drains_and_is_forgotten() -> None:
    session = started(route(1, window=1))
    (out,) = frames(session.submit(1, "shop", rows_of(4), 30.0, 0.0))
    session.submit(2, "shop", rows_of(4), 30.0, 0.0)
    (failure,) = only(session.configure(desired(2), {}, 0.1), Fail)
    assert isinstance(failure, Fail)
    assert "withdrawn" in str(failure.error)
    assert report(session).in_flight[0].frames == 1
    assert len(only(reply(session, answer(out), 0.2), Complete)) == 1
    session.tick(0.3)
    assert session.report() == ()
    assert session.pending == 0
