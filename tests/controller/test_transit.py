"""What a frame's way between two stages takes."""

from __future__ import annotations

from convoy_controller.database.transit import transit_us
from convoy_schema.messages.boards import Published, Pulse


def pulse(uplink_us: int, round_trip_us: int) -> Pulse:
    return Pulse(1, 1, 4, 1000, 1, 1, (), Published(), uplink_us=uplink_us, round_trip_us=round_trip_us)


def test_it_is_the_slowest_sender_and_the_median_receiver():
    senders = {"a": pulse(10, 400), "b": pulse(900, 100)}
    receivers = [pulse(0, trip) for trip in (200, 600, 10_000)]
    assert transit_us(senders, receivers) == (900 + 50 + 300, "b")
    assert transit_us(senders, ()) == (950, "b"), "back to the gateway"
    assert transit_us(None, receivers) == (300, ""), "from the gateway"


def test_what_nobody_has_said_is_not_known():
    silent = {"a": pulse(0, 0)}
    assert transit_us(silent, [pulse(0, 200)]) == (None, "")
    assert transit_us({}, [pulse(0, 200)]) == (None, "")
    assert transit_us(None, silent.values()) == (None, "")
    assert transit_us({"a": pulse(0, 100)}, silent.values()) == (50, "a")
