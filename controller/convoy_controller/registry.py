"""What the controller believes of each board and gateway, and since when: presence is decided here and nowhere else.

A deterministic core: messages and `now` (monotonic seconds) in, changes out. Wills and retained state only make it
faster; three pulses missed is offline whatever the broker says, and after any connect of our own, presence is unknown
until something fresh arrives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from convoy_schema.messages.boards import BoardState, Capability, Phase, Presence, Pulse, Reported
from convoy_schema.messages.gateways import GatewayReported, GatewayState

from convoy_controller.database.records import BoardPresence
from convoy_controller.rarely import is_to_be_repeated
from convoy_controller.stage_totals import StageTotals, advanced

#: Pulses that must be missed before a board counts as gone.
MISSED_PULSES = 3
#: Seconds of grace beyond the last of them: a pulse on its way is no death.
PULSE_GRACE_S = 0.5
#: Seconds between pulses of a board that has not said.
IDLE_PULSE_S = 30.0
#: A gateway reports each second.
GATEWAY_SILENCE_S = 4.0
#: Seconds after our own connect within which a peer must answer the call to restate itself.
UNANSWERED_S = 5.0
#: Returns of a board that are remembered.
MOST_RETURNS = 32


@dataclass(frozen=True)
class PresenceChanged:
    """A presence that differs from the one before; `session` is the one it is about."""

    name: str
    presence: BoardPresence
    session: int
    reason: str


@dataclass(frozen=True)
class SessionTaken:
    """A board speaks in a new session while the one before had not ended: a crash, or two daemons with one name."""

    name: str
    old: int
    new: int


Change = PresenceChanged | SessionTaken


@dataclass
class Peer:
    """What is known of one board or gateway."""

    name: str
    presence: BoardPresence = BoardPresence.UNKNOWN
    session: int = 0
    fresh_at: float = 0.0
    interval_s: float = IDLE_PULSE_S
    #: Times that it went, or was replaced by a session that began without a goodbye of the one before.
    losses: int = 0


@dataclass(frozen=True)
class Return:
    """A board came back at `at`: in a new session, or in the same one after it had been silent."""

    at: float
    is_new_session: bool


@dataclass(frozen=True)
class Foreign:
    """A board last spoke a version of the protocol that is out of range: `current`, and the `oldest` it takes."""

    current: int
    oldest: int
    since: float


@dataclass
class BoardRecord(Peer):
    """A board's last words of each kind."""

    capability: Capability | None = None
    reported: Reported | None = None
    pulse: Pulse | None = None
    #: Since when it holds what it last reported, ready; None while it does not.
    settled_since: float | None = None
    #: By deployment; a new mapping with each pulse, and None before the first.
    totals: Mapping[str, StageTotals] | None = None
    foreign: Foreign | None = None
    #: Pulses in a row that tell of another state than the last report does.
    unlike: int = 0
    returns: deque[Return] = field(default_factory=lambda: deque(maxlen=MOST_RETURNS))
    ended: set[int] = field(default_factory=set)


@dataclass
class GatewayRecord(Peer):
    """A gateway's last words."""

    reported: GatewayReported | None = None


def _deadline(board: BoardRecord) -> float:
    """Up to when it is not silent for too long, whatever rounding does."""
    return board.fresh_at + MISSED_PULSES * board.interval_s


class Registry:
    """Every board and gateway ever heard of by this process."""

    def __init__(self) -> None:
        self.boards: dict[str, BoardRecord] = {}
        self.gateways: dict[str, GatewayRecord] = {}
        self._up_at: float | None = None
        #: No board falls silent before then: among 10,000 a look at each, four times a second, is felt.
        self._silent_at = 0.0
        #: Whether the presence of anybody may be unknown, for the same reason.
        self._may_be_unknown = False

    def board(self, name: str) -> BoardRecord:
        """The record of that board, made when it is new."""
        record = self.boards.get(name)
        if record is None:
            record = self.boards[name] = BoardRecord(name)
            self._may_be_unknown = True
        return record

    def gateway(self, name: str) -> GatewayRecord:
        """The record of that gateway, made when it is new."""
        record = self.gateways.get(name)
        if record is None:
            record = self.gateways[name] = GatewayRecord(name)
            self._may_be_unknown = True
        return record

    def online_gateways(self) -> list[GatewayRecord]:
        """Gateways that are there now, by name."""
        records = sorted(self.gateways.items())
        return [record for _, record in records if record.presence is BoardPresence.ONLINE]

    # Boards ----------------------------------------------------------------------------------------------------------

    def board_state(self, name: str, state: BoardState, retained: bool, now: float) -> list[Change]:
        """A board's own word, or its will's. A retained `online` proves nothing; a death of another session is old."""
        record = self.board(name)
        if state.presence is Presence.OFFLINE:
            record.ended.add(state.session)
            if state.session != record.session and record.session != 0:
                return []
            return self._judge(record, BoardPresence.OFFLINE, state.session, state.reason or "said goodbye")
        if retained:
            return []
        if state.session == record.session:
            # Its connection had died, not the board: it is back on another one, and says so.
            record.ended.discard(state.session)
        return self._fresh(record, state.session, now)

    def capability(self, name: str, capability: Capability, retained: bool, now: float) -> list[Change]:
        """What a board is; retained it may be old, but parts do not change while nobody looks."""
        record = self.board(name)
        record.capability = capability
        return [] if retained else self._fresh(record, capability.session, now)

    def board_reported(self, name: str, reported: Reported, retained: bool, now: float) -> list[Change]:
        """What is true on a board. A retained report counts only until a session speaks that is not its own."""
        record = self.board(name)
        if retained and record.session not in (0, reported.session):
            return []
        changes = [] if retained else self._fresh(record, reported.session, now)
        if record.session in (0, reported.session):
            _settle(record, reported, now)
            record.reported = reported
        return changes

    def pulse(self, name: str, pulse: Pulse, now: float) -> list[Change]:
        """A sign of life, and how long until the next."""
        record = self.board(name)
        changes = self._fresh(record, pulse.session, now)
        if record.session == pulse.session:
            record.totals = advanced(record.totals, record.pulse, pulse)
            record.pulse = pulse
            is_unlike = record.capability is None or _is_unlike(record.reported, pulse)
            record.unlike = record.unlike + 1 if is_unlike else 0
            record.interval_s = pulse.interval_ms / 1000
            self._silent_at = min(self._silent_at, _deadline(record))
        return changes

    def has_missed_report(self, name: str) -> bool:
        """Whether a report seems to be lost, by the pulse that has just come.

        Reports come at QoS 0, and so does what a board is. One pulse may overtake the report that it is like.
        """
        record = self.board(name)
        return record.unlike > 0 and is_to_be_repeated(record.unlike, record.interval_s)

    def board_foreign(self, name: str, current: int, oldest: int, now: float) -> None:
        """A board says something in a version of the protocol that is not spoken here: nothing more is known of it."""
        record = self.board(name)
        before = record.foreign
        since = now if before is None or (before.current, before.oldest) != (current, oldest) else before.since
        record.foreign = Foreign(current, oldest, since)

    def _fresh(self, record: BoardRecord, session: int, now: float) -> list[Change]:
        if session in record.ended:
            return []  # words of the dead, overtaken by their own will
        changes: list[Change] = []
        record.foreign = None
        if record.session and (session != record.session or record.presence is BoardPresence.OFFLINE):
            record.returns.append(Return(now, session != record.session))
        if session != record.session:
            if record.session != 0 and record.presence is BoardPresence.ONLINE:
                changes.append(SessionTaken(record.name, record.session, session))
            if record.session:
                record.ended.add(record.session)
            record.reported = record.settled_since = None
            record.pulse = None
            record.interval_s = IDLE_PULSE_S
        record.fresh_at = now
        self._silent_at = min(self._silent_at, _deadline(record))
        return changes + self._judge(record, BoardPresence.ONLINE, session, "heard from")

    # Gateways --------------------------------------------------------------------------------------------------------

    def gateway_state(self, name: str, state: GatewayState, retained: bool, now: float) -> list[Change]:
        """A gateway's own word, or its will's."""
        record = self.gateway(name)
        if state.presence is Presence.OFFLINE:
            if state.session != record.session and record.session != 0:
                return []
            return self._judge(record, BoardPresence.OFFLINE, state.session, "said goodbye")
        if retained:
            return []
        record.fresh_at = now
        return self._judge(record, BoardPresence.ONLINE, state.session, "heard from")

    def gateway_reported(self, name: str, reported: GatewayReported, retained: bool, now: float) -> list[Change]:
        """What a gateway feeds and still awaits."""
        record = self.gateway(name)
        if retained:
            return []
        if record.session != reported.session:
            record.reported = None
        record.reported = reported
        record.fresh_at = now
        return self._judge(record, BoardPresence.ONLINE, reported.session, "heard from")

    def lost_since(self, board: str) -> float:
        """When a board that is gone was last heard, or since when we can hear, if that is later."""
        return max(self.board(board).fresh_at, self._up_at or 0.0)

    # Time ------------------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[Change]:
        """What silence tells."""
        if self._up_at is None:
            return []
        changes = self._fallen_silent(now) if now >= self._silent_at else []
        for gateway in self.gateways.values():
            silence = now - gateway.fresh_at
            if gateway.presence is BoardPresence.ONLINE and silence > GATEWAY_SILENCE_S:
                changes += self._judge(gateway, BoardPresence.OFFLINE, gateway.session, f"silent for {silence:.1f} s")
        if self._may_be_unknown and now - self._up_at > UNANSWERED_S:
            self._may_be_unknown = False
            for peer in self._peers():
                if peer.presence is BoardPresence.UNKNOWN:
                    changes += self._judge(
                        peer, BoardPresence.OFFLINE, peer.session, "did not answer the call to restate"
                    )
        return changes

    def _fallen_silent(self, now: float) -> list[Change]:
        changes: list[Change] = []
        self._silent_at = float("inf")
        for board in self.boards.values():
            if board.presence is not BoardPresence.ONLINE:
                continue
            silence = now - board.fresh_at
            if silence > MISSED_PULSES * board.interval_s + PULSE_GRACE_S:
                reason = f"silent for {silence:.1f} s, {MISSED_PULSES} pulses missed"
                changes += self._judge(board, BoardPresence.OFFLINE, board.session, reason)
            else:
                self._silent_at = min(self._silent_at, _deadline(board))
        return changes

    def link_up(self, now: float) -> None:
        """We are connected; silence counts from here."""
        self._up_at = now

    def link_lost(self) -> list[Change]:
        """Our own connection is gone: what was known is no longer known."""
        self._up_at = None
        self._may_be_unknown = True
        changes: list[Change] = []
        for peer in self._peers():
            if peer.presence is BoardPresence.ONLINE:
                changes += self._judge(peer, BoardPresence.UNKNOWN, peer.session, "the controller lost the broker")
        return changes

    def _peers(self) -> list[Peer]:
        return [*self.boards.values(), *self.gateways.values()]

    @staticmethod
    def _judge(peer: Peer, presence: BoardPresence, session: int, reason: str) -> list[Change]:
        same = peer.presence is presence and peer.session == session
        if peer.presence is BoardPresence.ONLINE and (presence is BoardPresence.OFFLINE or session != peer.session):
            peer.losses += 1
        peer.presence, peer.session = presence, session
        return [] if same else [PresenceChanged(peer.name, presence, session, reason)]


def _is_unlike(reported: Reported | None, pulse: Pulse) -> bool:
    """Whether what a board follows or serves by its pulse is not what it last reported."""
    if reported is None or (reported.epoch, reported.revision) != (pulse.epoch, pulse.revision):
        return True
    ready = {(each.deployment, each.generation) for each in reported.assignments if each.phase is Phase.READY}
    return ready != {(stage.deployment, stage.generation) for stage in pulse.stages}


def _settle(record: BoardRecord, reported: Reported, now: float) -> None:
    """Note since when the board is ready with all that it was told."""
    before = record.reported
    if reported.blocked or any(each.phase is not Phase.READY for each in reported.assignments):
        record.settled_since = None
    elif (
        record.settled_since is None
        or before is None
        or (before.epoch, before.revision) != (reported.epoch, reported.revision)
    ):
        record.settled_since = now
