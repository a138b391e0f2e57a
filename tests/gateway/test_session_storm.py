"""A gateway's session tests a generation end to end, and keeps its promises whatever happens in whatever order."""

from __future__ import annotations

import dataclasses
import heapq
import random
from collections.abc import Sequence

import numpy as np
import pytest
from convoy_controller.errors import OverloadError
from convoy_controller.gateway.batches import Contract
from convoy_controller.gateway.effects import Complete, Effect, Fail, Report, SendFrame
from convoy_controller.gateway.probe import RETRY_S, TRIES
from convoy_controller.gateway.session import GatewaySession, Limits
from convoy_schema import codec
from convoy_schema.frames import Frame, TensorData
from convoy_schema.messages.gateways import GatewayDesired, Route
from convoy_schema.names import Generation
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from session_bench import (
    MODEL,
    NAME,
    STAGES,
    all_frames,
    answer,
    desired,
    feed,
    generation,
    reply,
    report,
    route,
    rows_of,
    topic_of,
)

# Probing -------------------------------------------------------------------------------------------------------------


def probing(boards: Sequence[str] = ("a",), window: int = 64) -> tuple[GatewaySession, list[SendFrame]]:
    session = GatewaySession(NAME, 5)
    session.reconnected(0.0)
    entry = route(3, boards=boards, rows=2, window=window)
    effects = session.configure(desired(1, feed(None, entry)), {MODEL.digest: MODEL}, 0.0)
    return session, [effect for effect in effects if isinstance(effect, SendFrame)]


def test_a_probe_passes_when_every_replica_answers_the_golden_rows() -> None:
    session, sent = probing(("a", "b", "c"))
    assert {effect.receiver for effect in sent} == {"a", "b", "c"}
    for effect in sent[:-1]:
        assert Report() not in reply(session, answer(effect.frame), 0.1)
    assert Report() in reply(session, answer(sent[-1].frame), 0.1)
    (verdict,) = report(session).probes
    assert (verdict.generation, verdict.passed) == (generation(3), True)
    assert report(session).answered == 0
    # The verdict stays while the generation is named, and goes with it.
    session.configure(desired(2, feed(route(3))), {MODEL.digest: MODEL}, 0.2)
    assert report(session).probes == (verdict,)
    session.configure(desired(3, feed(route(4))), {MODEL.digest: MODEL}, 0.2)
    assert report(session).probes == ()


def test_a_probe_fails_on_one_wrong_byte_and_says_where() -> None:
    session, sent = probing()
    tensor = sent[0].frame.tensors[0]
    wrong = bytearray(tensor.data)
    wrong[4] ^= 1
    effects = reply(session, answer(sent[0].frame, tensors=(TensorData("y", tensor.shape, bytes(wrong)),)), 0.1)
    assert Report() in effects
    (verdict,) = report(session).probes
    assert not verdict.passed
    assert "golden row 1" in verdict.message
    assert "'y'[1] must be 4, 5 came" in verdict.message


def test_a_lost_probe_is_sent_again_and_given_up_after_ten_tries() -> None:
    session, sent = probing(window=1)
    assert len(sent) == 1
    tries, now = 1, 0.0
    while not report(session).probes:
        now += RETRY_S / 2
        tries += len(all_frames(session.tick(now)))
        assert now < 100
    assert tries == TRIES
    assert now == pytest.approx(TRIES * RETRY_S)
    (verdict,) = report(session).probes
    assert not verdict.passed
    assert "unanswered" in verdict.message


def test_a_probe_outlives_a_lost_connection() -> None:
    session, sent = probing()
    session.disconnected(0.1)
    assert not all_frames(session.tick(60.0))
    again = all_frames(session.reconnected(61.0))
    assert len(again) == len(sent)
    for frame in again:
        reply(session, answer(frame), 61.1)
    assert report(session).probes[0].passed


# Everything at once --------------------------------------------------------------------------------------------------


class Storm:
    """A fleet that loses, repeats, delays, reorders and forges, while the controller keeps changing its mind."""

    def __init__(self, seed: int, loss: float, mess: float) -> None:
        self.chance = random.Random(seed)
        self.loss, self.mess = loss, mess
        self.session = GatewaySession(NAME, seed, Limits(rows=60))
        self.models = {MODEL.digest: MODEL}
        self.now = self.before = 0.0
        self.is_calm = False
        self.air: list[tuple[float, int, Frame]] = []
        self.serial = 0
        self.requests: dict[int, tuple[NDArray[np.int8], float]] = {}
        self.ended: dict[int, str] = {}
        self.refused = 0
        self.revision = 0
        self.counter = 1
        self.route: Route | None = None
        self.probing: Route | None = None
        self.connected = False
        self.windows: dict[Generation, int] = {}

    def order(self, serving: Route | None, probing: Route | None = None) -> None:
        self.revision += 1
        self.route, self.probing = serving, probing
        if serving is not None:
            self.windows[serving.generation] = serving.window
        self.carry(self.session.configure(desired(self.revision, feed(serving, probing)), self.models, self.now))

    def new_route(self) -> Route:
        self.counter += 1
        boards = [f"b{index}" for index in range(self.chance.randint(1, 3))]
        return route(self.counter, window=self.chance.randint(1, 6), rows=self.chance.randint(1, 6), boards=boards)

    def carry(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, SendFrame):
                self.send(effect)
            elif isinstance(effect, (Complete, Fail)):
                assert effect.request not in self.ended, "a request ends once"
                rows, deadline = self.requests[effect.request]
                assert deadline > self.before, "and no later than its deadline"
                if isinstance(effect, Complete):
                    np.testing.assert_array_equal(effect.outputs, rows)
                    self.ended[effect.request] = "complete"
                else:
                    assert self.now >= deadline
                    self.ended[effect.request] = "failed"

    def send(self, effect: SendFrame) -> None:
        frame = effect.frame
        assert self.connected
        codec.decode(Frame, codec.encode(frame))
        allowed = [each for each in (self.route, self.probing) if each is not None]
        assert frame.generation in [each.generation for each in allowed], "only a generation that was named is fed"
        used = next(each for each in allowed if each.generation == frame.generation)
        assert frame.tensors[0].shape[0] <= used.batch_rows
        if used is self.route and frame.requests:
            awaited = {each.generation: each.frames for each in report(self.session).in_flight}
            assert awaited[used.generation] <= used.window, "the window is never exceeded"
        for _ in range(self.chance.choice((1, 1, 1, 2)) if self.mess else 1):
            if self.chance.random() >= self.loss:
                self.later(answer(frame))
        if self.chance.random() < self.mess:
            self.later(self.forged(frame))

    def forged(self, frame: Frame) -> Frame:
        garbage = TensorData("y", frame.tensors[0].shape, b"\x63" * len(frame.tensors[0].data))
        wrong = generation(frame.generation.counter + self.chance.choice((-1, 1, 5)))
        changes: list[dict[str, object]] = [
            {"generation": wrong},
            {"stage": STAGES + 1},
            {"batch": (frame.batch[0] + 1, frame.batch[1])},
            {"batch": (frame.batch[0], frame.batch[1] + 100_000)},
        ]
        change = self.chance.choice(changes)
        return answer(frame, tensors=(garbage,), **change)

    def later(self, frame: Frame) -> None:
        self.serial += 1
        is_slow = not self.is_calm and self.chance.random() < 0.1
        delay = self.chance.uniform(0, 3) if is_slow else self.chance.expovariate(100.0 if self.is_calm else 20.0)
        heapq.heappush(self.air, (self.now + delay, self.serial, frame))

    def submit(self, patience: float) -> None:
        rows = rows_of(self.chance.randint(1, 9), self.chance.randint(-60, 60))
        ident = len(self.requests) + self.refused + 1
        deadline = self.now + patience
        self.requests[ident] = rows, deadline
        try:
            effects = self.session.submit(ident, "shop", rows, deadline, self.now)
        except OverloadError:
            del self.requests[ident]
            self.refused += 1
            return
        self.carry(effects)

    def step(self, dt: float) -> None:
        self.now += dt
        while self.air and self.air[0][0] <= self.now:
            frame = heapq.heappop(self.air)[2]
            if self.connected:
                self.carry(self.session.frame(topic_of(frame), frame, self.now))
        self.carry(self.session.tick(self.now))
        self.before = self.now

    def upset(self) -> None:
        match self.chance.randrange(6):
            case 0:
                self.order(self.new_route())
            case 1:
                self.order(None)
            case 2:
                self.order(self.route, self.new_route())
            case 3 if self.route is not None:
                self.order(dataclasses.replace(self.route, window=self.chance.randint(1, 8)))
            case 4 if self.connected:
                self.connected = False
                self.carry(self.session.disconnected(self.now))
            case 5 if not self.connected:
                self.connected = True
                self.carry(self.session.reconnected(self.now))
            case _:
                stale = GatewayDesired(1, self.chance.randint(0, max(0, self.revision - 1)), ())
                if stale.revision < self.revision:
                    self.carry(self.session.configure(stale, self.models, self.now))


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    loss=st.sampled_from((0.0, 0.05, 0.3, 0.9)),
    mess=st.sampled_from((0.0, 0.3)),
    upsets=st.sampled_from((0.0, 0.02, 0.2)),
)
def test_whatever_happens_each_request_ends_once_and_right(seed: int, loss: float, mess: float, upsets: float) -> None:
    storm = Storm(seed, loss, mess)
    storm.connected = True
    storm.carry(storm.session.reconnected(0.0))
    storm.order(storm.new_route())
    for _ in range(200):
        if storm.chance.random() < 0.4:
            storm.submit(storm.chance.choice((0.05, 1.0, 20.0)))
        if storm.chance.random() < upsets:
            storm.upset()
        storm.step(storm.chance.expovariate(50.0))
    # Calm: whatever still waits is answered, since nothing is lost any more. What was lost before, retries make good.
    storm.loss = storm.mess = 0.0
    storm.is_calm = True
    if not storm.connected:
        storm.connected = True
        storm.carry(storm.session.reconnected(storm.now))
    if storm.route is None:
        storm.order(storm.new_route())
    calm = storm.now
    while storm.session.pending or storm.air:
        storm.step(0.02)
        assert storm.now < calm + 60
    for _ in range(100):
        storm.step(0.1)
    assert storm.ended.keys() == storm.requests.keys()
    for ident, (_, deadline) in storm.requests.items():
        if deadline > calm + 12:
            assert storm.ended[ident] == "complete"
    state = report(storm.session)
    assert state.accepted == len(storm.requests)
    assert state.answered == sum(1 for how in storm.ended.values() if how == "complete")
    assert state.failed == sum(1 for how in storm.ended.values() if how == "failed")
    assert (state.in_flight, state.waiting_rows) == ((), 0)
    lane = storm.session._lanes["shop"]
    assert (lane.held_bytes, lane._held_rows) == (0, 0)
    if not loss and not upsets:
        assert all(how == "complete" for i, how in storm.ended.items() if storm.requests[i][1] > 19)


def test_contract_names_the_reason() -> None:
    contract = Contract(MODEL)
    good = Frame("shop", generation(1), 3, NAME, (1, 1), (1,), 1.0, (TensorData("y", (2, 3), bytes(6)),))
    assert contract.refusal(good, 2) == ""
    assert contract.refusal(good, 3) == "shape"
