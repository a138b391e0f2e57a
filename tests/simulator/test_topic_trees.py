"""Trees of subscriptions and of retained messages, against matching one filter with one topic at a time."""

from __future__ import annotations

from typing import Any

from convoy_simulator.mqtt_packets import Publish
from convoy_simulator.topic_trees import RetainedTree, SubscriptionTree, is_filter, is_topic
from hypothesis import given, settings
from hypothesis import strategies as st

_levels = st.sampled_from(("a", "b", "", "$x", "c"))
_topics = st.lists(_levels, min_size=1, max_size=6).map("/".join).filter(is_topic)
_filters = st.lists(_levels | st.sampled_from(("+", "#")), min_size=1, max_size=6).map("/".join).filter(is_filter)
_sessions: Any = st.integers(0, 3)  # anything that can be a key will do


def _matches(filter_: str, topic: str) -> bool:
    """By the standard, level by level."""
    wanted, levels = filter_.split("/"), topic.split("/")
    if levels[0].startswith("$") and wanted[0] in ("+", "#"):
        return False
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels) or level not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)


@given(st.lists(st.tuples(_filters, _sessions, st.booleans()), max_size=30), st.lists(_topics, min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_a_topic_finds_its_subscribers_as_they_come_and_go(
    changes: list[tuple[str, Any, bool]], topics: list[str]
) -> None:
    tree, subscribed = SubscriptionTree(), dict[tuple[str, Any], int]()
    for number, (filter_, session, is_coming) in enumerate(changes):
        if is_coming:
            tree.add(filter_, session, number)
            subscribed[filter_, session] = number
        elif subscribed.pop((filter_, session), None) is not None:
            tree.remove(filter_, session)
        for topic in topics:
            found = [(session, qos) for node in tree.match(topic) for session, qos in node.subscribers.items()]
            expected = [(session, qos) for (filter_, session), qos in subscribed.items() if _matches(filter_, topic)]
            assert sorted(found) == sorted(expected)


def test_what_comes_and_goes_far_below_is_found_anew() -> None:
    tree = SubscriptionTree()
    topic, other = "convoy/1/site/artifacts/ab/0", "convoy/1/site/boards/b/pulse"
    tree.add("convoy/1/site/boards/+/pulse", 1, 0)  # type: ignore[arg-type]  # anything that can be a key will do
    known = tree.match(other)
    for _ in range(3):
        assert tree.match(topic) == ()
        tree.add("convoy/1/site/artifacts/ab/+", 2, 0)  # type: ignore[arg-type]
        assert [list(node.subscribers) for node in tree.match(topic)] == [[2]]
        tree.remove("convoy/1/site/artifacts/ab/+", 2)  # type: ignore[arg-type]
    assert tree.match(other) is known
    tree.add("convoy/1/site/#", 3, 0)  # type: ignore[arg-type]
    assert [list(node.subscribers) for node in tree.match(other)] == [[1], [3]]


@given(st.lists(st.tuples(_topics, st.binary(max_size=2)), max_size=30), _filters)
@settings(max_examples=50, deadline=None)
def test_a_filter_finds_what_is_retained(kept: list[tuple[str, bytes]], filter_: str) -> None:
    tree, expected = RetainedTree(), dict[str, bytes]()
    for topic, payload in kept:
        tree.keep(Publish(topic, payload, 0, True))
        expected[topic] = payload
    found = [(message.topic, message.payload) for message in tree.match(filter_)]
    assert len(dict(found)) == len(found)
    assert dict(found) == {topic: value for topic, value in expected.items() if value and _matches(filter_, topic)}
    assert dict(tree.messages) == {message.topic: message for message in tree.all()}


def test_filters_and_topics_are_told_from_what_is_none() -> None:
    assert all(map(is_filter, ("#", "+", "a/#", "+/a/+", "/", "a//b", "$x/#")))
    assert not any(map(is_filter, ("", "a#", "#/a", "a/#/b", "a+", "+b/c")))
    assert is_topic("a/b")
    assert not any(map(is_topic, ("", "a/+", "#")))
