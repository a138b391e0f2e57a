"""The modelled link keeps the real one's promises: both are held to one script, the real one on a real Mosquitto."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from convoy_schema import link
from convoy_schema.errors import LinkError, TooLargeError
from convoy_schema.link import MAX_PACKET, Link
from convoy_simulator import virtual_link
from convoy_simulator.broker import Broker
from convoy_simulator.life import EndedError, Life
from convoy_simulator.network import Conditions, Line, Network
from convoy_simulator.virtual_link import Place, VirtualLink
from convoy_simulator.virtual_time import VirtualLoop
from link_bench import Impatient, play, until
from mosquitto_process import MosquittoProcess

#: Messages that wait behind those under way, in place of the thousands that a link holds.
OUTBOX = 30


@pytest.fixture(autouse=True)
def _small_outbox(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (link, virtual_link):
        monkeypatch.setattr(module, "MAX_OUTBOX", OUTBOX)


Script = Callable[["World"], Awaitable[Any]]


class World:
    """Links to one broker, and what each was told."""

    def __init__(self, make: Callable[..., Link], stop: Callable[[], None], start: Callable[[], None]) -> None:
        self._make = make
        self.stop_broker, self.start_broker = stop, start
        self._running: list[tuple[Link, asyncio.Task[None]]] = []

    def new(self, name: str, *filters: str) -> tuple[Link, list[tuple[str, bytes, bool]], list[str]]:
        came: list[tuple[str, bytes, bool]] = []
        losses: list[str] = []

        def connected() -> None:
            for each in filters:
                made.subscribe(each, 1)

        made = self._make(
            name,
            on_message=lambda *message: came.append(message),
            on_connect=connected,
            on_disconnect=losses.append,
            chance=Impatient(),
        )
        return made, came, losses

    async def join(self, name: str, *filters: str) -> tuple[Link, list[tuple[str, bytes, bool]], list[str]]:
        made, came, losses = self.new(name, *filters)
        self._running.append((made, asyncio.create_task(made.run())))
        await until(lambda: made.connected)
        await self.settle(made)
        return made, came, losses

    async def settle(self, made: Link) -> None:
        """A broker answers in order: what was asked before has been done."""
        assert made.publish("settled", b"", qos=1)
        await until(lambda: not made.unsent)

    async def play(self, script: Script) -> Any:
        try:
            found = await script(self)
            for made, task in self._running:
                await made.stop()
                await task
            return found
        finally:
            tasks = [task for _, task in self._running]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def on_mosquitto(broker: MosquittoProcess, script: Script) -> Any:
    found: list[Any] = []

    async def work() -> None:
        world = World(lambda name, **how: Link(broker.url, name, **how), broker.stop, broker.start)
        found.append(await world.play(script))

    play(work)
    return found[0]


def in_virtual_time(script: Script, lives: Mapping[str, Life] | None = None) -> Any:
    loop = VirtualLoop()
    network = Network(loop, Broker(), random.Random(1))

    def make(name: str, **how: Any) -> Link:
        line = Line(name, Conditions(), random.Random(2))
        life = (lives or {}).get(name) or Life(lambda: None)
        place = Place(life, line, network, random.Random(3), name)
        return VirtualLink("mqtt://broker:1883", name, place=place, **how)

    world = World(make, network.kill_broker, lambda: network.start_broker(keep=False))
    try:
        return loop.run_until_complete(world.play(script))
    finally:
        loop.close()


async def more_than_it_holds(world: World) -> Any:
    sender, _, _ = await world.join("sender")
    _, came, _ = await world.join("reader", "a")
    taken = [sender.publish("a", b"%d" % number, qos=1) for number in range(60)]
    unsent, dropped = sender.unsent, sender.dropped
    await until(lambda: len(came) == sum(taken) and not sender.unsent)
    return taken, unsent, dropped, came


async def values_that_are_retained(world: World) -> Any:
    sender, _, _ = await world.join("sender")
    _, early, _ = await world.join("early", "state/#")
    for number in range(100):
        for topic in ("state/a", "state/b"):
            assert sender.publish(topic, b"%d" % number, qos=1, retain=True)
    unsent = sender.unsent
    await until(lambda: not sender.unsent and ("state/b", b"99", False) in early)
    _, late, _ = await world.join("late", "state/#")
    await until(lambda: len(late) == 2)
    return unsent, sender.dropped, early, sorted(late)


async def without_a_connection(world: World) -> Any:
    sender, _, _ = world.new("sender")
    before = sender.publish("a", b"x"), sender.publish("a", b"x", qos=1), sender.dropped, sender.unsent
    with pytest.raises(TooLargeError) as refused:
        sender.publish("a", bytes(MAX_PACKET + 1))
    return before, str(refused.value), sender.connected, sender.round_trip_us


async def a_filter_given_up(world: World) -> Any:
    sender, _, _ = await world.join("sender")
    reader, came, _ = await world.join("reader", "a", "b")
    reader.unsubscribe("a")
    await world.settle(reader)
    for topic in "abc":
        sender.publish(topic, topic.encode())
    await until(lambda: came)
    return came


async def an_end_in_order(world: World) -> Any:
    _, came, _ = await world.join("reader", "a")
    sender, _, losses = world.new("sender")
    running = asyncio.create_task(sender.run())
    await until(lambda: sender.connected)
    for number in range(40):
        sender.publish("a", b"%d" % number, qos=1)
    await sender.stop()
    await running
    await until(lambda: len(came) == 40)
    return came, len(losses), sender.connected, sender.publish("a", b"too late"), sender.dropped


async def a_broker_that_is_killed(world: World) -> Any:
    sender, came, losses = await world.join("sender", "a")
    before = sender.attempts
    world.stop_broker()
    await until(lambda: losses)
    refused = sender.publish("a", b"lost", qos=1), sender.dropped, sender.unsent
    await until(lambda: sender.attempts > before + 1)
    world.start_broker()
    await until(lambda: sender.connected)
    sender.publish("a", b"back", qos=1)  # behind the subscription
    await until(lambda: came)
    return refused, len(losses), came[0]


@pytest.mark.parametrize(
    "script",
    [
        more_than_it_holds,
        values_that_are_retained,
        without_a_connection,
        a_filter_given_up,
        an_end_in_order,
        a_broker_that_is_killed,
    ],
)
def test_both_links_do_the_same(broker: MosquittoProcess, script: Script) -> None:
    assert in_virtual_time(script) == on_mosquitto(broker, script)


def test_a_process_that_has_ended_neither_sends_nor_hears_nor_connects() -> None:
    life = Life(lambda: None)

    async def script(world: World) -> None:
        sender, _, _ = await world.join("sender")
        ended, came, losses = await world.join("ended", "a")
        sender.publish("a", b"heard")
        await until(lambda: came)
        life.end_before(1)
        with pytest.raises(EndedError):
            ended.publish("a", b"not sent")
        sender.publish("a", b"not heard")
        assert not ended.publish("a", b"not sent either")
        await asyncio.sleep(1.0)
        assert ([payload for _, payload, _ in came], losses) == ([b"heard"], [])
        with pytest.raises(LinkError, match="ended"):
            await ended._connection()

    in_virtual_time(script, {"ended": life})
