"""The packets' sizes are those of their bytes on the wire, which the tests' own client writes and reads."""

from __future__ import annotations

import pytest
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
    Will,
    size_of,
)
from hypothesis import given
from hypothesis import strategies as st
from mqtt_wire import encode, take

_texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40)
_mids = st.integers(1, 65_535)
_payloads = st.binary(max_size=200) | st.integers(0, 70_000).map(bytes)
_wills = st.builds(Will, _texts, st.binary(max_size=200), st.integers(0, 1), st.booleans())
_publishes = st.builds(Publish, _texts, _payloads, st.just(1), st.booleans(), _mids, st.booleans()) | st.builds(
    Publish, _texts, _payloads, st.just(0), st.booleans(), st.just(0), st.just(False)
)
_packets = st.one_of(
    st.builds(Connect, _texts, st.booleans(), st.integers(0, 65_535), st.none() | _wills, _texts),
    st.builds(Connack, st.integers(0, 5), st.booleans()),
    _publishes,
    st.builds(Puback, _mids),
    st.builds(Subscribe, _mids, st.lists(st.tuples(_texts, st.integers(0, 2)), max_size=9).map(tuple)),
    st.builds(Suback, _mids, st.lists(st.integers(0, 2), max_size=9).map(tuple)),
    st.builds(Unsubscribe, _mids, st.lists(_texts, max_size=9).map(tuple)),
    st.builds(Unsuback, _mids),
    st.sampled_from((Pingreq(), Pingresp(), Disconnect())),
)


@given(_packets)
def test_a_packet_is_as_long_as_its_bytes(packet: Packet) -> None:
    assert size_of(packet) == len(encode(packet))


@given(_packets)
def test_a_packet_is_read_as_it_was_written(packet: Packet) -> None:
    buffer = bytearray(encode(packet) + b"rest")
    assert take(buffer) == packet
    assert buffer == b"rest"


@pytest.mark.parametrize("remaining", [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_the_length_field_grows_where_it_must(remaining: int) -> None:
    packet = Publish("t" * min(remaining, 2), bytes(max(0, remaining - 4)), 0, False)
    assert size_of(packet) == len(encode(packet))
