"""A gateway that a controller under trial meets: it says what it was told, and what its tests gave."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from convoy_schema.messages.boards import Presence, Published
from convoy_schema.messages.gateways import (
    FeedReport,
    GatewayDesired,
    GatewayReported,
    GatewayState,
    ProbeReport,
)
from convoy_schema.names import Generation

from convoy_controller.conformance.wire import Wire


@dataclass
class PlayedGateway:
    """One gateway. Its first test fails, if `fails_first`, every other passes."""

    name: str
    wire: Wire
    fails_first: bool = True
    session: int = field(default_factory=lambda: secrets.randbits(62) + 1)
    desired: GatewayDesired | None = None
    #: What tests gave, by (deployment, generation).
    probes: dict[tuple[str, Generation], bool] = field(default_factory=dict)

    def come(self) -> None:
        """Be there."""
        self.wire.say(
            self.wire.topics.gateway(self.name, "state"), GatewayState(Presence.ONLINE, self.session), retain=True
        )
        self.report()

    def go(self) -> None:
        """Be gone."""
        state = GatewayState(Presence.OFFLINE, self.session)
        self.wire.say(self.wire.topics.gateway(self.name, "state"), state, retain=True)

    def obey(self, desired: GatewayDesired) -> None:
        """Follow an order, and test what is to be tested."""
        last = self.desired
        if last is not None and (desired.epoch, desired.revision) < (last.epoch, last.revision):
            return
        self.desired = desired
        for feed in desired.feeds:
            if feed.probing is not None:
                key = (feed.intent.deployment, feed.probing.generation)
                self.probes.setdefault(key, not self.fails_first)
                self.fails_first = False
        self.report()

    def report(self) -> None:
        """What it feeds and what its tests gave."""
        desired = self.desired
        feeds = tuple(
            FeedReport(
                feed.intent.deployment,
                feed.serving.generation if feed.serving is not None else None,
                (),
                tuple(
                    ProbeReport(generation, passed, "" if passed else "the trial lets the first test fail")
                    for (deployment, generation), passed in list(self.probes.items())[-32:]
                    if deployment == feed.intent.deployment
                ),
            )
            for feed in (desired.feeds if desired is not None else ())
        )
        epoch, revision = (desired.epoch, desired.revision) if desired is not None else (0, 0)
        said = GatewayReported(self.session, epoch, revision, "http://127.0.0.1:1", feeds, Published())
        self.wire.say(self.wire.topics.gateway(self.name, "reported"), said, retain=True)
