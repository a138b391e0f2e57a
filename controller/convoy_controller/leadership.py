"""Which controller acts, when there is more than one: decided by what each says of itself, not by the broker.

A deterministic core. The one in charge says so every second, with its epoch; boards refuse a lower epoch, which fences
the other even where both believe to be in charge for a moment. Whoever takes over from one that fell silent opens a new
epoch; after a goodbye the old one goes on.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from convoy_schema.messages.boards import Presence
from convoy_schema.messages.gateways import ControllerState

#: Seconds after connecting during which a controller only listens: three of the other one's seconds, and some.
LISTEN_S = 1.5
#: Seconds of silence after which the other controller counts as gone; it speaks each second.
SILENCE_S = 4.0


class Standing(enum.Enum):
    """Where a controller stands."""

    AWAY = "away"  # no connection
    LISTENING = "listening"
    STANDBY = "standby"
    IN_CHARGE = "in-charge"


@dataclass(frozen=True)
class Stands:
    """A change of standing, and the sentence that says why."""

    standing: Standing
    reason: str


class Leadership:
    """This controller's standing. `session` names this process; `epoch` is that of its reign, 0 before the first."""

    def __init__(self, session: int) -> None:
        self.session = session
        self.epoch = 0
        self.standing = Standing.AWAY
        #: Whether whoever reigned before said goodbye: only then may its epoch go on.
        self.is_clean = True
        self._since = 0.0
        self._rival: ControllerState | None = None
        self._rival_at = 0.0

    def connected(self, now: float) -> None:
        """We can hear the others, and are heard."""
        self.standing, self._since, self._rival_at = Standing.LISTENING, now, now

    def disconnected(self) -> None:
        """We hear nobody; a reign is suspended, not over."""
        self.standing = Standing.AWAY

    def heard(self, state: ControllerState, retained: bool, now: float) -> list[Stands]:
        """Another controller's word about itself. A retained `online` may be a dead one's: it is only remembered."""
        if state.session == self.session:
            return []
        if state.presence is Presence.OFFLINE:
            if self._rival is None or self._rival.session == state.session:
                self._rival = None
                # A will was written before the reign, and names no epoch: its author may still live and act.
                self.is_clean = state.epoch > 0
                if self.standing is Standing.STANDBY:
                    return self._move(Standing.LISTENING, "the controller in charge said goodbye", now - LISTEN_S)
            return []
        if retained:
            if self.epoch == 0:
                self.is_clean = False  # it never said goodbye; if it still lives it will speak within a second
            return []
        self._rival, self._rival_at = state, now
        if self.standing is Standing.STANDBY:
            return []
        if self.epoch and (self.epoch, self.session) > (state.epoch, state.session):
            return []  # it hears of us within a second, and stands back
        reason = f"controller {state.session} is in charge, epoch {state.epoch}"
        return self._move(Standing.STANDBY, reason, now)

    def tick(self, now: float) -> list[Stands]:
        """What time alone brings: the end of listening, and of waiting for one that is silent."""
        if self.standing is Standing.LISTENING and now - self._since >= LISTEN_S:
            return self._move(Standing.IN_CHARGE, "nobody else is in charge", now)
        if self.standing is Standing.STANDBY and self._rival is not None and now - self._rival_at > SILENCE_S:
            reason = f"controller {self._rival.session} was silent for {now - self._rival_at:.1f} s"
            self._rival, self.is_clean = None, False
            self.epoch = 0  # a new reign, and a new epoch with it
            return self._move(Standing.IN_CHARGE, reason, now)
        return []

    def _move(self, standing: Standing, reason: str, since: float) -> list[Stands]:
        if standing is Standing.STANDBY:
            self.epoch = 0
            self.is_clean = False
        self.standing, self._since = standing, since
        return [Stands(standing, reason)]
