"""Which message goes to whom: retained messages, filters, rules, and what is dropped on the way to a socket."""

from __future__ import annotations

from convoy_simulator.broker_effects import Effect, Send
from convoy_simulator.broker_limits import NO_LIMIT, Limits
from convoy_simulator.broker_rules import AccessRules
from convoy_simulator.broker_session import Session
from convoy_simulator.mqtt_packets import Packet, Publish, publish_size, size_of
from convoy_simulator.topic_trees import RetainedTree, SubscriptionNode, SubscriptionTree


class Delivery:
    """The broker's way from a message to the sockets of those who want it; it counts what passes."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.rules = None if limits.rules is None else AccessRules(limits.rules)
        self._most_bytes = limits.max_queued_bytes or NO_LIMIT
        self.tree = SubscriptionTree()
        self.retained = RetainedTree()
        self.packets_sent = self.messages_sent = self.bytes_sent = 0
        self.messages_dropped = self.bytes_dropped = 0

    def accept(self, message: Publish, effects: list[Effect]) -> None:
        """Keep it if it is to be retained, and give it to those who subscribed."""
        if message.retain:
            self.retained.keep(Publish(message.topic, message.payload, message.qos, True))
        nodes = self.tree.match(message.topic)
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

    def add_retained(self, session: Session, filter_: str, qos: int) -> None:
        """Put what is retained there on its way to a client that subscribes."""
        for message in self.retained.match(filter_):
            if self.rules is not None and not self.rules.may_read(session.user, message.topic):
                continue
            if qos and message.qos:
                taken = session.add_numbered(message._replace(mid=session.next_mid()))
            else:
                taken = session.add_plain(message if not message.qos else message._replace(qos=0))
            if not taken:
                self._drop(message)

    def _give(
        self, node: SubscriptionNode, qos: int, plain: Publish, reached: set[Session] | None, effects: list[Effect]
    ) -> None:
        """To the subscribers of one filter; to none of those `reached` by another, which is kept up to date."""
        rules, topic, most_bytes, sent = self.rules, plain.topic, self._most_bytes, 0
        for session, granted in node.subscribers.items():
            if rules is not None and not rules.may_read(session.user, topic):
                continue
            if qos and granted:
                taken = self._give_numbered(session, plain, reached, effects)
            elif reached is not None and session in reached:
                continue
            elif (
                session.connection is None
                or session.unwritten
                or session.pending
                or session.queued
                or session.size >= most_bytes
            ):
                taken = self._give_plain(session, plain, effects)
            else:
                effects.append(tuple.__new__(Send, (session.connection, plain)))
                sent += 1
                taken = True
            if taken and reached is not None:
                reached.add(session)
        if sent:
            self.packets_sent += sent
            self.messages_sent += sent
            self.bytes_sent += sent * publish_size(plain)

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
            self.send_pending(session, effects)
            session.open_window()
        return True

    def _give_plain(self, session: Session, plain: Publish, effects: list[Effect]) -> bool:
        if session.connection is None:
            return False
        if not session.add_plain(plain):
            self._drop(plain)
            return False
        self.send_pending(session, effects)
        session.open_window()
        return True

    def send_pending(self, session: Session, effects: list[Effect]) -> None:
        """What the session's window has let through."""
        if session.pending:
            for message in session.take_pending():
                self.send(session, message, effects)

    def send(self, session: Session, packet: Packet, effects: list[Effect]) -> None:
        """To the client's socket, unless too much waits for it already."""
        assert session.connection is not None
        if session.unwritten:
            most = self._limits.max_queued_messages
            if most and session.unwritten > most:
                self._drop(packet)
                return
            session.unwritten += 1
        self.count(packet)
        effects.append(Send(session.connection, packet))

    def count(self, packet: Packet) -> None:
        """A packet is sent."""
        self.packets_sent += 1
        self.messages_sent += type(packet) is Publish
        self.bytes_sent += size_of(packet)

    def _drop(self, packet: Packet) -> None:
        self.messages_dropped += 1
        self.bytes_dropped += size_of(packet)
