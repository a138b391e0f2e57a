"""Whose name it is: the words on a gateway's own state topic, in every order that matters."""

from __future__ import annotations

from convoy_controller.gateway.presence import LOOK_S, OwnName, Verdict
from convoy_schema.messages.boards import Presence
from convoy_schema.messages.gateways import GatewayState

OURS, OTHER = 7, 8


def online(session: int) -> GatewayState:
    return GatewayState(Presence.ONLINE, session)


def offline(session: int) -> GatewayState:
    return GatewayState(Presence.OFFLINE, session)


def started() -> OwnName:
    name = OwnName(OURS)
    assert name.connected(0.0)
    return name


def test_a_first_connection_speaks_at_once_and_ignores_what_a_predecessor_left() -> None:
    name = started()
    assert name.heard(online(OTHER), True) is Verdict.NOTHING
    assert name.heard(online(OURS), False) is Verdict.NOTHING
    assert not name.is_due(99.0)


def test_a_death_on_our_topic_never_stands() -> None:
    name = started()
    assert name.heard(offline(OURS), False) is Verdict.SAY_ONLINE
    assert name.heard(offline(OTHER), True) is Verdict.SAY_ONLINE


def test_a_living_namesake_takes_the_name() -> None:
    assert started().heard(online(OTHER), False) is Verdict.TAKEN


def test_after_a_reconnect_a_successor_is_noticed_before_we_speak() -> None:
    name = started()
    assert not name.connected(10.0)
    assert name.heard(online(OTHER), True) is Verdict.TAKEN


def test_after_a_reconnect_a_known_predecessor_is_no_successor() -> None:
    name = started()
    name.heard(online(OTHER), True)
    assert not name.connected(10.0)
    assert name.heard(online(OTHER), True) is Verdict.NOTHING  # a broker that came back with an old snapshot
    assert not name.is_due(10.0)
    assert name.is_due(10.0 + LOOK_S)
    assert not name.is_due(11.0)


def test_after_a_reconnect_our_own_word_at_the_broker_is_enough() -> None:
    name = started()
    assert not name.connected(10.0)
    assert name.heard(online(OURS), True) is Verdict.NOTHING
    assert not name.is_due(11.0)
