"""The gateway's deterministic core: what it does about requests, frames, the controller's word, the link and time.

Methods take `now` (monotonic seconds) and return effects; they do no I/O and read no clock, so that the same code runs
in production and in the simulator. Each deployment is a `Lane`; the session numbers batches, bounds memory over all
lanes, and refuses stale orders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from convoy_schema.bundle import VerifiedModel
from convoy_schema.frames import Frame
from convoy_schema.messages.gateways import Feed, FeedReport, GatewayDesired, ModelRef
from convoy_schema.topics import FrameTopic
from numpy.typing import NDArray

from convoy_controller.errors import InvalidInputError, NotServingError, OverloadError
from convoy_controller.gateway.batches import BatchIds, Contract
from convoy_controller.gateway.effects import Complete, Effect, Fail, Report
from convoy_controller.gateway.lane import Lane
from convoy_controller.gateway.shares import room_for
from convoy_controller.gateway.statistics import Counters, Served
from convoy_controller.gateway.waiting import DEFAULT_PRIORITY


@dataclass(frozen=True)
class Limits:
    """What a gateway accepts before it answers: rows of a deployment, and bytes (input, output) of all, by `shares`."""

    rows: int = 8192
    held_bytes: int = 48 * 1024 * 1024


class GatewaySession:
    """One incarnation of a gateway. `session` is its number, the first half of every batch id it makes."""

    def __init__(self, gateway: str, session: int, limits: Limits | None = None) -> None:
        self.gateway = gateway
        self.session = session
        self.limits = limits or Limits()
        self.epoch = 0
        self.revision = 0
        self.is_configured = False
        #: Frames refused before they could be laid to a deployment, by reason.
        self.refused: dict[str, int] = {}
        self._ids = BatchIds()
        self._lanes: dict[str, Lane] = {}
        self._lane_of: dict[int, Lane] = {}
        self._is_connected = False

    # Requests --------------------------------------------------------------------------------------------------------

    def check_room(self, deployment: str) -> None:
        """Raise `OverloadError` where not even one more row is held: a request need not be read to be refused."""
        lane = self._lanes.get(deployment)
        if lane is not None:
            lane.check_room(1)

    def submit(
        self,
        request: int,
        deployment: str,
        rows: NDArray[np.int8],
        deadline: float,
        now: float,
        priority: int = DEFAULT_PRIORITY,
    ) -> list[Effect]:
        """Accept `rows` int8 (n, *input shape); exactly one `Complete` or `Fail` follows, by `deadline` at the latest.

        `priority` is a level of `waiting`, 1 the most urgent.
        Raises `NotServingError`, `InvalidInputError` or `OverloadError`; then nothing was accepted and nothing follows.
        """
        lane = self._lanes.get(deployment)
        if lane is None:
            raise NotServingError(f"this gateway feeds no deployment {deployment!r}", deployment=deployment)
        if request in self._lane_of:
            raise InvalidInputError(f"request {request} is being answered already", request=request)
        contract = lane.contract
        if contract is not None and rows.ndim > 1:
            others = [each.held_bytes for each in self._lanes.values() if each is not lane]
            size = len(rows) * (contract.input.size + contract.output.size)
            if size > self.limits.held_bytes:
                raise InvalidInputError(
                    f"a request may take {self.limits.held_bytes} bytes here, {size} came: send it in parts"
                )
            if size > room_for(lane.held_bytes, others, self.limits.held_bytes):
                held = lane.held_bytes + sum(others)
                raise OverloadError(
                    f"this gateway holds {held} of at most {self.limits.held_bytes} bytes, {lane.held_bytes} of them "
                    f"of {deployment}: try again later",
                    retry_after_s=lane.retry_after(),
                )
        self._lane_of[request] = lane
        try:
            return self._finish(lane, lane.accept(request, rows, deadline, now, priority))
        except Exception:
            del self._lane_of[request]
            raise

    def cancel(self, request: int, now: float) -> list[Effect]:
        """Forget a request whose caller is gone: no `Complete` or `Fail` follows."""
        lane = self._lane_of.pop(request, None)
        return self._finish(lane, lane.cancel(request, now)) if lane is not None else []

    # What comes in ---------------------------------------------------------------------------------------------------

    def frame(self, topic: FrameTopic, frame: Frame, now: float) -> list[Effect]:
        """An answer, or something that only looks like one."""
        if (topic.deployment, topic.generation, topic.stage) != (frame.deployment, frame.generation, frame.stage):
            return self._refuse("topic")
        if not topic.receiver == frame.gateway == self.gateway:
            return self._refuse("gateway")
        if frame.batch[0] != self.session:
            return self._refuse("session")
        lane = self._lanes.get(frame.deployment)
        if lane is None:
            return self._refuse("deployment")
        return self._finish(lane, lane.frame(frame, now))

    def _refuse(self, reason: str) -> list[Effect]:
        self.refused[reason] = self.refused.get(reason, 0) + 1
        return []

    def configure(self, desired: GatewayDesired, models: Mapping[str, VerifiedModel], now: float) -> list[Effect]:
        """Follow the controller, and take up `models` (by bundle digest) as they become known.

        A lower epoch, or a lower revision of the same one, is a controller that was replaced: ignored.
        """
        if (desired.epoch, desired.revision) < (self.epoch, self.revision):
            return []
        is_news = not self.is_configured or (desired.epoch, desired.revision) != (self.epoch, self.revision)
        self.epoch, self.revision, self.is_configured = desired.epoch, desired.revision, True
        feeds = {feed.intent.deployment: feed for feed in desired.feeds}
        effects: list[Effect] = []
        for deployment, feed in feeds.items():
            lane = self._lanes.get(deployment)
            if lane is None:
                lane = self._lanes[deployment] = self._new_lane(deployment, now)
            effects += self._apply(lane, feed, models, now)
        for deployment, lane in list(self._lanes.items()):
            if deployment not in feeds:
                effects += self._finish(lane, lane.configure(None, None, now))
        self._forget_idle()
        if is_news and Report() not in effects:
            effects.append(Report())
        return effects

    def _new_lane(self, deployment: str, now: float) -> Lane:
        lane = Lane(deployment, self.gateway, self.session, self._ids, self.limits.rows)
        if self._is_connected:
            lane.reconnected(now)
        return lane

    def _apply(self, lane: Lane, feed: Feed, models: Mapping[str, VerifiedModel], now: float) -> list[Effect]:
        def contract(model: ModelRef) -> Contract | None:
            known = lane.contract
            if known is not None and known.model.digest == model.bundle:
                return known
            verified = models.get(model.bundle)
            return Contract(verified) if verified is not None else None

        probed = contract(feed.probing.model) if feed.probing is not None else None
        return self._finish(lane, lane.configure(feed, contract(feed.model), now, probed))

    def _forget_idle(self) -> None:
        """A withdrawn deployment goes once nothing of it is in flight."""
        for deployment, lane in list(self._lanes.items()):
            if lane.feed is None and not lane.is_busy:
                del self._lanes[deployment]

    def disconnected(self, now: float) -> list[Effect]:
        """The broker is gone: requests wait, their deadlines run."""
        self._is_connected = False
        for lane in self._lanes.values():
            lane.disconnected()
        return []

    def reconnected(self, now: float) -> list[Effect]:
        """The broker is back and our subscriptions are asked for: whatever was in flight is sent again."""
        self._is_connected = True
        effects: list[Effect] = []
        for lane in self._lanes.values():
            effects += self._finish(lane, lane.reconnected(now))
        return [*effects, Report()]

    def tick(self, now: float) -> list[Effect]:
        """Let time pass: call it every 20 ms while `is_busy`, and now and then otherwise."""
        effects: list[Effect] = []
        for lane in self._lanes.values():
            effects += self._finish(lane, lane.tick(now))
        self._forget_idle()
        return effects

    # What others may know --------------------------------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """Whether some timer of a lane is running."""
        return any(lane.is_busy for lane in self._lanes.values())

    @property
    def pending(self) -> int:
        """Requests accepted and not finished."""
        return len(self._lane_of)

    def contract(self, deployment: str) -> Contract | None:
        """The model that `deployment` serves, once it is verified."""
        lane = self._lanes.get(deployment)
        return lane.contract if lane is not None else None

    def is_serving(self, deployment: str) -> bool:
        """Whether a generation of `deployment` takes requests now."""
        lane = self._lanes.get(deployment)
        return lane is not None and lane.is_serving

    def is_ready(self, deployment: str) -> bool:
        """Whether that generation is also known to answer its golden vector."""
        lane = self._lanes.get(deployment)
        return lane is not None and lane.is_ready

    def wait_s(self, deployment: str) -> float:
        """About how many seconds a request to `deployment` waits for those before it; infinite where it has no room."""
        lane = self._lanes.get(deployment)
        return lane.wait_s() if lane is not None else 0.0

    def why_not_ready(self, deployment: str) -> str:
        """A sentence about a deployment that is not ready."""
        lane = self._lanes.get(deployment)
        if lane is None:
            return "nothing is known of it yet"
        return "the gateway has no broker" if not self._is_connected else lane.readiness.why_not

    def served(self, deployment: str) -> Served:
        """What this gateway has answered for the model version that `deployment` serves."""
        lane = self._lanes.get(deployment)
        return lane.served if lane is not None else Served()

    def counters(self) -> dict[str, Counters]:
        """What was counted since this gateway started, by deployment."""
        return {name: lane.count for name, lane in sorted(self._lanes.items())}

    def report(self) -> tuple[FeedReport, ...]:
        """How each deployment does, by name."""
        return tuple(lane.report() for _, lane in sorted(self._lanes.items()))

    def _finish(self, lane: Lane, effects: list[Effect]) -> list[Effect]:
        """Strike finished requests off, and ask for a report when the lane has news for the controller."""
        for effect in effects:
            if isinstance(effect, (Complete, Fail)):
                self._lane_of.pop(effect.request, None)
        if lane.has_changed:
            lane.has_changed = False
            effects.append(Report())
        return effects
