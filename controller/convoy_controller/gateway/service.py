"""The gateway's asyncio shell: carries the session's effects out over MQTT, and gives `infer` to the HTTP layer.

It decides nothing about requests or frames; it reads the clock, converts tensors, and restates everything after each
connect.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from convoy_schema import codec, framing
from convoy_schema.backoff import FEW_MOST_S
from convoy_schema.bundle import VerifiedModel
from convoy_schema.credentials import Credentials
from convoy_schema.errors import ConvoyError, DecodeError, TooLargeError
from convoy_schema.fixedpoint import dequantise
from convoy_schema.messages.boards import Presence, Published
from convoy_schema.messages.gateways import FeedReport, GatewayDesired, GatewayReported, GatewayState
from convoy_schema.names import Generation, check_name
from convoy_schema.signing import Statements
from convoy_schema.surroundings import REAL, Surroundings
from convoy_schema.topics import FrameTopic, GatewayTopic, ModelTopic, Topics, TrustTopic
from convoy_schema.trust import Trust
from numpy.typing import NDArray

from convoy_controller.errors import (
    DeadlineError,
    ModelChangedError,
    NameTakenError,
    NotServingError,
)
from convoy_controller.gateway.effects import Complete, Effect, Fail, SendFrame
from convoy_controller.gateway.models import ModelCache
from convoy_controller.gateway.offers import Offers
from convoy_controller.gateway.presence import OwnName, Verdict
from convoy_controller.gateway.session import GatewaySession, Limits
from convoy_controller.gateway.waiting import DEFAULT_PRIORITY
from convoy_controller.rarely import is_doubled

log = logging.getLogger(__name__)

#: Seconds between two looks at the timers while something waits for one, and while nothing does.
TICK_S = 0.02
IDLE_TICK_S = 0.25
REPORT_S = 1.0
#: A caller is turned away only when the broker has been gone for this long: shorter gaps are waited out.
GRACE_S = 5.0
DEFAULT_TIMEOUT_S = 30.0
MAX_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class InferenceResult:
    """What the fleet answered: `raw` int8 (n, *output shape), of one generation of one model."""

    raw: NDArray[np.int8]
    generation: Generation
    deployment: str
    model: VerifiedModel

    @property
    def logits(self) -> NDArray[np.float32]:
        """The same as real numbers, float32."""
        return dequantise(self.raw, self.model.topology.tensor(self.model.topology.output))

    @property
    def answer(self) -> NDArray[Any]:
        """What the model's own file would answer: behind its Softmax or ArgMax, if it has one."""
        return self.model.bundle.ending.apply(self.logits)


class GatewayService:
    """One gateway on one broker. `run` it, then `infer`; everything happens in the event loop's thread."""

    def __init__(
        self,
        name: str,
        site: str,
        broker: str,
        trust: Trust,
        session: int,
        *,
        limits: Limits | None = None,
        credentials: Credentials | None = None,
        clock: Callable[[], float] | None = None,
        surroundings: Surroundings = REAL,
    ) -> None:
        self.name = check_name(name, "gateway")
        self.session = GatewaySession(name, session, limits)
        self.models = ModelCache(trust)
        self.offers = Offers(self.session, self.models)
        self.address = ""
        #: When each deployment last answered, wall-clock seconds: for people.
        self.answered_at: dict[str, float] = {}
        self.topics = Topics(site)
        self._surroundings = surroundings
        self._clock = clock = clock or surroundings.clock or asyncio.get_running_loop().time
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Complete]] = {}
        self._subscribed: frozenset[ModelTopic] = frozenset()
        #: Payload bytes published.
        self.control_bytes = self.frame_bytes = 0
        #: Messages that could not be taken, by why.
        self.refused: dict[str, int] = {}
        #: Infer requests over HTTP, by what was answered.
        self.outcomes: Counter[str] = Counter()
        self._reported_at = float("-inf")
        self._disconnected_at = clock()
        self._wake = asyncio.Event()
        self._taken: NameTakenError | None = None
        self._is_stopping = False
        self._own_name = OwnName(session)
        will = codec.encode(GatewayState(Presence.OFFLINE, session))
        self.link = surroundings.link(
            broker,
            f"{name}:gateway",
            will=(self.topics.gateway(name, "state"), will),
            on_connect=self._connected,
            on_disconnect=self._disconnected,
            credentials=credentials,
            most_wait_s=FEW_MOST_S,
            on_message=self._message,
        )

    # Life ------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until cancelled; raises `NameTakenError` when another gateway takes this one's name."""
        linking = asyncio.create_task(self.link.run(), name=f"{self.name}.link")
        ticking = asyncio.create_task(self._tick(), name=f"{self.name}.tick")
        try:
            done, _ = await asyncio.wait({linking, ticking}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._is_stopping = True
            if self._taken is None:
                self._publish("state", codec.encode(GatewayState(Presence.OFFLINE, self.session.session)))
            await self.link.stop()
            for task in (linking, ticking):
                task.cancel()
            await asyncio.gather(linking, ticking, return_exceptions=True)

    async def _tick(self) -> None:
        while True:
            if self.session.is_busy:
                await asyncio.sleep(TICK_S)
            else:
                self._wake.clear()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), IDLE_TICK_S)
            if self._taken is not None:
                raise self._taken
            now = self._clock()
            if self._own_name.is_due(now):
                self._say_online()
            self._carry(self.session.tick(now))
            if now - self._reported_at >= REPORT_S:
                self._report()

    # Inference -------------------------------------------------------------------------------------------------------

    async def infer(
        self,
        array: NDArray[np.generic],
        model: str | None = None,
        version: str | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        priority: int = DEFAULT_PRIORITY,
    ) -> InferenceResult:
        """The network's answer to `array` (n, *shape) of a type that `tensors` takes, at a level of `waiting`.

        `model` is a model's or a deployment's name; None will do when there is only one. Raises `InvalidInputError`,
        `UnknownModelError`, `NotServingError`, `OverloadError` or `DeadlineError`.
        """
        deadline = self._clock() + min(timeout_s, MAX_TIMEOUT_S)
        while True:
            feed, verified = self.offers.resolve(model, version)
            deployment = feed.intent.deployment
            self._check_link()
            # The conversion is done anew when the model changed under the request: scales may differ.
            rows = self.models.converter(verified).rows(array)
            try:
                done = await self._submit(deployment, rows, deadline, priority)
            except ModelChangedError as error:
                if self._clock() >= deadline:
                    raise DeadlineError(f"{deployment} changed its model until the time was up") from error
                continue
            self.answered_at[deployment] = time.time()
            return InferenceResult(done.outputs, done.generation, deployment, verified)

    async def _submit(self, deployment: str, rows: NDArray[np.int8], deadline: float, priority: int) -> Complete:
        number = next(self._numbers)
        future: asyncio.Future[Complete] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._carry(self.session.submit(number, deployment, rows, deadline, self._clock(), priority))
            self._wake.set()
            return await future
        finally:
            del self._waiting[number]
            if not future.done() or future.cancelled():
                self._carry(self.session.cancel(number, self._clock()))

    def _check_link(self) -> None:
        away = 0.0 if self.link.connected else self._clock() - self._disconnected_at
        if away > GRACE_S:
            raise NotServingError(f"this gateway lost the broker {away:.0f} s ago; try another, or again later")

    @property
    def is_connected(self) -> bool:
        """Whether the broker is there now."""
        return self.link.connected

    # The link --------------------------------------------------------------------------------------------------------

    def _connected(self) -> None:
        self.link.subscribe(self.topics.gateway(self.name, "state"), 1)
        self.link.subscribe(self.topics.gateway(self.name, "desired"), 1)
        self.link.subscribe(self.topics.trust(), 1)
        self.link.subscribe(self.topics.frames_to(self.name), 0)
        self._subscribed = frozenset()
        self._subscribe_models()
        if self._own_name.connected(self._clock()):
            self._say_online()
        self._carry(self.session.reconnected(self._clock()))

    def _disconnected(self, reason: str) -> None:
        log.warning("%s: lost the broker (%s); requests wait", self.name, reason)
        self._disconnected_at = self._clock()
        self._carry(self.session.disconnected(self._disconnected_at))

    def _say_online(self) -> None:
        self._publish("state", codec.encode(GatewayState(Presence.ONLINE, self.session.session)))

    def _subscribe_models(self) -> None:
        topics = self.models.topics
        for topic in sorted(topics - self._subscribed, key=lambda each: (each.model, each.version)):
            self.link.subscribe(self.topics.model(topic.model, topic.version), 1)
        for topic in self._subscribed - topics:
            self.link.unsubscribe(self.topics.model(topic.model, topic.version))
        self._subscribed = topics

    def _message(self, name: str, payload: bytes, is_retained: bool) -> None:
        try:
            topic = self.topics.parse(name)
            if isinstance(topic, FrameTopic):
                self._frame(topic, payload, is_retained)
            elif not payload:
                return  # what was retained was cleared
            elif isinstance(topic, ModelTopic):
                if self.models.hear(topic, payload) and self.offers.desired is not None:
                    log.info("%s: model %s %s is verified", self.name, topic.model, topic.version)
                    self._configure(self.offers.desired)
            elif isinstance(topic, TrustTopic):
                self.models.learn(codec.decode(Statements, payload))
            elif isinstance(topic, GatewayTopic) and topic.gateway == self.name:
                self._order(topic.leaf, payload, is_retained)
        except ConvoyError as error:
            self._refuse(error.code, f"{name[:200]}: {error}")

    def _frame(self, topic: FrameTopic, payload: bytes, is_retained: bool) -> None:
        if is_retained:
            raise DecodeError("a retained frame is nobody's answer")
        self._carry(self.session.frame(topic, framing.decode(payload), self._clock()))

    def _order(self, leaf: str, payload: bytes, is_retained: bool) -> None:
        if leaf == "desired":
            self._configure(codec.decode(GatewayDesired, payload))
        elif leaf == "state":
            self._heard_of_us(codec.decode(GatewayState, payload), is_retained)

    def _heard_of_us(self, state: GatewayState, is_retained: bool) -> None:
        """Our own state as the broker has it."""
        if self._is_stopping:
            return
        verdict = self._own_name.heard(state, is_retained)
        if verdict is Verdict.SAY_ONLINE and self._taken is None:
            self._say_online()
        elif verdict is Verdict.TAKEN:
            self._taken = NameTakenError(
                f"another gateway is online as {self.name!r} (session {state.session}): give each its own name",
                gateway=self.name,
            )
            self._wake.set()

    def _configure(self, desired: GatewayDesired) -> None:
        if (desired.epoch, desired.revision) < (self.session.epoch, self.session.revision):
            self._refuse("stale", f"order {desired.epoch}-{desired.revision} is older than what is followed")
            return
        self.offers.desired = desired
        names = {feed.intent.deployment for feed in desired.feeds}
        self.answered_at = {name: at for name, at in self.answered_at.items() if name in names}
        self.models.follow(desired)
        self._subscribe_models()
        self._carry(self.session.configure(desired, self.models.models, self._clock()))
        self._wake.set()

    def _refuse(self, reason: str, sentence: str) -> None:
        count = self.refused[reason] = self.refused.get(reason, 0) + 1
        if is_doubled(count):  # the first is seen at once, a flood does not fill the disk
            log.warning("%s: refused (%s, %d so far): %s", self.name, reason, count, sentence)

    # Effects ---------------------------------------------------------------------------------------------------------

    def _carry(self, effects: Iterable[Effect]) -> None:
        is_news = False
        for effect in effects:
            if isinstance(effect, SendFrame):
                self._send(effect)
            elif isinstance(effect, Complete):
                future = self._waiting.get(effect.request)
                if future is not None and not future.done():
                    future.set_result(effect)
            elif isinstance(effect, Fail):
                future = self._waiting.get(effect.request)
                if future is not None and not future.done():
                    future.set_exception(effect.error)
            else:
                is_news = True
        if is_news:
            self._report()

    def _send(self, effect: SendFrame) -> None:
        frame = effect.frame
        topic = self.topics.frame(self.name, effect.receiver, frame.deployment, frame.generation, frame.stage)
        payload = framing.encode(frame)
        # A frame the link drops is lost like any other: the session's timer sends it again.
        if self.link.publish(topic, payload):
            self.frame_bytes += len(payload)

    def _publish(self, leaf: str, payload: bytes) -> None:
        if self.link.publish(self.topics.gateway(self.name, leaf), payload, qos=1, retain=True):
            self.control_bytes += len(payload)

    def _report(self) -> None:
        if not self.link.connected:
            return
        self._reported_at = self._clock()
        reported = self.reported()
        try:
            payload = codec.encode(reported)
        except TooLargeError:
            log.warning("%s: the report is too large, probes and refusals are left out", self.name)
            payload = codec.encode(replace(reported, feeds=tuple(_short(feed) for feed in reported.feeds)))
        self._publish("reported", payload)

    def reported(self) -> GatewayReported:
        """The gateway's state and counters, as the controller gets them."""
        return GatewayReported(
            session=self.session.session,
            epoch=self.session.epoch,
            revision=self.session.revision,
            address=self.address,
            feeds=self.session.report(),
            published=Published(control=self.control_bytes, activations=self.frame_bytes),
            rss_bytes=self._surroundings.resident_bytes(),
        )


def _short(feed: FeedReport) -> FeedReport:
    return replace(feed, refused={}, probes=tuple(replace(probe, message="") for probe in feed.probes[-1:]))
