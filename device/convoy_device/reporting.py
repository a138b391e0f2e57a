"""What the board says about itself, and when: presence, capability, reported, pulses. Deterministic, no I/O."""

from __future__ import annotations

import random
from collections import Counter

from convoy_schema.messages.boards import BoardState, Capability, Presence, Reported

from convoy_device.effects import Effect, EmitPulse, Publish
from convoy_device.events import Role

#: Seconds between reports that differ only in how far something is.
PROGRESS_S = 0.25
#: Seconds between reports that differ only in modules swapped at run time.
SWAPS_S = 5.0
#: Seconds between pulses with a live stage, and without.
PULSE_LIVE_S = 1.0
PULSE_IDLE_S = 30.0
#: Seconds after a connection at which presence is said again, plus as much at random: a daemon of the same name that
#: came at the same moment did not listen yet.
RESTATE_S = 1.0


class Reporter:
    """Decides which of the board's own leaves to publish at a moment; the agent tells it what is true."""

    def __init__(self, session: int, capability: Capability, chance: random.Random) -> None:
        self._session = session
        self._capability = capability
        self._chance = chance
        self._is_connected = False
        self._said: Reported | None = None
        self._said_at = 0.0
        self._changed_at: float | None = None
        self._restate_at: float | None = None
        self._rebirth_at: float | None = None
        self._pulse_at: float | None = None
        self._pulse_interval_s = PULSE_IDLE_S
        #: Messages that could not be used, by what they should have been.
        self.refused: Counter[str] = Counter()

    def connected(self, now: float) -> list[Effect]:
        """A new session at the broker: say everything."""
        self._is_connected = True
        self._restate_at = now + RESTATE_S * (1 + self._chance.random())
        self._pulse_at = now
        self._said = self._changed_at = None
        return [self.presence(Presence.ONLINE), Publish(Role.CONTROL, "capability", self._capability)]

    def disconnected(self) -> None:
        """Nothing can be said until the next connection."""
        self._is_connected = False

    def presence(self, presence: Presence, reason: str = "") -> Effect:
        """State of this session."""
        return Publish(Role.CONTROL, "state", BoardState(presence, self._session, reason))

    def rebirth(self, within_ms: int, now: float) -> None:
        """Say everything again at a random moment, so that a fleet does not answer at once."""
        if self._rebirth_at is None:
            self._rebirth_at = now + self._chance.random() * within_ms / 1000

    def restate_soon(self, now: float) -> None:
        """Somebody else wrote this board's presence: put it right, at most once a second."""
        if self._restate_at is None:
            self._restate_at = now + RESTATE_S * self._chance.random()

    def unsaid(self, now: float) -> None:
        """A report was dropped by the link: say it again."""
        self._said = None
        self._changed_at = now + PROGRESS_S

    def say(self, truth: Reported, is_live: bool, now: float) -> list[Effect]:
        """What to publish now, given what is true."""
        if not self._is_connected:
            return []
        effects: list[Effect] = []
        if self._rebirth_at is not None and now >= self._rebirth_at:
            self._rebirth_at = None
            self._said = self._changed_at = None
            self._pulse_at = now
            effects += [self.presence(Presence.ONLINE), Publish(Role.CONTROL, "capability", self._capability)]
        if self._restate_at is not None and now >= self._restate_at:
            self._restate_at = None
            effects.append(self.presence(Presence.ONLINE))
        if self._is_time(truth, now):
            self._said, self._said_at, self._changed_at = truth, now, None
            effects.append(Publish(Role.CONTROL, "reported", truth))
        interval_s = PULSE_LIVE_S if is_live else PULSE_IDLE_S
        if self._pulse_at is None or now >= self._pulse_at or interval_s != self._pulse_interval_s:
            self._pulse_at, self._pulse_interval_s = now + interval_s, interval_s
            effects.append(EmitPulse(truth.epoch, truth.revision, int(interval_s * 1000), dict(self.refused)))
        return effects

    def _is_time(self, truth: Reported, now: float) -> bool:
        said = self._said
        if said is None:
            return self._changed_at is None or now >= self._changed_at
        if truth is said or truth == said:
            self._said, self._changed_at = truth, None  # the same object is the same at a glance next time
            return False
        if _without_progress(truth) == _without_progress(said):
            wait_s = SWAPS_S if _without_swaps(truth) == _without_swaps(said) else PROGRESS_S
            self._changed_at = self._said_at + wait_s
            return now >= self._changed_at
        return True

    def due(self) -> list[float]:
        """When `say` may next have something to say without anything having happened."""
        if not self._is_connected:
            return []
        times = (self._restate_at, self._rebirth_at, self._pulse_at, self._changed_at)
        return [at for at in times if at is not None]


def _without_progress(reported: Reported) -> tuple[object, ...]:
    """What is worth a report at once: phases, errors, the shell, degraded partitions."""
    phases = tuple(
        (each.deployment, each.generation, each.phase, each.code, each.message, each.retryable)
        for each in reported.assignments
    )
    return phases, tuple((each.partition, each.degraded) for each in reported.partitions), *_rest(reported)


def _without_swaps(reported: Reported) -> tuple[object, ...]:
    """Everything but which modules are where just now."""
    partitions = tuple((each.partition, each.degraded) for each in reported.partitions)
    return reported.assignments, partitions, reported.store_bytes, *_rest(reported)


def _rest(reported: Reported) -> tuple[object, ...]:
    """Whatever else it says, now or in a later version."""
    left = ("assignments", "partitions", "store_bytes")
    return tuple(value for name, value in vars(reported).items() if name not in left)
