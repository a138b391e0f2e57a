"""The broker's model on its own: what must hold whatever clients do, time, and what an operation costs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest
from broker_scripts import Acknowledge, Cut, Join, Kill, Resume, Say, Stall, random_script
from convoy_simulator.broker import Broker, Close, Effect, Send
from convoy_simulator.broker_limits import Limits
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
    Will,
    size_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

LIMITS = Limits(max_inflight_messages=2, max_queued_messages=4)


@dataclass
class Bench:
    """A broker, and what became of each connection."""

    broker: Broker
    open: dict[int, int] = field(default_factory=dict)
    sent: dict[int, list[Packet]] = field(default_factory=dict)
    next: int = 0

    def join(self, slot: int, connect: Connect, now: float = 0.0) -> None:
        self.cut(slot, now)
        self.next += 1
        self.open[slot] = self.next
        self.sent[self.next] = []
        self.say(slot, connect, now)

    def say(self, slot: int, packet: Packet, now: float = 0.0) -> list[Packet]:
        """What this slot is sent for it."""
        if slot not in self.open:
            return []
        connection = self.open[slot]
        before = len(self.sent[connection])
        self.carry_out(self.broker.received(connection, packet, now))
        return self.sent[connection][before:]

    def cut(self, slot: int, now: float = 0.0) -> None:
        if slot in self.open:
            self.carry_out(self.broker.lost(self.open.pop(slot), now))

    def carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                assert effect.connection in self.open.values() or effect.packet == Connack(2, False)
                self.sent[effect.connection].append(effect.packet)
            else:
                assert isinstance(effect, Close)
                self.open = {slot: there for slot, there in self.open.items() if there != effect.connection}


def _run(seed: int) -> Bench:
    script = random_script(seed)
    bench = Bench(Broker(script.limits))
    sizes = 0
    for step in script.steps:
        match step:
            case Join(slot, connect):
                bench.join(slot, connect)
            case Say(slot, packets):
                for packet in packets:
                    bench.say(slot, packet)
            case Acknowledge(slot, places):
                for place in places:
                    bench.say(slot, Puback(place + 2))
            case Cut(slot):
                bench.cut(slot)
            case Stall(slot) | Resume(slot):
                bench.broker.unwritten(bench.open.get(slot, 0), isinstance(step, Stall))
            case Kill(keep):
                bench.broker.save()
                sizes = sum(map(size_of, (packet for sent in bench.sent.values() for packet in sent)))
                bench.broker.restart(keep, 0.0)
                bench.open.clear()
        _check(bench, script.limits, sizes)
    return bench


def _check(bench: Bench, limits: Limits, sizes: int) -> None:
    traffic = bench.broker.traffic()
    assert traffic.bytes_sent == sum(size_of(packet) for sent in bench.sent.values() for packet in sent) - sizes
    assert {view.connection for view in bench.broker.sessions()} - {None} == set(bench.open.values())
    for message in bench.broker.retained().values():
        assert message.payload
        assert message.retain
    for view in bench.broker.sessions():
        assert bench.broker.session(view.client_id) == view
        most = limits.max_queued_messages
        assert not most or view.queued <= most
        assert not most or view.unwritten <= most + 1
        assert not limits.max_queued_bytes or view.queued_bytes < limits.max_queued_bytes + 200


@given(st.integers(0, 1 << 40))
@settings(max_examples=60, deadline=None)
def test_whatever_clients_do_its_books_are_right_and_its_queues_bounded(seed: int) -> None:
    bench = _run(seed)
    assert _run(seed).sent == bench.sent  # and the same comes of the same


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(1, 5), st.integers(1, 8))
def test_what_is_acknowledged_in_order_arrives_in_order_and_once(batches: list[int], window: int, queue: int) -> None:
    bench = Bench(Broker(Limits(max_inflight_messages=window, max_queued_messages=queue)))
    bench.join(0, Connect("ann", True, 0))
    bench.join(1, Connect("bob", True, 0))
    bench.say(0, Subscribe(1, (("a", 1),)))
    said, unacknowledged, heard = 0, list[int](), list[int]()
    for batch in batches:
        for _ in range(batch):
            said += 1
            bench.say(1, Publish("a", b"%d" % said, 1, False, 1))
        for packet in bench.sent[1]:
            if isinstance(packet, Publish):
                heard.append(int(packet.payload))
                unacknowledged.append(packet.mid)
        bench.sent[1].clear()
        for mid in unacknowledged:
            bench.say(0, Puback(mid))
        unacknowledged.clear()
    assert heard == sorted(set(heard))
    traffic = bench.broker.traffic()
    view = bench.broker.session("ann")
    assert view is not None
    assert traffic.messages_sent + traffic.messages_dropped + view.queued == said


# Time ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keepalive_s", "ended_s"), [(1, 6), (5, 12), (7, 12), (8, 18), (60, 96)])
def test_silence_is_noticed_at_the_next_look_after_one_and_a_half_keepalives(keepalive_s: int, ended_s: int) -> None:
    bench = Bench(Broker())
    bench.join(0, Connect("ann", True, keepalive_s, Will("a", b"gone", 0, True)))
    while 0 in bench.open:
        due = bench.broker.due()
        assert due is not None
        assert bench.broker.tick(due - 0.01) == []
        bench.carry_out(bench.broker.tick(due))
        assert due <= ended_s
    assert due == ended_s
    assert bench.broker.retained()["a"].payload == b"gone"
    assert bench.broker.due() is None


def test_who_speaks_or_asks_for_no_keepalive_stays() -> None:
    bench = Bench(Broker())
    bench.join(0, Connect("ann", True, 5))
    bench.join(1, Connect("bob", True, 5))
    bench.join(2, Connect("cat", True, 0))
    for second in range(1, 60):
        assert bench.say(0, Pingreq(), float(second)) == [Pingresp()]
        bench.broker.heard(bench.open[1], float(second))
        bench.carry_out(bench.broker.tick(float(second)))
    assert set(bench.open) == {0, 1, 2}


def test_a_session_whose_client_is_away_expires() -> None:
    bench = Bench(Broker(Limits(persistent_client_expiration_s=60)))
    bench.join(0, Connect("ann", False, 0))
    bench.say(0, Disconnect(), 1.0)
    bench.carry_out(bench.broker.tick(60.0))
    assert bench.broker.session("ann") is not None
    bench.carry_out(bench.broker.tick(66.0))
    assert bench.broker.session("ann") is None


# Being killed --------------------------------------------------------------------------------------------------------


def test_a_kill_sends_no_will_and_forgets_all_but_the_snapshot() -> None:
    bench = Bench(Broker(LIMITS))
    bench.join(0, Connect("ann", False, 0, Will("will", b"gone", 1, True)))
    bench.say(0, Subscribe(1, (("#", 1),)))
    bench.say(0, Publish("kept", b"1", 0, True))
    bench.broker.save()
    bench.say(0, Publish("later", b"2", 0, True))
    bench.broker.restart(True, 5.0)
    assert set(bench.broker.retained()) == {"kept"}
    assert bench.broker.lost(1, 5.0) == []
    bench.open.clear()
    bench.join(1, Connect("bob", True, 0))
    bench.say(1, Publish("a", b"3", 1, False, 1))
    bench.join(0, Connect("ann", False, 0))
    assert bench.sent[bench.open[0]] == [Connack(0, True), Publish("a", b"3", 1, False, 1)]
    bench.broker.restart(False, 9.0)
    assert not bench.broker.retained()
    assert list(bench.broker.sessions()) == []


def test_a_connection_that_it_does_not_know_is_closed() -> None:
    assert Broker().received(7, Pingreq(), 0.0) == [Close(7, "no CONNECT")]


def test_qos_2_is_refused() -> None:
    bench = Bench(Broker())
    bench.join(0, Connect("ann", True, 0))
    assert bench.say(0, Subscribe(1, (("a", 2),))) == [Suback(1, (2,))]
    with pytest.raises(ValueError, match="QoS 2"):
        bench.say(0, Publish("a", b"", 2, False, 1))


# Cost ----------------------------------------------------------------------------------------------------------------

#: Microseconds of CPU, with room for a slow machine: 4 and 0.7 where it was written.
MOST_PUBLISH_US, MOST_SUBSCRIBER_US = 25.0, 5.0


def test_a_publish_costs_microseconds_however_large_the_fleet() -> None:
    broker = Broker()
    broker.received(0, Connect("controller", True, 0), 0.0)
    broker.received(0, Subscribe(1, (("boards/+/pulse", 0),)), 0.0)
    count = 2000
    for number in range(1, count + 1):
        broker.received(number, Connect(f"b{number}", True, 0), 0.0)
        filters = ((f"boards/b{number}/desired", 1), ("artifacts/+", 0), (f"from/+/to/b{number}/#", 0))
        broker.received(number, Subscribe(1, filters), 0.0)
    pulses = [Publish(f"boards/b{number}/pulse", b"x" * 100, 0, False) for number in range(1, count + 1)]
    block = Publish("artifacts/1", b"x" * 65_536, 0, False)
    publishing, spreading = [], []
    for _ in range(5):
        start = time.process_time()
        for number, pulse in enumerate(pulses, 1):
            assert len(broker.received(number, pulse, 0.0)) == 1
        publishing.append(time.process_time() - start)
        start = time.process_time()
        assert len(broker.received(0, block, 0.0)) == count
        spreading.append(time.process_time() - start)
    assert min(publishing) / count * 1e6 < MOST_PUBLISH_US
    assert min(spreading) / count * 1e6 < MOST_SUBSCRIBER_US
