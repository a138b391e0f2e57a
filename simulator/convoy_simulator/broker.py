"""A deterministic model of Mosquitto 2.0 as Convoy uses it: what it sends to whom, in which order, what it drops.

MQTT 3.1.1, QoS 0 and 1, clean and persistent sessions, over connections that are numbers. It was made to match
Mosquitto 2.0.11, and is checked against it by random scripts that run on both. Where that differs from its manual or
from the standard, so does this:

- A wildcard subscribed at QoS 1 gets as many retained messages as the window and the queue hold; the rest is dropped.
- The window (`broker_session`) is wider than `max_inflight_messages` says, and a PUBACK for nothing widens it.
- Of overlapping filters a client gets one copy, of the filter that is visited first and not dropped; message numbers
  are counted for the others as well.
- A client that does not read loses every kind of packet, SUBACK and PUBACK too, once `max_queued_messages` wait for its
  socket. A message of QoS 1 that is lost so still holds its place in the window.
- Retained messages for a client whose socket is full stay until the next message for it.
- A will goes out at a takeover only if one of the two sessions is a clean one, and never after a second CONNECT.
- Keepalive is looked at every 6 s, in whole seconds.

What is not modelled: QoS 2 (refused with ValueError), bridges, `$SYS`, and that a burst within one call may fill a
socket: until the transport says so (`unwritten`), everything sent counts as taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import floor
from types import MappingProxyType
from typing import NamedTuple

from convoy_simulator.access_rules import AccessRules
from convoy_simulator.broker_limits import MOSQUITTO, Limits
from convoy_simulator.broker_session import Session
from convoy_simulator.mqtt_packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    publish_size,
    size_of,
)
from convoy_simulator.topic_trees import RetainedTree, SubscriptionNode, SubscriptionTree, is_filter, is_topic

#: Seconds between two looks at the keepalives.
KEEPALIVE_LOOK_S = 6
REFUSED_ID = 2
FAILURE = 128


class Send(NamedTuple):
    """A packet is to go to a client."""

    connection: int
    packet: Packet


class Close(NamedTuple):
    """The broker ends a connection; what its socket has not taken is lost."""

    connection: int
    reason: str


Effect = Send | Close


class Traffic(NamedTuple):
    """Counted since the broker started: packets of all kinds, messages (PUBLISH) among them, and bytes on the wire."""

    packets_received: int
    packets_sent: int
    messages_received: int
    messages_sent: int
    messages_dropped: int
    bytes_received: int
    bytes_sent: int
    bytes_dropped: int


class SessionView(NamedTuple):
    """A session as it is now."""

    client_id: str
    #: None while the client is away.
    connection: int | None
    subscriptions: dict[str, int]
    #: Messages of QoS 1 that wait for their PUBACK, and those behind them.
    inflight: int
    queued: int
    queued_bytes: int
    #: Packets that its socket has not taken.
    unwritten: int


class Broker:
    """The broker. Connections are numbers that the transport gives; none is ever given twice.

    It starts at `now`; a packet on a connection that it does not know, and that is no CONNECT, closes that connection.
    """

    def __init__(self, limits: Limits = MOSQUITTO, now: float = 0.0) -> None:
        self.limits = limits
        self._rules = None if limits.rules is None else AccessRules(limits.rules)
        self._most_bytes = limits.max_queued_bytes or 1 << 62
        self._snapshot: tuple[list[Publish], list[Session]] = ([], [])
        self._start(now)

    def _start(self, now: float) -> None:
        self._connections: dict[int, Session] = {}
        self._sessions: dict[str, Session] = {}
        self._tree = SubscriptionTree()
        self._retained = RetainedTree()
        self._looked_at = floor(now)
        self._packets_received = self._packets_sent = self._bytes_received = self._bytes_sent = 0
        self._messages_received = self._messages_sent = self._messages_dropped = self._bytes_dropped = 0
        self._named = 0

    # Events ----------------------------------------------------------------------------------------------------------

    def received(self, connection: int, packet: Packet, now: float) -> list[Effect]:
        """A whole packet came; the first of a connection must be CONNECT."""
        effects: list[Effect] = []
        size = size_of(packet)
        self._packets_received += 1
        self._bytes_received += size
        session = self._connections.get(connection)
        if session is None:
            self._first(connection, packet, now, effects)
            return effects
        session.heard_at = now
        if self.limits.max_packet_size and size > self.limits.max_packet_size:
            self._end(session, now, effects, f"a packet of {size} bytes")
        elif type(packet) is Publish:
            self._published(session, packet, now, effects)
        else:
            self._told(session, packet, now, effects)
        return effects

    def heard(self, connection: int, now: float) -> None:
        """Bytes came of a packet that is not whole yet: the client is alive."""
        if connection in self._connections:
            self._connections[connection].heard_at = now

    def lost(self, connection: int, now: float) -> list[Effect]:
        """TCP ended without DISCONNECT; nothing happens for a connection that the broker closed itself."""
        effects: list[Effect] = []
        session = self._connections.get(connection)
        if session is not None:
            self._leave(session, now, effects)
        return effects

    def unwritten(self, connection: int, packets: int) -> None:
        """The client's socket has not taken the last `packets` of what was sent; 0 when it has taken all.

        To be called when the socket is full, and again as it drains. A packet taken in part counts. Until it is 0, the
        broker adds to that number what it sends; while it is 0, it takes every packet for written.
        """
        if connection in self._connections:
            self._connections[connection].unwritten = packets

    def due(self) -> float | None:
        """When `tick` is to be called next."""
        return float(self._looked_at + KEEPALIVE_LOOK_S) if self._sessions else None

    def tick(self, now: float) -> list[Effect]:
        """End the connections from which nothing has come for 1.5 times their keepalive, and forget old sessions."""
        effects: list[Effect] = []
        second = floor(now)
        if second < self._looked_at + KEEPALIVE_LOOK_S:
            return effects
        self._looked_at += (second - self._looked_at) // KEEPALIVE_LOOK_S * KEEPALIVE_LOOK_S
        for session in list(self._connections.values()):
            if session.keepalive_s and second - floor(session.heard_at) > session.keepalive_s * 3 // 2:
                self._end(session, now, effects, "keepalive")
        most_s = self.limits.persistent_client_expiration_s
        for session in list(self._sessions.values()) if most_s else ():
            if session.connection is None and now - session.left_at > most_s:
                self._forget(session)
        return effects

    def save(self) -> None:
        """Take the snapshot that `restart(keep=True)` finds."""
        kept = [session.copied() for session in self._sessions.values() if not session.clean]
        self._snapshot = (list(self._retained.all()), kept)

    def restart(self, keep: bool, now: float) -> None:
        """Killed, and started again: connections are gone without wills; `keep` brings back the last snapshot."""
        self._start(now)
        if not keep:
            self._snapshot = ([], [])
            return
        messages, sessions = self._snapshot
        for message in messages:
            self._retained.keep(message)
        for kept in sessions:
            session = self._sessions[kept.client_id] = kept.copied()
            session.left_at = now
            for filter_, qos in session.subscriptions.items():
                self._tree.add(filter_, session, qos)

    # Coming and going ------------------------------------------------------------------------------------------------

    def _first(self, connection: int, packet: Packet, now: float, effects: list[Effect]) -> None:
        if not isinstance(packet, Connect):
            effects.append(Close(connection, "no CONNECT"))
        elif self.limits.max_connections and len(self._connections) >= self.limits.max_connections:
            effects.append(Close(connection, "too many connections"))
        elif packet.will is not None and not is_topic(packet.will.topic):
            effects.append(Close(connection, "the will's topic"))
        elif not packet.client_id and not packet.clean:
            self._refuse(connection, effects)
        else:
            self._connect(connection, packet, now, effects)

    def _refuse(self, connection: int, effects: list[Effect]) -> None:
        answer = Connack(REFUSED_ID, False)
        self._count(answer)
        effects.append(Send(connection, answer))
        effects.append(Close(connection, "a persistent session without a client id"))

    def _connect(self, connection: int, packet: Connect, now: float, effects: list[Effect]) -> None:
        client_id = packet.client_id
        if not client_id:
            self._named += 1
            client_id = f"auto-{self._named}"
        session = self._taken_over(client_id, packet.clean, now, effects)
        present = session is not None
        if session is None:
            session = Session(self.limits, client_id, packet.user, packet.clean)
        self._sessions[client_id] = self._connections[connection] = session
        session.connection, session.user, session.heard_at = connection, packet.user, now
        session.keepalive_s, session.will = packet.keepalive_s, packet.will
        if session.will is not None and session.will.qos > 1:
            raise ValueError("a will of QoS 2 is not modelled")
        self._send(session, Connack(0, present), effects)
        if present:
            session.resume()
            self._send_pending(session, effects)

    def _taken_over(self, client_id: str, clean: bool, now: float, effects: list[Effect]) -> Session | None:
        """The session under that id, if it goes on; its connection ends, with its will unless both are persistent."""
        found = self._sessions.get(client_id)
        if found is None:
            return None
        if clean:
            self._unsubscribe_all(found)
        if clean or found.clean:
            self._send_will(found, effects)
        found.will = None
        if found.connection is not None:
            effects.append(Close(found.connection, "taken over"))
            del self._connections[found.connection]
            found.connection, found.unwritten, found.left_at = None, 0, now
        if clean or found.clean:
            self._forget(found)
            return None
        return found

    def _end(self, session: Session, now: float, effects: list[Effect], reason: str) -> None:
        """The broker ends a connection."""
        assert session.connection is not None
        effects.append(Close(session.connection, reason))
        self._leave(session, now, effects)

    def _leave(self, session: Session, now: float, effects: list[Effect]) -> None:
        """A connection has ended."""
        assert session.connection is not None
        del self._connections[session.connection]
        session.connection, session.unwritten, session.left_at = None, 0, now
        self._send_will(session, effects)
        if session.clean:
            self._forget(session)

    def _forget(self, session: Session) -> None:
        self._unsubscribe_all(session)
        del self._sessions[session.client_id]

    def _unsubscribe_all(self, session: Session) -> None:
        for filter_ in session.subscriptions:
            self._tree.remove(filter_, session)
        session.subscriptions.clear()

    def _send_will(self, session: Session, effects: list[Effect]) -> None:
        will, session.will = session.will, None
        if will is not None and (self._rules is None or self._rules.may_write(session.user, will.topic)):
            self._accept(Publish(*will), effects)

    # Packets of a client ---------------------------------------------------------------------------------------------

    def _told(self, session: Session, packet: Packet, now: float, effects: list[Effect]) -> None:
        kind = type(packet)
        if kind is Puback and packet.mid:  # type: ignore[union-attr]  # `kind` says so
            session.acknowledged(packet.mid)  # type: ignore[union-attr]
            self._send_pending(session, effects)
        elif kind is Pingreq:
            self._send(session, Pingresp(), effects)
        elif isinstance(packet, Subscribe) and packet.filters and all(is_filter(text) for text, _ in packet.filters):
            self._subscribe(session, packet, effects)
        elif isinstance(packet, Unsubscribe) and packet.filters and all(map(is_filter, packet.filters)):
            self._unsubscribe(session, packet, effects)
        else:
            if kind is Disconnect or kind is Connect:
                session.will = None
            self._end(session, now, effects, "DISCONNECT" if kind is Disconnect else f"not expected: {packet!r:.200}")

    def _published(self, session: Session, packet: Publish, now: float, effects: list[Effect]) -> None:
        if packet.qos > 1:
            raise ValueError("QoS 2 is not modelled")
        self._messages_received += 1
        if not is_topic(packet.topic) or (packet.qos and not packet.mid):
            self._end(session, now, effects, f"a PUBLISH on {packet.topic!r:.200}, number {packet.mid}")
            return
        is_allowed = self._rules is None or self._rules.may_write(session.user, packet.topic)
        if is_allowed:
            self._accept(packet, effects)
        if packet.qos:
            self._send(session, Puback(packet.mid), effects)
        if not is_allowed and max(0, session.unwritten - 1) >= self.limits.max_queued_messages:
            self._end(session, now, effects, "a PUBLISH that is refused, while too much waits for its socket")

    def _subscribe(self, session: Session, packet: Subscribe, effects: list[Effect]) -> None:
        for filter_, qos in packet.filters:
            session.subscriptions[filter_] = qos
            self._tree.add(filter_, session, qos)
            for message in self._retained.match(filter_):
                if self._rules is None or self._rules.may_read(session.user, message.topic):
                    self._add_retained(session, message, qos)
        self._send(session, Suback(packet.mid, tuple(qos for _, qos in packet.filters)), effects)
        if not session.unwritten:
            session.open_window()
            self._send_pending(session, effects)

    def _add_retained(self, session: Session, message: Publish, qos: int) -> None:
        if qos and message.qos:
            taken = session.add_numbered(message._replace(mid=session.next_mid()))
        else:
            taken = session.add_plain(message if not message.qos else message._replace(qos=0))
        if not taken:
            self._drop(message)

    def _unsubscribe(self, session: Session, packet: Unsubscribe, effects: list[Effect]) -> None:
        for filter_ in packet.filters:
            if session.subscriptions.pop(filter_, None) is not None:
                self._tree.remove(filter_, session)
        self._send(session, Unsuback(packet.mid), effects)

    # Messages --------------------------------------------------------------------------------------------------------

    def _accept(self, message: Publish, effects: list[Effect]) -> None:
        """Keep it if it is to be retained, and give it to those who subscribed."""
        if message.retain:
            self._retained.keep(Publish(message.topic, message.payload, message.qos, True))
        nodes = self._tree.match(message.topic)
        if nodes:
            plain = message
            if message.qos or message.retain or message.dup:
                plain = Publish(message.topic, message.payload, 0, False)
            if len(nodes) == 1:
                self._give(nodes[0], message.qos, plain, None, effects)
            else:
                reached: set[Session] = set()
                for node in nodes:
                    self._give(node, message.qos, plain, reached, effects)

    def _give(
        self, node: SubscriptionNode, qos: int, plain: Publish, reached: set[Session] | None, effects: list[Effect]
    ) -> None:
        """To the subscribers of one filter; to none of those `reached` by another, which is kept up to date."""
        rules, topic, most_bytes, sent = self._rules, plain.topic, self._most_bytes, 0
        for session, granted in node.subscribers.items():
            if rules is not None and not rules.may_read(session.user, topic):
                continue
            if qos and granted:
                taken = self._give_numbered(session, plain, reached, effects)
            elif reached is not None and session in reached:
                continue
            elif session.unwritten or session.pending or session.connection is None or session.size >= most_bytes:
                taken = self._give_plain(session, plain, effects)
            else:
                effects.append(tuple.__new__(Send, (session.connection, plain)))
                sent += 1
                taken = True
            if taken and reached is not None:
                reached.add(session)
        if sent:
            self._packets_sent += sent
            self._messages_sent += sent
            self._bytes_sent += sent * publish_size(plain)

    def _give_numbered(
        self, session: Session, plain: Publish, reached: set[Session] | None, effects: list[Effect]
    ) -> bool:
        mid = session.next_mid()
        if reached is not None and session in reached:
            return False
        message = Publish(plain.topic, plain.payload, 1, False, mid)
        if not session.add_numbered(message):
            self._drop(message)
            return False
        if session.connection is not None:
            self._send_pending(session, effects)
            session.open_window()
        return True

    def _give_plain(self, session: Session, plain: Publish, effects: list[Effect]) -> bool:
        if session.connection is None:
            return False
        if not session.add_plain(plain):
            self._drop(plain)
            return False
        self._send_pending(session, effects)
        session.open_window()
        return True

    def _send_pending(self, session: Session, effects: list[Effect]) -> None:
        if session.pending:
            for message in session.take_pending():
                self._send(session, message, effects)

    def _send(self, session: Session, packet: Packet, effects: list[Effect]) -> None:
        """To the client's socket, unless too much waits for it already."""
        assert session.connection is not None
        if session.unwritten:
            most = self.limits.max_queued_messages
            if most and session.unwritten > most:
                self._drop(packet)
                return
            session.unwritten += 1
        self._count(packet)
        effects.append(Send(session.connection, packet))

    def _count(self, packet: Packet) -> None:
        self._packets_sent += 1
        self._messages_sent += type(packet) is Publish
        self._bytes_sent += size_of(packet)

    def _drop(self, packet: Packet) -> None:
        self._messages_dropped += 1
        self._bytes_dropped += size_of(packet)

    # State -----------------------------------------------------------------------------------------------------------

    def traffic(self) -> Traffic:
        """What passed since the broker started."""
        return Traffic(
            self._packets_received,
            self._packets_sent,
            self._messages_received,
            self._messages_sent,
            self._messages_dropped,
            self._bytes_received,
            self._bytes_sent,
            self._bytes_dropped,
        )

    def retained(self) -> Mapping[str, Publish]:
        """Retained messages by topic, as they are now and later."""
        return MappingProxyType(self._retained.messages)

    def sessions(self) -> Iterator[SessionView]:
        """All sessions, those of clients that are away among them."""
        return map(_view, self._sessions.values())

    def session(self, client_id: str) -> SessionView | None:
        """One client's session."""
        session = self._sessions.get(client_id)
        return None if session is None else _view(session)


def _view(session: Session) -> SessionView:
    return SessionView(
        session.client_id,
        session.connection,
        dict(session.subscriptions),
        len(session.inflight),
        len(session.queued),
        sum(len(message.payload) for message in session.queued),
        session.unwritten,
    )
