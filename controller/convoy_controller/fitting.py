"""Which deployments gateways are told of, where one message does not hold all of them.

A gateway is told of every deployment in one message. Those that it knows stay, and one that serves goes before one that
does not yet; one that does not fit is left out, and its owner told, until another one goes. Deterministic.
"""

from __future__ import annotations

from convoy_schema import codec
from convoy_schema.messages.gateways import MOST_FEEDS, Feed, GatewayDesired

from convoy_controller.database.records import NewEvent, Severity

#: Bytes of the message that are none of its feeds', at the most.
FRAME_BYTES = 256


class Fitting:
    """`feeds` are those that gateways are told of, `left_out` the deployments, by name, that they are not."""

    def __init__(self) -> None:
        self.feeds: tuple[Feed, ...] = ()
        self.left_out: frozenset[str] = frozenset()
        self._wanted: tuple[Feed, ...] = ()

    def fit(self, wanted: tuple[Feed, ...]) -> list[NewEvent]:
        """Take those that one message holds, in the order given; what is to be said of changes.

        Those of deployments that gateways are told of already are taken first; then those that serve, which is what a
        controller that has come back goes by.
        """
        if wanted == self._wanted:
            return []
        self._wanted = wanted
        known = {feed.intent.deployment for feed in self.feeds}
        room, taken = GatewayDesired.MAX_BYTES - FRAME_BYTES, set[str]()
        for feed in sorted(wanted, key=lambda each: (each.intent.deployment not in known, each.serving is None)):
            size = len(codec.pack(feed))
            if size <= room and len(taken) < MOST_FEEDS:
                taken.add(feed.intent.deployment)
                room -= size
        before, self.left_out = self.left_out, frozenset(each.intent.deployment for each in wanted) - taken
        self.feeds = tuple(each for each in wanted if each.intent.deployment in taken)
        return [
            NewEvent(
                "not-fed",
                f"{name} is not fed: what a site's gateways are told is full ({len(taken)} deployments; at the most "
                f"{MOST_FEEDS}, with {GatewayDesired.MAX_BYTES:,} bytes for the boards that they enter by). "
                "Remove another deployment, or give it a site of its own.",
                Severity.ERROR,
                deployment=name,
            )
            for name in sorted(self.left_out - before)
        ]
