"""What one message to gateways holds, and what becomes of the rest."""

from __future__ import annotations

from convoy_controller.database.records import Severity
from convoy_controller.fitting import Fitting
from convoy_schema import codec
from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Hop, Intent
from convoy_schema.messages.gateways import MOST_FEEDS, Feed, GatewayDesired, ModelRef, Route
from convoy_schema.names import Generation

MODEL = ModelRef("net", "1", "0" * 64)


def feed(name: str, boards: int) -> Feed:
    intent = Intent(name, "net", "1", Method.ALLOCATE, max(1, boards))
    hops = tuple(Hop(f"board-{number}", 1 + number % 9) for number in range(boards))
    return Feed(intent, MODEL, Route(Generation(1, 1), MODEL, hops, 1, 64, 8) if hops else None)


def names(feeds: tuple[Feed, ...]) -> list[str]:
    return [each.intent.deployment for each in feeds]


def test_what_fits_is_told_in_order() -> None:
    fitting = Fitting()
    feeds = tuple(feed(f"d{number:03}", 100) for number in range(100))
    assert (fitting.fit(feeds), fitting.feeds) == ([], feeds)
    assert len(codec.encode(GatewayDesired(1, 1, fitting.feeds))) < GatewayDesired.MAX_BYTES


def test_what_does_not_fit_is_left_out_and_said_once() -> None:
    fitting = Fitting()
    feeds = tuple(feed(f"d{number:03}", 1000) for number in range(60))
    events, told = fitting.fit(feeds), fitting.feeds
    assert 10 < len(told) < 60
    assert names(told) == [f"d{number:03}" for number in range(len(told))]
    assert len(codec.encode(GatewayDesired(2**60, 2**60, told))) <= GatewayDesired.MAX_BYTES
    assert {event.deployment for event in events} == fitting.left_out == {f"d{n:03}" for n in range(len(told), 60)}
    assert all(event.severity is Severity.ERROR and "site of its own" in event.sentence for event in events)
    assert (fitting.fit(feeds), fitting.feeds) == ([], told)
    assert (fitting.fit(feeds[:-1]), fitting.feeds) == ([], told)


def test_who_is_told_of_already_stays_when_more_comes() -> None:
    fitting = Fitting()
    running = tuple(feed(f"z{number:03}", 1000) for number in range(20))
    fitting.fit(running)
    known = names(fitting.feeds)
    events = fitting.fit((*(feed(f"a{number:03}", 1000) for number in range(20)), *running))
    assert set(known) <= set(names(fitting.feeds))
    assert events


def test_who_serves_goes_before_who_does_not_when_the_controller_has_come_back() -> None:
    waiting = tuple(feed(f"a{number:03}", 0) for number in range(MOST_FEEDS))
    serving = feed("z", 3)
    fitting = Fitting()
    events = fitting.fit((*waiting, serving))
    assert "z" in names(fitting.feeds)
    assert [event.deployment for event in events] == [f"a{MOST_FEEDS - 1:03}"]


def test_there_are_no_more_than_a_message_may_name_and_room_is_used_again() -> None:
    fitting = Fitting()
    feeds = tuple(feed(f"d{number:03}", 0) for number in range(MOST_FEEDS + 1))
    events = fitting.fit(feeds)
    assert (len(fitting.feeds), [event.deployment for event in events]) == (MOST_FEEDS, [f"d{MOST_FEEDS}"])
    assert fitting.fit(feeds[1:]) == []
    assert (len(fitting.feeds), fitting.left_out) == (MOST_FEEDS, frozenset())
