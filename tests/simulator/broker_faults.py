"""Faults to plant in the broker's model, one at a time, to see that the comparison with Mosquitto finds each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from convoy_simulator import broker, broker_session, topic_trees
from convoy_simulator.broker import Broker
from convoy_simulator.broker_delivery import Delivery
from convoy_simulator.broker_session import Session
from convoy_simulator.mqtt_packets import Disconnect, Puback, Publish

_accept, _give, _takes_plain = Delivery.accept, Delivery._give, Session.takes_plain
_add_retained, _may_wait, _resume = Delivery.add_retained, Session._may_wait, Session.resume
_told, _leave, _connect, _unsubscribe = Broker._told, Broker._leave, Broker._connect, Broker._unsubscribe
_published, _keep, _search = Broker._published, topic_trees.RetainedTree.keep, topic_trees._search


def _live_retained(self: Delivery, message: Publish, effects: list[Any]) -> None:
    before = len(effects)
    _accept(self, message, effects)
    for index in range(before, len(effects)):
        packet = getattr(effects[index], "packet", None)
        if isinstance(packet, Publish):
            effects[index] = effects[index]._replace(packet=packet._replace(retain=message.retain))


def _stale_not_retained(self: Delivery, session: Session, filter_: str, qos: int) -> None:
    _add_retained(self, session, filter_, qos)
    session.pending = [message._replace(retain=False) for message in session.pending]


def _one_more_in_queue(self: Session, inflight: int) -> bool:
    return _may_wait(self, inflight + 1)


def _one_for_one(self: Session, mid: int) -> None:
    self.quota = min(self._limits.max_inflight_messages, self.quota + 1)
    self._forget(mid)
    self.open_window()


def _will_at_disconnect(self: Broker, session: Session, packet: Any, now: float, effects: list[Any]) -> None:
    _told(self, session, None if isinstance(packet, Disconnect) else packet, now, effects)  # type: ignore[arg-type]


def _no_will(self: Broker, session: Session, now: float, effects: list[Any]) -> None:
    session.will = None
    _leave(self, session, now, effects)


def _copy_of_each_filter(self: Delivery, node: Any, qos: int, plain: Publish, reached: Any, effects: list[Any]) -> None:
    _give(self, node, qos, plain, None, effects)


def _no_downgrade(self: Delivery, node: Any, qos: int, plain: Publish, reached: Any, effects: list[Any]) -> None:
    granted = dict(node.subscribers)
    node.subscribers.update(dict.fromkeys(granted, 1))
    _give(self, node, qos, plain, reached, effects)
    node.subscribers.update(granted)


def _no_dup(self: Session) -> None:
    _resume(self)
    self.pending = [message._replace(dup=False) for message in self.pending]


def _never_cleared(self: topic_trees.RetainedTree, message: Publish) -> None:
    if message.payload:
        _keep(self, message)


def _all_topics_wild(node: Any, levels: list[str], depth: int, wild: bool) -> Iterator[Any]:
    return _search(node, levels, depth, True)


def _full_one_early(self: Session) -> bool:
    return _takes_plain(self) and (not self.unwritten or self.unwritten < self._limits.max_queued_messages)


def _keeps_the_subscription(self: Broker, session: Session, packet: Any, effects: list[Any]) -> None:
    _unsubscribe(self, session, packet._replace(filters=packet.filters[:-1]), effects)


def _always_clean(self: Broker, connection: int, packet: Any, now: float, effects: list[Any]) -> None:
    _connect(self, connection, packet._replace(clean=True), now, effects)


def _acknowledged_before(self: Broker, session: Session, packet: Publish, now: float, effects: list[Any]) -> None:
    _published(self, session, packet, now, effects)
    acknowledgements = [effect for effect in effects if isinstance(getattr(effect, "packet", None), Puback)]
    effects[:] = acknowledgements + [effect for effect in effects if effect not in acknowledgements]


def _drop_newest_first(self: Session) -> None:
    self.pending.append(self.queued.pop())
    self.quota = max(0, self.quota - 1)


#: What is patched, its name, and what takes its place.
FAULTS: dict[str, tuple[Any, str, Any]] = {
    "a live message carries the retain flag": (Delivery, "accept", _live_retained),
    "a retained message comes without its flag": (Delivery, "add_retained", _stale_not_retained),
    "the queue holds one message more": (Session, "_may_wait", _one_more_in_queue),
    "a PUBACK lets one message through": (Session, "acknowledged", _one_for_one),
    "the queue is sent from its end": (Session, "_let_through", _drop_newest_first),
    "DISCONNECT sends the will": (Broker, "_told", _will_at_disconnect),
    "a lost connection sends no will": (Broker, "_leave", _no_will),
    "a copy for each of overlapping filters": (Delivery, "_give", _copy_of_each_filter),
    "a message above the QoS subscribed": (Delivery, "_give", _no_downgrade),
    "what is sent again is not marked": (Session, "resume", _no_dup),
    "an empty message does not clear": (topic_trees.RetainedTree, "keep", _never_cleared),
    "wildcards match $ topics": (topic_trees, "_search", _all_topics_wild),
    "a full socket loses one message early": (Session, "takes_plain", _full_one_early),
    "UNSUBSCRIBE forgets its last filter": (Broker, "_unsubscribe", _keeps_the_subscription),
    "a persistent session is forgotten": (Broker, "_connect", _always_clean),
    "a PUBACK goes out before the message": (Broker, "_published", _acknowledged_before),
    "a session has its numbers anew": (broker_session, "MOST_MID", 3),
    "a refused id is told another code": (broker, "REFUSED_ID", 3),
}


@contextmanager
def planted(fault: str) -> Iterator[None]:
    """The model with that fault, as long as the block lasts."""
    where, name, instead = FAULTS[fault]
    with patch.object(where, name, instead):
        yield
