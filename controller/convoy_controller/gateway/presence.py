"""Who is online under a gateway's name: itself, a predecessor of which the broker keeps word, or somebody else.

Deterministic; `service` publishes when told to, and stops when the name is taken.
"""

from __future__ import annotations

import enum

from convoy_schema.messages.boards import Presence
from convoy_schema.messages.gateways import GatewayState

#: After a reconnect: seconds to look for a successor before we say that we are here.
LOOK_S = 0.2
MAX_PREDECESSORS = 64


class Verdict(enum.Enum):
    """What to do about a word on our own state topic."""

    NOTHING = "nothing"
    SAY_ONLINE = "say-online"
    TAKEN = "taken"


class OwnName:
    """This incarnation's claim to its name. `session` is its number."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._was_online = False
        self._look_until: float | None = None
        self._predecessors: set[int] = set()

    def connected(self, now: float) -> bool:
        """Whether to say at once that we are online; after a reconnect we first see what the broker holds."""
        if self._was_online:
            self._look_until = now + LOOK_S
            return False
        self._was_online = True
        return True

    def is_due(self, now: float) -> bool:
        """Whether the look after a reconnect is over, and we should say that we are online."""
        if self._look_until is None or now < self._look_until:
            return False
        self._look_until = None
        return True

    def heard(self, state: GatewayState, is_retained: bool) -> Verdict:
        """A word on our own state topic.

        A retained `online` of another session is a predecessor's when it is there from the start (a broker that was
        killed keeps such things); when it appears while we were away, somebody took our place.
        """
        is_ours = state.session == self._session
        if state.presence is Presence.OFFLINE:
            # The will of an older connection or of a predecessor, come after our own word: it must not stand.
            self._look_until = None
            return Verdict.SAY_ONLINE
        if is_ours:
            if is_retained:
                self._look_until = None
            return Verdict.NOTHING
        if is_retained and (self._look_until is None or state.session in self._predecessors):
            if len(self._predecessors) < MAX_PREDECESSORS:
                self._predecessors.add(state.session)
            return Verdict.NOTHING
        return Verdict.TAKEN
