"""The delivery bench's pure parts: MQTT packets cut and read, the long line, late starts, samples sorted by window."""

from __future__ import annotations

import pytest
from convoy_controller.bench.delivery import split, start_delay
from convoy_controller.bench.lossy_relay import PacketCutter, published_topic
from convoy_controller.bench.networks import incompressible, mostly_zero
from convoy_controller.bench.slow_line import MOST_WAITING, Direction
from convoy_schema.artifacts import pack
from hypothesis import given
from hypothesis import strategies as st


def publish(topic: str, payload: bytes, qos: int = 0) -> bytes:
    """A PUBLISH packet as section 3.3 of MQTT 3.1.1 has it."""
    name = topic.encode()
    body = len(name).to_bytes(2, "big") + name + (b"\x00\x07" if qos else b"") + payload
    length, rest = b"", len(body)
    while True:
        digit, rest = rest & 0x7F, rest >> 7
        length += bytes([digit | (0x80 if rest else 0)])
        if not rest:
            return bytes([0x30 | qos << 1]) + length + body


@given(
    st.lists(st.tuples(st.text("abc/", min_size=1, max_size=200), st.integers(0, 70_000)), max_size=6),
    st.integers(1, 5000),
)
def test_packets_come_out_whole_however_they_are_cut(messages: list[tuple[str, int]], step: int) -> None:
    packets = [publish(topic, bytes(size), size % 2) for topic, size in messages]
    stream, cutter, found = b"".join(packets), PacketCutter(), []
    for at in range(0, len(stream), step):
        found += cutter.feed(stream[at : at + step])
    assert found == packets
    assert [published_topic(packet) for packet in found] == [topic for topic, _ in messages]


def test_only_a_publish_has_a_topic() -> None:
    assert published_topic(b"\xd0\x00") == ""


def test_the_line_delays_every_packet_and_carries_no_more_than_its_rate() -> None:
    way = Direction(delay_s=0.05, bytes_per_s=1000.0)
    way.enter(b"a" * 100, 1.0)
    way.enter(b"b" * 100, 1.0)
    assert way.due == pytest.approx(1.15)
    assert way.arrived(1.14) == []
    assert way.arrived(1.2) == [b"a" * 100]
    assert way.arrived(1.26) == [b"b" * 100]
    assert way.due is None


def test_the_line_drops_what_it_cannot_hold() -> None:
    way = Direction(0.0, 1.0)
    for _ in range(MOST_WAITING + 5):
        way.enter(b"x", 0.0)
    assert len(way.arrived(1e9)) == MOST_WAITING


def test_starts_are_spread_evenly() -> None:
    assert [start_delay(f"board-{n}", boards=3, spread_s=1.0) for n in (1, 2, 3)] == [0.0, 0.5, 1.0]


def test_samples_near_a_window_are_in_neither_set() -> None:
    samples = [(0.0, 1.0), (1.8, 2.0), (2.5, 3.0), (3.2, 4.0), (4.0, 5.0)]
    assert split(samples, [(2.0, 3.0)]) == ([3.0], [1.0, 5.0])


def test_weights_pack_as_the_bench_says() -> None:
    dense, sparse = incompressible(200, 200), mostly_zero(2000, 2000, filled=86_000)
    assert pack(dense.tobytes())[0].packed_size > 0.99 * dense.size
    assert 85_000 < pack(sparse.tobytes())[0].packed_size < 95_000
