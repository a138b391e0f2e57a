"""What comes in from boards, gateways and other controllers: parsed, counted, noted in the registry and recorded.

Bad input is refused and reported, and ends nothing. Called by `service`, in its loop; it decides nothing and publishes
nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from convoy_schema import codec
from convoy_schema.errors import DecodeError, SignatureError, TopicError, VersionError
from convoy_schema.messages.boards import BoardState, Capability, Pulse, Reported
from convoy_schema.messages.gateways import ControllerState, GatewayReported, GatewayState
from convoy_schema.messages.logs import BoardLog
from convoy_schema.topics import BoardTopic, ControllerTopic, GatewayTopic, ModelTopic, Topic, Topics, TrustTopic

from convoy_controller.database.records import BoardPresence, Severity, utc_now
from convoy_controller.delivery import is_worth_saying
from convoy_controller.journal import Writing
from convoy_controller.registry import Change, PresenceChanged, Registry, SessionTaken

log = logging.getLogger(__name__)

#: Seconds for which what is written for people alone may wait for more: figures, and how far a board is.
SAMPLE_WAIT_S, REPORT_WAIT_S = 1.0, 0.25


class Historian(Protocol):
    """Writes a line of history."""

    def __call__(self, kind: str, sentence: str, severity: Severity = ..., board: str | None = ...) -> None:
        """Of that kind, about `board` if it is about one."""


class Record(Protocol):
    """Has something written."""

    def __call__(self, write: Writing, due: float = ..., about: object = ...) -> None:
        """By `due` at the latest, on the intake's clock; without it as soon as can be.

        In place of what waits to be written `about` the same.
        """


@dataclass(frozen=True)
class Listener:
    """Whom the intake tells. `retained` says that a message concerns nobody else; `accepted` is given the epoch and
    revision that a board or gateway follows; `holds` a board that holds something; `follows` a board and what its
    pulse says that it follows; `announced` a model's announcement as it came, which may be a `DecodeError`;
    `statements` what is said of keys and floors, which may be a `SignatureError` too; `log` a board's log, False
    when nobody asked for it; `ask_again` has a board say everything again, however lately it was asked; `news`
    wakes who decides.
    """

    retained: Callable[[str, Topic, bytes, bool], bool]
    accepted: Callable[[int, int], None]
    holds: Callable[[str], None]
    follows: Callable[[str, int, int], None]
    announced: Callable[[str, bytes], None]
    statements: Callable[[bytes], None]
    controller: Callable[[ControllerState, bool, float], None]
    ask_to_restate: Callable[[str], None]
    ask_again: Callable[[str], None]
    log: Callable[[str, BoardLog], bool]
    record: Record
    event: Historian
    news: Callable[[], None]


class Intake:
    """Of one controller. `clock` gives monotonic seconds, `date` what history is dated by."""

    def __init__(
        self,
        topics: Topics,
        registry: Registry,
        listener: Listener,
        clock: Callable[[], float],
        date: Callable[[], datetime] = utc_now,
    ) -> None:
        self._topics = topics
        self._registry = registry
        self._listener = listener
        self._clock = clock
        self._date = date
        #: Messages that could not be taken, by why.
        self.refused: dict[str, int] = {}

    def received(self, topic: str, payload: bytes, retained: bool) -> None:
        """Take a message, or count and report it; nothing that comes in can stop the controller."""
        try:
            parsed = self._dispatch(topic, payload, retained)
        except (DecodeError, TopicError, SignatureError) as error:
            count = self.refuse(error.code)
            if isinstance(error, VersionError) and not retained:
                self._note_foreign(topic, error)
            if is_worth_saying(count):
                sentence = f"{topic[:120]}: {error} ({error.code}, {count} so far)"
                self._listener.event("refused", sentence, Severity.WARNING)
            self._listener.news()
            return
        if not (isinstance(parsed, BoardTopic) and parsed.leaf == "pulse"):
            # Nothing is decided by a pulse but whether its board is there, which `note` tells.
            self._listener.news()

    def _note_foreign(self, topic: str, error: VersionError) -> None:
        parsed = self._topics.parse(topic)
        if isinstance(parsed, BoardTopic):
            current, oldest = (int(str(error.data[key])) for key in ("peer_current", "peer_oldest"))
            self._registry.board_foreign(parsed.board, current, oldest, self._clock())

    def refuse(self, code: str) -> int:
        """Count something that could not be taken; how many there were of that code."""
        self.refused[code] = self.refused.get(code, 0) + 1
        return self.refused[code]

    def _dispatch(self, topic: str, payload: bytes, retained: bool) -> Topic:
        parsed = self._topics.parse(topic)
        now = self._clock()
        if self._listener.retained(topic, parsed, payload, retained) or not payload:
            return parsed  # nothing to the others, or a retained topic that was cleared
        if isinstance(parsed, BoardTopic):
            self._from_board(parsed.board, parsed.leaf, payload, retained, now)
        elif isinstance(parsed, GatewayTopic):
            self._from_gateway(parsed.gateway, parsed.leaf, payload, retained, now)
        elif isinstance(parsed, ControllerTopic):
            self._listener.controller(codec.decode(ControllerState, payload), retained, now)
        elif isinstance(parsed, ModelTopic):
            self._listener.announced(topic, payload)
        elif isinstance(parsed, TrustTopic):
            self._listener.statements(payload)
        return parsed

    def _from_board(self, name: str, leaf: str, payload: bytes, retained: bool, now: float) -> None:
        registry, listener = self._registry, self._listener
        if leaf == "pulse":
            pulse = codec.decode(Pulse, payload)
            listener.accepted(pulse.epoch, pulse.revision)
            self.note(registry.pulse(name, pulse, now))
            listener.follows(name, pulse.epoch, pulse.revision)
            if registry.has_missed_report(name):
                listener.ask_again(name)
            if registry.board(name).pulse is pulse:  # no words of the dead, which would count twice
                at = self._date()
                listener.record(lambda r: r.record_pulse(name, pulse, at, payload), now + SAMPLE_WAIT_S)
        elif leaf == "reported":
            reported = codec.decode(Reported, payload)
            listener.accepted(reported.epoch, reported.revision)
            self.note(registry.board_reported(name, reported, retained, now))
            if reported.assignments:
                listener.holds(name)
            if not retained:
                about = "reported", name, reported.session
                listener.record(lambda r: r.record_reported(name, reported), now + REPORT_WAIT_S, about)
        elif leaf == "capability":
            capability = codec.decode(Capability, payload)
            self.note(registry.capability(name, capability, retained, now))
            listener.record(lambda r: r.record_capability(name, capability))
        elif leaf == "log":
            if not listener.log(name, codec.decode(BoardLog, payload)):
                self.refuse("log-unasked")
        elif leaf == "state":
            self.note(registry.board_state(name, codec.decode(BoardState, payload), retained, now))
        if registry.board(name).presence is BoardPresence.UNKNOWN:
            listener.ask_to_restate(name)

    def _from_gateway(self, name: str, leaf: str, payload: bytes, retained: bool, now: float) -> None:
        if leaf == "state":
            self.note(self._registry.gateway_state(name, codec.decode(GatewayState, payload), retained, now))
        elif leaf == "reported":
            reported = codec.decode(GatewayReported, payload)
            self._listener.accepted(reported.epoch, reported.revision)
            self.note(self._registry.gateway_reported(name, reported, retained, now))
            if not retained:
                at = self._date()
                self._listener.record(lambda r: r.record_gateway_reported(name, reported, at), now + SAMPLE_WAIT_S)

    def note(self, changes: list[Change]) -> None:
        """Record what the registry made of a message, or of silence."""
        for change in changes:
            if isinstance(change, SessionTaken):
                sentence = f"{change.name} speaks in session {change.new} while {change.old} had not ended"
                self._listener.event("session-taken", sentence, Severity.WARNING, change.name)
            elif isinstance(change, PresenceChanged):
                self._presence_changed(change)
        if changes:
            self._listener.news()

    def _presence_changed(self, change: PresenceChanged) -> None:
        is_gateway = self.note_presence(change.name, change.presence, change.session, change.reason)
        severity = Severity.WARNING if change.presence is BoardPresence.OFFLINE else Severity.INFO
        sentence = f"{change.name} is {change.presence.value}: {change.reason}"
        log.info("%s", sentence)
        self._listener.event(change.presence.value, sentence, severity, None if is_gateway else change.name)

    def note_presence(self, name: str, presence: BoardPresence, session: int, reason: str) -> bool:
        """Record it; returns whether `name` is a gateway."""
        is_gateway = name in self._registry.gateways and name not in self._registry.boards
        if is_gateway:
            self._listener.record(lambda r: r.record_gateway_presence(name, presence, session))
        else:
            self._listener.record(lambda r: r.record_presence(name, presence, session, reason))
        return is_gateway
