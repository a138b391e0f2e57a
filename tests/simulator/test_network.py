"""TCP over lines that delay, lose, are thin and are cut: nothing overtakes, nothing is lost while both ends live."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from convoy_schema.errors import LinkError
from convoy_simulator.broker import Broker
from convoy_simulator.mqtt_packets import Connect, Packet, Publish, Subscribe
from convoy_simulator.network import HEADER_BYTES, Conditions, Connection, Line, Network
from convoy_simulator.virtual_time import VirtualLoop
from hypothesis import given, settings
from hypothesis import strategies as st


class Client:
    """Keeps what arrives, and when."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.came: list[tuple[float, Publish]] = []
        self.ends: list[tuple[float, str]] = []

    def arrives(self, packet: Packet) -> None:
        if isinstance(packet, Publish):
            self.came.append((self._loop.time(), packet))

    def breaks(self, why: str) -> None:
        self.ends.append((self._loop.time(), why))

    @property
    def payloads(self) -> list[bytes]:
        return [packet.payload for _, packet in self.came]


class Rig:
    """A broker with a listener that is near, and lines to it."""

    def __init__(self, loop: VirtualLoop, seed: int = 1) -> None:
        self.loop = loop
        self.network = Network(loop, Broker(), random.Random(seed))
        self._numbers = itertools.count(1)

    async def join(self, conditions: Conditions, topic: str = "") -> tuple[Line, Connection, Client]:
        number = next(self._numbers)
        line = Line(f"machine-{number}", conditions, random.Random(number))
        client = Client(self.loop)
        connection = await self.network.dial(line, client, 5.0)
        connection.send(Connect(f"client-{number}", True, 5))
        if topic:
            connection.send(Subscribe(1, ((topic, 0),)))
        await asyncio.sleep(5.0)
        return line, connection, client


def run(main: Callable[[Rig], Coroutine[Any, Any, None]]) -> None:
    loop = VirtualLoop()
    try:
        loop.run_until_complete(main(Rig(loop)))
    finally:
        loop.close()


def say(connection: Connection, number: int, size: int = 4) -> None:
    connection.send(Publish("t", number.to_bytes(4, "big") * (size // 4), 0, False))


def test_a_message_takes_both_delays() -> None:
    async def main(rig: Rig) -> None:
        _, sender, _ = await rig.join(Conditions(delay_s=0.1))
        _, _, listener = await rig.join(Conditions(delay_s=0.3), "t")
        began = rig.loop.time()
        say(sender, 1)
        await asyncio.sleep(2)
        assert listener.came[0][0] - began == pytest.approx(0.4, abs=0.01)

    run(main)


def test_a_thin_line_takes_what_its_rate_says() -> None:
    async def main(rig: Rig) -> None:
        _, sender, _ = await rig.join(Conditions(up_bytes_per_s=10_000))
        _, _, listener = await rig.join(Conditions(), "t")
        began = rig.loop.time()
        for number in range(10):
            say(sender, number, 1000)
        await asyncio.sleep(5)
        assert listener.came[-1][0] - began == pytest.approx(10 * (1005 + HEADER_BYTES) / 10_000, rel=0.02)

    run(main)


@settings(max_examples=30, deadline=None)
@given(
    st.floats(0, 0.5),
    st.floats(0, 0.4),
    st.integers(0, 2**32),
    st.lists(st.tuples(st.floats(0, 0.3), st.integers(1, 3000)), max_size=30),
)
def test_whatever_a_line_does_everything_comes_in_order(
    jitter_s: float, loss: float, seed: int, sent: list[tuple[float, int]]
) -> None:
    async def main(rig: Rig) -> None:
        rig.network = Network(rig.loop, Broker(), random.Random(seed))
        bad = Conditions(0.05, jitter_s, loss, 50_000, 50_000)
        _, sender, _ = await rig.join(bad)
        _, _, listener = await rig.join(bad, "t")
        await asyncio.sleep(60)
        for number, (pause_s, size) in enumerate(sent):
            say(sender, number, 4 * size)
            await asyncio.sleep(pause_s)
        await asyncio.sleep(900)
        assert [int.from_bytes(payload[:4], "big") for payload in listener.payloads] == list(range(len(sent)))

    run(main)


def test_what_a_cut_held_back_comes_when_it_is_mended_in_time() -> None:
    async def main(rig: Rig) -> None:
        line, sender, _ = await rig.join(Conditions())
        _, _, listener = await rig.join(Conditions(), "t")
        rig.network.cut(line)
        say(sender, 1)
        await asyncio.sleep(2)
        assert listener.came == []
        assert line.held_until == math.inf
        rig.network.mend(line)
        say(sender, 2)
        await asyncio.sleep(line.held_until - asyncio.get_running_loop().time() + 0.01)
        assert [int.from_bytes(payload, "big") for payload in listener.payloads] == [1, 2]

    run(main)


def test_a_cut_that_lasts_ends_the_connection_for_both_and_nobody_can_dial() -> None:
    async def main(rig: Rig) -> None:
        line, sender, client = await rig.join(Conditions())
        _, _, listener = await rig.join(Conditions(), "t")
        rig.network.cut(line)
        began = rig.loop.time()
        with pytest.raises(LinkError, match="timed out"):
            await rig.network.dial(line, client, 3.0)
        await asyncio.sleep(20)
        assert [5 <= at - began <= 11 for at, _ in client.ends] == [True]
        assert not sender.has_broker
        rig.network.mend(line)
        say(sender, 1)
        await asyncio.sleep(5)
        assert listener.came == []

    run(main)


def test_a_killed_broker_resets_everybody_and_refuses_until_it_is_back() -> None:
    async def main(rig: Rig) -> None:
        line, _, client = await rig.join(Conditions(delay_s=0.1))
        began = rig.loop.time()
        rig.network.kill_broker()
        await asyncio.sleep(1)
        assert client.ends == [(pytest.approx(began + 0.1), "the connection was reset")]
        with pytest.raises(LinkError, match="refused"):
            await rig.network.dial(line, client, 3.0)
        rig.network.start_broker(keep=False)
        assert (await rig.network.dial(line, client, 3.0)).has_broker

    run(main)
