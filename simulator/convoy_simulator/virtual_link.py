"""`Link` over the modelled network: the same promises to its owner, without paho and without a socket.

Reconnecting is the real one's; what it keeps of messages that wait (the newest of each retained topic, twenty of QoS 1
under way, four thousand behind them) is the same by the same figures. tests/simulator holds both against one script.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from convoy_schema.errors import LinkError
from convoy_schema.link import (
    CONNECT_TIMEOUT_S,
    MAX_INFLIGHT,
    MAX_OUTBOX,
    Link,
    _guarded,
    _name_that_fits,
)

from convoy_simulator.life import Life
from convoy_simulator.mqtt_packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
)
from convoy_simulator.network import Connection, Line, Network


@dataclass(frozen=True)
class Place:
    """Where a process runs: its life, its machine's line, and the user name that its certificate gives it."""

    life: Life
    line: Line
    network: Network
    chance: random.Random
    user: str


class VirtualLink(Link):
    """See `Link`; made by `Surroundings.link` with its `place`."""

    def __init__(self, url: str, client_id: str, *, place: Place, **how: Any) -> None:
        how.setdefault("chance", place.chance)
        super().__init__(url, client_id, **how)
        self._place = place
        self._connection_now: Connection | None = None
        self._waiting: OrderedDict[object, tuple[str, bytes, bool]] = OrderedDict()
        self._mids: set[int] = set()
        self._mid = 0

    # Life ------------------------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """See `Link`."""
        self._stopping = True
        self._rested.set()
        clock = asyncio.get_running_loop().time
        deadline = clock() + 1.0
        while self._is_open and not self._place.life.is_over and (self._waiting or self._mids) and clock() < deadline:
            await asyncio.sleep(0.01)
        if self._connection_now is not None and self._is_open and not self._place.life.is_over:
            self._connection_now.send(Disconnect())
        self._break("stopped")

    async def _connection(self) -> None:
        self._lost.clear()
        self._answered.clear()
        self._loss = ""
        self.attempts += 1
        place = self._place
        if place.life.is_over:
            raise LinkError("the process has ended")
        connection = await place.network.dial(place.line, self, CONNECT_TIMEOUT_S)
        self._connection_now = connection
        will = None if self._will is None else Will(self._will[0], self._will[1], 1, True)
        name = f"{self._client_id}:{place.chance.getrandbits(64):016x}"
        connection.send(Connect(name, True, 0, will, place.user))
        too_late = f"no answer to CONNECT within {CONNECT_TIMEOUT_S:g} s"
        timer = asyncio.get_running_loop().call_later(CONNECT_TIMEOUT_S, self._break, too_late)
        try:
            await self._answered.wait()
            timer.cancel()
            await self._lost.wait()
        finally:
            timer.cancel()

    def _drop(self) -> None:
        connection, self._connection_now = self._connection_now, None
        if connection is not None and connection.client is not None:
            connection.close()
        was, self.connected = self.connected, False
        self._waiting.clear()
        self._mids.clear()
        if was and not self._place.life.is_over:
            _guarded(self._on_disconnect, self._loss or "connection lost")

    def vanish(self) -> None:
        """The machine lost its power."""
        if self._connection_now is not None:
            self._connection_now.vanish()

    # What arrives ----------------------------------------------------------------------------------------------------

    def arrives(self, packet: Packet) -> None:
        """See `network.Client`."""
        if self._place.life.is_over or self._lost.is_set():
            return
        match packet:
            case Publish(topic, payload, qos, retain, mid):
                if qos and self._connection_now is not None:
                    self._connection_now.send(Puback(mid))
                _guarded(self._on_acknowledged if qos else self._on_message, topic, payload, retain)
            case Puback(mid):
                self._mids.discard(mid)
                self.round_trips += 1
                self._pump()
            case Connack(code, _):
                self._answers(code)
            case Suback() | Unsuback():
                self.round_trips += 1

    def _answers(self, code: int) -> None:
        if code:
            self._break(f"the broker refused the connection: {code}")
            return
        self.connected = True
        self.round_trips += 1
        self._answered.set()
        _guarded(self._on_connect)

    def breaks(self, why: str) -> None:
        """See `network.Client`."""
        self._break(why)

    # Sending ---------------------------------------------------------------------------------------------------------

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> bool:
        """See `Link`."""
        _name_that_fits(topic, payload)
        connection = self._connection_now
        if connection is None or not self._is_open or self._place.life.is_over:
            self.dropped += 1
            return False
        self._place.life.step("publish")
        if qos == 0:
            connection.send(Publish(topic, payload, 0, retain))
            return True
        key: object = topic if retain else object()
        if len(self._waiting) >= MAX_OUTBOX and key not in self._waiting:
            self.dropped += 1
            return False
        self._waiting.pop(key, None)
        self._waiting[key] = (topic, payload, retain)
        self._pump()
        return True

    def _pump(self) -> None:
        connection = self._connection_now
        while connection is not None and self._is_open and self._waiting and len(self._mids) < MAX_INFLIGHT:
            _, (topic, payload, retain) = self._waiting.popitem(last=False)
            connection.send(Publish(topic, payload, 1, retain, self._next_mid()))

    def _next_mid(self) -> int:
        self._mid = self._mid % 65535 + 1
        self._mids.add(self._mid)
        return self._mid

    def subscribe(self, topic: str, qos: int = 0) -> None:
        """See `Link`."""
        if self._connection_now is not None and self._is_open:
            self._mid = self._mid % 65535 + 1
            self._connection_now.send(Subscribe(self._mid, ((topic, qos),)))

    def unsubscribe(self, topic: str) -> None:
        """See `Link`."""
        if self._connection_now is not None and self._is_open:
            self._mid = self._mid % 65535 + 1
            self._connection_now.send(Unsubscribe(self._mid, (topic,)))

    @property
    def round_trip_us(self) -> int:
        """See `Link`."""
        return int(2e6 * self._place.line.conditions.delay_s) if self.connected else 0

    @property
    def unsent(self) -> int:
        """See `Link`."""
        return len(self._waiting) + len(self._mids)

    @property
    def is_congested(self) -> bool:
        """See `Link`."""
        return self._connection_now is not None and self._connection_now.is_congested
