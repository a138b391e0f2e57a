"""Who subscribed to what, and what is retained: trees over the levels of topics, in Mosquitto's order of visiting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from convoy_simulator.mqtt_packets import Publish

if TYPE_CHECKING:
    from convoy_simulator.broker_session import Session

#: Topics whose subscribers are remembered.
REMEMBERED_MATCHES = 200_000
#: Levels at the beginning of a topic by which they are forgotten together: so many come before a board's name.
PREFIX_LEVELS = 4


def is_topic(topic: str) -> bool:
    """Whether a message may be published there."""
    return bool(topic) and "+" not in topic and "#" not in topic


def is_filter(text: str) -> bool:
    """Whether it may be subscribed to: wildcards stand for whole levels, and `#` for the last."""
    levels = text.split("/")
    return (
        bool(text)
        and all(level in ("+", "#") if "+" in level or "#" in level else True for level in levels)
        and "#" not in levels[:-1]
    )


class SubscriptionNode:
    """A level of a filter: the levels below it, and the QoS of each session that subscribed to it."""

    __slots__ = ("below", "subscribers")

    def __init__(self) -> None:
        self.below: dict[str, SubscriptionNode] = {}
        self.subscribers: dict[Session, int] = {}


class SubscriptionTree:
    """Filters with their subscribers; what a topic matches is remembered until a filter comes or goes."""

    def __init__(self) -> None:
        self._top = SubscriptionNode()
        self._matches: dict[str, tuple[SubscriptionNode, ...]] = {}
        #: Topics that are remembered, by their first levels.
        self._below: dict[str, dict[str, None]] = {}

    def add(self, filter_: str, session: Session, qos: int) -> None:
        """Subscribe, or change the QoS of a subscription that there is."""
        node = self._top
        for level in filter_.split("/"):
            below = node.below.get(level)
            if below is None:
                below = node.below[level] = SubscriptionNode()
            node = below
        if not node.subscribers:
            self._forget(filter_)
        node.subscribers[session] = qos

    def remove(self, filter_: str, session: Session) -> None:
        """Unsubscribe; levels that nobody uses any more go."""
        path, node = [], self._top
        for level in filter_.split("/"):
            path.append((node, level))
            node = node.below[level]
        del node.subscribers[session]
        if not node.subscribers:
            self._forget(filter_)
        for above, level in reversed(path):
            if node.subscribers or node.below:
                return
            del above.below[level]
            node = above

    def match(self, topic: str) -> tuple[SubscriptionNode, ...]:
        """The filters that match, in the order in which Mosquitto visits them."""
        nodes = self._matches.get(topic)
        if nodes is None:
            if len(self._matches) >= REMEMBERED_MATCHES:
                self._forget("#")
            levels = topic.split("/")
            self._below.setdefault("/".join(levels[:PREFIX_LEVELS]), {})[topic] = None
            nodes = self._matches[topic] = tuple(_search(self._top, levels, 0, not topic.startswith("$")))
        return nodes

    def _forget(self, filter_: str) -> None:
        """What matches this filter, and maybe more, is to be searched for anew."""
        if "+" not in filter_ and "#" not in filter_:
            self._matches.pop(filter_, None)  # matches nothing but itself
            return
        prefix = filter_.split("/")[:PREFIX_LEVELS]
        if len(prefix) < PREFIX_LEVELS or "+" in prefix or "#" in prefix:
            self._matches.clear()
            self._below.clear()
            return
        for topic in self._below.pop("/".join(prefix), ()):
            self._matches.pop(topic, None)


def _search(node: SubscriptionNode, levels: list[str], depth: int, wild: bool) -> Iterator[SubscriptionNode]:
    """Subscribed levels that match; `wild` where wildcards count on this level."""
    if depth < len(levels):
        for name in (levels[depth], "+") if wild else (levels[depth],):
            below = node.below.get(name)
            if below is not None:
                yield from _search(below, levels, depth + 1, True)
                if depth + 1 == len(levels) and below.subscribers:
                    yield below
    rest = node.below.get("#") if wild else None
    if rest is not None and rest.subscribers:
        yield rest


class RetainedNode:
    """A level of a topic: the levels below it in the order in which they first came, and what is retained there."""

    __slots__ = ("below", "message")

    def __init__(self) -> None:
        self.below: dict[str, RetainedNode] = {}
        self.message: Publish | None = None


class RetainedTree:
    """Retained messages. Mosquitto never forgets a level that once was used, and so keeps its place among others."""

    def __init__(self) -> None:
        self._top = RetainedNode()
        self._nodes: dict[str, RetainedNode] = {}
        self.messages: dict[str, Publish] = {}

    def keep(self, message: Publish) -> None:
        """Keep it in place of what was there; an empty payload clears it."""
        node = self._nodes.get(message.topic)
        if node is None:
            node = self._nodes[message.topic] = self._make(message.topic)
        if message.payload:
            node.message = self.messages[message.topic] = message
        else:
            node.message = None
            self.messages.pop(message.topic, None)

    def _make(self, topic: str) -> RetainedNode:
        node = self._top
        for level in topic.split("/"):
            below = node.below.get(level)
            if below is None:
                below = node.below[level] = RetainedNode()
            node = below
        return node

    def match(self, filter_: str) -> Iterator[Publish]:
        """What is retained under `filter_`, in the order in which Mosquitto sends it."""
        return _collect(self._top, filter_.split("/"), 0)

    def all(self) -> Iterator[Publish]:
        """Everything, in the order of the tree."""
        return _everything(self._top)


def _collect(node: RetainedNode, levels: list[str], depth: int) -> Iterator[Publish]:
    level = levels[depth]
    if level == "#":
        for name, below in node.below.items():
            if depth or not name.startswith("$"):
                yield from _whole(below)
        return
    is_last = depth + 1 == len(levels)
    for below in _at(node, level, depth):
        if not is_last:
            yield from _collect(below, levels, depth + 1)
        if (is_last or levels[depth + 1 :] == ["#"]) and below.message is not None:
            yield below.message


def _at(node: RetainedNode, level: str, depth: int) -> list[RetainedNode]:
    if level == "+":
        return [below for name, below in node.below.items() if depth or not name.startswith("$")]
    below = node.below.get(level)
    return [] if below is None else [below]


def _whole(node: RetainedNode) -> Iterator[Publish]:
    if node.message is not None:
        yield node.message
    yield from _everything(node)


def _everything(node: RetainedNode) -> Iterator[Publish]:
    for below in node.below.values():
        yield from _whole(below)
