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
- A will goes out at a takeover only if one of the two sessions is a clean one. A second CONNECT on a connection ends
  it without a will, and its session.
- Keepalive is looked at every 6 s, in whole seconds.
- A connection that ends makes room for two under `max_connections`.
- A client whose PUBLISH the rules refuse is cut off while `max_queued_messages` wait for its socket.

What is not modelled: QoS 2 (refused with ValueError), bridges, `$SYS`, and that a burst within one call may fill a
socket: until the transport says so (`unwritten`), everything sent counts as taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import floor
from types import MappingProxyType

from convoy_simulator.broker_delivery import Delivery
from convoy_simulator.broker_effects import Close, Effect, Send, SessionView, Traffic
from convoy_simulator.broker_limits import MOSQUITTO, NO_LIMIT, Limits
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
    size_of,
    with_header,
)
from convoy_simulator.topic_trees import is_filter, is_topic

__all__ = ["MOSQUITTO", "Broker", "Close", "Effect", "Limits", "Send", "SessionView", "Traffic"]

#: Seconds between two looks at the keepalives.
KEEPALIVE_LOOK_S = 6
REFUSED_ID = 2


class Broker:
    """The broker. Connections are numbers that the transport gives; none is ever given twice.

    It starts at `now`; a packet on a connection that it does not know, and that is no CONNECT, closes that connection.
    """

    def __init__(self, limits: Limits = MOSQUITTO, now: float = 0.0) -> None:
        self.limits = limits
        # It counts the bytes after the fixed header, and one more.
        self._most_packet = with_header(limits.max_packet_size - 1) if limits.max_packet_size else NO_LIMIT
        self._snapshot: tuple[list[Publish], list[Session]] = ([], [])
        self._start(now)

    def _start(self, now: float) -> None:
        self._connections: dict[int, Session] = {}
        self._sessions: dict[str, Session] = {}
        self._delivery = Delivery(self.limits)
        self._looked_at = floor(now)
        self._packets_received = self._messages_received = self._bytes_received = 0
        self._named = 0
        #: Connections as Mosquitto counts them: each that ends is taken off twice.
        self._counted = 0

    # Events ----------------------------------------------------------------------------------------------------------

    def received(self, connection: int, packet: Packet, now: float) -> list[Effect]:
        """A whole packet came; the first of a connection must be CONNECT."""
        effects: list[Effect] = []
        size = size_of(packet)
        self._packets_received += 1
        self._bytes_received += size
        session = self._connections.get(connection)
        if session is None:
            self._first(connection, packet, size, now, effects)
            return effects
        session.heard_at = now
        if size > self._most_packet:
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
        self._snapshot = (list(self._delivery.retained.all()), kept)

    def restart(self, keep: bool, now: float) -> None:
        """Killed, and started again: connections are gone without wills; `keep` brings back the last snapshot."""
        self._start(now)
        if not keep:
            self._snapshot = ([], [])
            return
        messages, sessions = self._snapshot
        for message in messages:
            self._delivery.retained.keep(message)
        for kept in sessions:
            session = self._sessions[kept.client_id] = kept.copied()
            session.left_at = now
            for filter_, qos in session.subscriptions.items():
                self._delivery.tree.add(filter_, session, qos)

    # Coming and going ------------------------------------------------------------------------------------------------

    def _first(self, connection: int, packet: Packet, size: int, now: float, effects: list[Effect]) -> None:
        if not isinstance(packet, Connect) or size > self._most_packet:
            effects.append(Close(connection, "no CONNECT"))
        elif self.limits.max_connections and self._counted >= self.limits.max_connections:
            effects.append(Close(connection, "too many connections"))
        elif packet.will is not None and not is_topic(packet.will.topic):
            self._counted -= 1
            effects.append(Close(connection, "the will's topic"))
        elif not packet.client_id and not packet.clean:
            self._refuse(connection, effects)
        else:
            self._connect(connection, packet, now, effects)

    def _refuse(self, connection: int, effects: list[Effect]) -> None:
        answer = Connack(REFUSED_ID, False)
        self._counted -= 1
        self._delivery.count(answer)
        effects.append(Send(connection, answer))
        effects.append(Close(connection, "a persistent session without a client id"))

    def _connect(self, connection: int, packet: Connect, now: float, effects: list[Effect]) -> None:
        client_id = packet.client_id
        if not client_id:
            self._named += 1
            client_id = f"auto-{self._named}"
        self._counted += 1
        session = self._taken_over(client_id, packet.clean, now, effects)
        present = session is not None
        if session is None:
            session = Session(self.limits, client_id, packet.user, packet.clean)
        self._sessions[client_id] = self._connections[connection] = session
        session.connection, session.user, session.heard_at = connection, packet.user, now
        session.keepalive_s, session.will = packet.keepalive_s, packet.will
        if session.will is not None and session.will.qos > 1:
            raise ValueError("a will of QoS 2 is not modelled")
        self._delivery.send(session, Connack(0, present), effects)
        if present:
            session.resume()
            if self._delivery.rules is not None:
                rules = self._delivery.rules
                session.keep(lambda message: rules.may_read(packet.user, message.topic))
            session.open_window()
            self._delivery.send_pending(session, effects)

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
            self._counted -= 2
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
        self._counted -= 2
        session.connection, session.unwritten, session.left_at = None, 0, now
        self._send_will(session, effects)
        if session.clean:
            self._forget(session)

    def _forget(self, session: Session) -> None:
        self._unsubscribe_all(session)
        del self._sessions[session.client_id]

    def _unsubscribe_all(self, session: Session) -> None:
        for filter_ in session.subscriptions:
            self._delivery.tree.remove(filter_, session)
        session.subscriptions.clear()

    def _send_will(self, session: Session, effects: list[Effect]) -> None:
        will, session.will = session.will, None
        if will is not None and (
            self._delivery.rules is None or self._delivery.rules.may_write(session.user, will.topic)
        ):
            self._delivery.accept(Publish(*will), effects)

    # Packets of a client ---------------------------------------------------------------------------------------------

    def _told(self, session: Session, packet: Packet, now: float, effects: list[Effect]) -> None:
        kind = type(packet)
        if kind is Puback and packet.mid:  # type: ignore[union-attr]  # `kind` says so
            session.acknowledged(packet.mid)  # type: ignore[union-attr]
            self._delivery.send_pending(session, effects)
        elif kind is Pingreq:
            self._delivery.send(session, Pingresp(), effects)
        elif isinstance(packet, Subscribe) and packet.filters and all(is_filter(text) for text, _ in packet.filters):
            self._subscribe(session, packet, effects)
        elif isinstance(packet, Unsubscribe) and packet.filters and all(map(is_filter, packet.filters)):
            self._unsubscribe(session, packet, effects)
        else:
            if kind is Disconnect or kind is Connect:
                session.will = None
                session.clean |= kind is Connect
            self._end(session, now, effects, "DISCONNECT" if kind is Disconnect else f"not expected: {packet!r:.200}")

    def _published(self, session: Session, packet: Publish, now: float, effects: list[Effect]) -> None:
        if packet.qos > 1:
            raise ValueError("QoS 2 is not modelled")
        self._messages_received += 1
        if not is_topic(packet.topic) or (packet.qos and not packet.mid):
            self._end(session, now, effects, f"a PUBLISH on {packet.topic!r:.200}, number {packet.mid}")
            return
        is_allowed = self._delivery.rules is None or self._delivery.rules.may_write(session.user, packet.topic)
        if is_allowed:
            self._delivery.accept(packet, effects)
        if packet.qos:
            self._delivery.send(session, Puback(packet.mid), effects)
        if not is_allowed and max(0, session.unwritten - 1) >= self.limits.max_queued_messages:
            self._end(session, now, effects, "a PUBLISH that is refused, while too much waits for its socket")

    def _subscribe(self, session: Session, packet: Subscribe, effects: list[Effect]) -> None:
        for filter_, qos in packet.filters:
            session.subscriptions[filter_] = qos
            self._delivery.tree.add(filter_, session, qos)
            self._delivery.add_retained(session, filter_, qos)
        self._delivery.send(session, Suback(packet.mid, tuple(qos for _, qos in packet.filters)), effects)
        if not session.unwritten:
            session.open_window()
            self._delivery.send_pending(session, effects)

    def _unsubscribe(self, session: Session, packet: Unsubscribe, effects: list[Effect]) -> None:
        for filter_ in packet.filters:
            if session.subscriptions.pop(filter_, None) is not None:
                self._delivery.tree.remove(filter_, session)
        self._delivery.send(session, Unsuback(packet.mid), effects)

    # State -----------------------------------------------------------------------------------------------------------

    def traffic(self) -> Traffic:
        """What passed since the broker started."""
        sent = self._delivery
        return Traffic(
            packets_received=self._packets_received,
            packets_sent=sent.packets_sent,
            messages_received=self._messages_received,
            messages_sent=sent.messages_sent,
            messages_dropped=sent.messages_dropped,
            bytes_received=self._bytes_received,
            bytes_sent=sent.bytes_sent,
            bytes_dropped=sent.bytes_dropped,
        )

    def retained(self) -> Mapping[str, Publish]:
        """Retained messages by topic, as they are now and later."""
        return MappingProxyType(self._delivery.retained.messages)

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
