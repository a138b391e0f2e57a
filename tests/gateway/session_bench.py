"""A gateway's session in the tests' hands: what it is told, what comes back, and what it made of that."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from convoy_controller.gateway.effects import Effect, SendFrame
from convoy_controller.gateway.session import GatewaySession, Limits
from convoy_schema.bundle import Method, VerifiedModel
from convoy_schema.frames import Frame, TensorData
from convoy_schema.messages.desired import Hop, Intent
from convoy_schema.messages.gateways import Feed, FeedReport, GatewayDesired, ModelRef, Route
from convoy_schema.names import Generation
from convoy_schema.topics import FrameTopic
from gateway_models import identity
from numpy.typing import NDArray

MODEL = identity()
STAGES = 3
NAME = "gateway-a"


def generation(counter: int, epoch: int = 1) -> Generation:
    return Generation(epoch, counter)


def ref(model: VerifiedModel) -> ModelRef:
    return ModelRef(model.bundle.model, model.bundle.version, model.digest)


def route(counter: int, *, window: int = 4, rows: int = 4, boards: Sequence[str] = ("a",)) -> Route:
    return Route(generation(counter), ref(MODEL), tuple(Hop(board) for board in boards), STAGES, window, rows)


def feed(serving: Route | None, probing: Route | None = None, model: VerifiedModel = MODEL) -> Feed:
    intent = Intent("shop", model.bundle.model, model.bundle.version, Method.ALLOCATE)
    routes = [dataclasses.replace(each, model=ref(model)) if each is not None else None for each in (serving, probing)]
    return Feed(intent, ref(model), *routes)


def desired(revision: int, *feeds: Feed, epoch: int = 1) -> GatewayDesired:
    return GatewayDesired(epoch, revision, feeds)


def answer(frame: Frame, **changes: object) -> Frame:
    """What the fleet makes of a frame: the identity, one stage after another."""
    tensor = frame.tensors[0]
    made = dataclasses.replace(frame, stage=STAGES, tensors=(TensorData("y", tensor.shape, tensor.data),))
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def topic_of(frame: Frame) -> FrameTopic:
    return FrameTopic("c", NAME, frame.deployment, frame.generation, frame.stage)


def rows_of(count: int, value: int = 0) -> NDArray[np.int8]:
    return (np.arange(count * 3, dtype=np.int64) + value).astype(np.int8).reshape(count, 3)


def frames(effects: Sequence[Effect]) -> list[Frame]:
    """Those of requests; golden ones name none."""
    return [frame for frame in all_frames(effects) if frame.requests]


def golden(effects: Sequence[Effect]) -> list[Frame]:
    return [frame for frame in all_frames(effects) if not frame.requests]


def all_frames(effects: Sequence[Effect]) -> list[Frame]:
    return [effect.frame for effect in effects if isinstance(effect, SendFrame)]


def only(effects: Sequence[Effect], kind: type) -> list[Effect]:
    return [effect for effect in effects if isinstance(effect, kind)]


def started(serving: Route | None = None, limits: Limits | None = None) -> GatewaySession:
    session = GatewaySession(NAME, 77, limits)
    session.reconnected(0.0)
    prove(session, session.configure(desired(1, feed(serving or route(1))), {MODEL.digest: MODEL}, 0.0), 0.0)
    return session


def prove(session: GatewaySession, effects: Sequence[Effect], now: float) -> list[Effect]:
    """Answer golden frames until none is sent; returns what else was."""
    others: list[Effect] = []
    pending = list(effects)
    while pending:
        effect = pending.pop(0)
        if isinstance(effect, SendFrame) and not effect.frame.requests:
            pending += reply(session, answer(effect.frame), now)
        else:
            others.append(effect)
    return others


def reply(session: GatewaySession, frame: Frame, now: float) -> list[Effect]:
    return session.frame(topic_of(frame), frame, now)


def report(session: GatewaySession) -> FeedReport:
    return session.report()[0]
