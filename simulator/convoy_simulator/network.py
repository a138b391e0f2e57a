"""Lines between machines and the broker: delay, jitter, loss, rate, and being cut. TCP runs over them.

So a lost packet is a late one, nothing overtakes what was sent before it on the same connection, and a line that is cut
holds back what is on it until one of both ends gives up. Keepalives are not sent one by one: whoever would miss one is
told when he would.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from convoy_schema.errors import LinkError

from convoy_simulator.broker import Broker, Close, Effect, Send
from convoy_simulator.cpu import Process
from convoy_simulator.mqtt_packets import Packet, Publish, size_of

#: Bytes that two sockets' buffers hold before the sender's fills.
SOCKET_BYTES = 256 * 1024
SEGMENT_BYTES = 1460
#: Bytes of TCP's, IP's and Ethernet's headers around a segment.
HEADER_BYTES = 66
#: Seconds after which TCP sends again, at the least.
RETRANSMIT_S = 0.2
MOST_RETRANSMIT_S = 10.0
#: Seconds within which TCP sends again what a line held back that is not cut any more.
MOST_RESUME_S = 4 * RETRANSMIT_S
#: Seconds of silence after which a broker gives up (keepalives of 5 s, looked at every 6 s), and a link.
BROKER_PATIENCE_S = (8.0, 14.0)
LINK_PATIENCE_S = (10.0, 11.0)
KEEPALIVE_S = 5.0
#: Seconds that a machine takes to answer where nothing else does.
HOST_S = 0.00005


@dataclass(frozen=True)
class Conditions:
    """Of a line: one-way delay and what may be added to it (seconds), loss of a segment (0 to 1), bytes a second."""

    delay_s: float = 0.0002
    jitter_s: float = 0.0
    loss: float = 0.0
    up_bytes_per_s: float = 11.5e6
    down_bytes_per_s: float = 11.5e6


class Client(Protocol):
    """The client's end of a connection."""

    def arrives(self, packet: Packet) -> None:
        """From the broker."""

    def breaks(self, why: str) -> None:
        """The connection is gone."""


class _Way:
    """One direction of a line: who comes later waits."""

    def __init__(self) -> None:
        self.free_at = 0.0


class Line:
    """What lies between one machine and the broker."""

    def __init__(self, name: str, conditions: Conditions, chance: random.Random) -> None:
        self.name = name
        self.conditions = conditions
        #: What arrives is handed over in turns of so many seconds: those of a process that has much to do in each.
        self.turn_s = 0.0
        #: The machine's processor, and what a message takes of it; None: nothing.
        self.cpu: Process | None = None
        self.message_s = 0.0
        #: Called in place of the client's `arrives`, with that and the packet; for meters.
        self.through: Callable[[Callable[[Packet], None], Packet], None] | None = None
        self.is_cut = False
        self.cuts = 0
        #: When what it held back has been sent again; infinite while it is cut.
        self.held_until = 0.0
        self.up, self.down = _Way(), _Way()
        #: Connections of which an end is still open.
        self.connections: dict[int, Connection] = {}
        self._chance = chance

    def arrival(self, way: _Way, rate: float, size: int, now: float) -> float:
        """When `size` bytes that are sent at `now` have arrived."""
        c = self.conditions
        segments = 1 + size // SEGMENT_BYTES
        way.free_at = max(way.free_at, now) + (size + segments * HEADER_BYTES) / rate
        late = c.delay_s + HOST_S
        if c.jitter_s:
            late += self._chance.uniform(0, c.jitter_s)
        if c.loss:
            late += self._lateness(segments)
        arrival = way.free_at + late
        if self.cpu is not None and way is self.down:
            arrival = self.cpu.interrupt(arrival, self.message_s)
        return arrival if not self.turn_s or way is self.up else math.ceil(arrival / self.turn_s) * self.turn_s

    def _lateness(self, segments: int) -> float:
        """Seconds that TCP needs to send again what was lost of so many segments."""
        c = self.conditions
        again = max(RETRANSMIT_S, 2 * c.delay_s)
        # Of several segments all but the last are missed at once by what follows them.
        lost = sum(self._chance.random() < c.loss for _ in range(min(segments, 50) - 1))
        late = 2 * c.delay_s * bool(lost)
        while self._chance.random() < c.loss and again < MOST_RETRANSMIT_S:
            late += again
            again *= 2
        return late


def _behind(before: float, arrival: float) -> float:
    """When what arrives behind something else does: of two timers for one moment either may be the first."""
    return arrival if arrival > before else math.nextafter(before, math.inf)


class Connection:
    """One connection; both ends know of its end at different times."""

    def __init__(self, number: int, line: Line, client: Client, network: Network) -> None:
        self.number = number
        self.line = line
        self.client: Client | None = client
        self.has_broker = True
        self._network = network
        self.up_at = self.down_at = 0.0
        #: What a cut line holds back, each way.
        self.up_held: deque[Packet] = deque()
        self.down_held: deque[Packet] = deque()
        self.up_bytes = self.down_bytes = self.down_packets = 0
        self.was_full = False

    @property
    def is_congested(self) -> bool:
        """Whether the client's socket takes no more."""
        return self.up_bytes > SOCKET_BYTES

    def send(self, packet: Packet) -> None:
        """From the client."""
        self._network.send_up(self, packet)

    def close(self) -> None:
        """By the client, who hears nothing more; what it sent before arrives."""
        self._network.client_closes(self)

    def vanish(self) -> None:
        """The client is gone without a word: a machine that lost its power."""
        self._network.client_vanishes(self)


class Network:
    """All lines, and the broker that they lead to. Runs in `loop`; `chance` is its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, broker: Broker, chance: random.Random) -> None:
        self._loop = loop
        self.broker = broker
        self._chance = chance
        self._numbers = itertools.count(1)
        self._connections: dict[int, Connection] = {}
        self.is_broker_up = True
        #: Called for each packet that the broker takes from or sends to a line, with its name; for ledgers.
        self.watch: Callable[[str, Packet, bool], None] | None = None
        #: Called for each packet that a client is about to send.
        self.watch_sending: Callable[[str, Packet], None] | None = None
        #: Shares of the messages at QoS 0 that the broker loses and sends twice.
        self.losing = self.repeating = 0.0
        #: Whether it never did either: windows bound no queue that gets everything twice.
        self.was_faithful = True
        #: Whether every line was as quick as gateways allow for: they give up what arrives for all that.
        self.was_punctual = True
        #: The broker's processor, and what a packet takes of it; None: nothing.
        self.broker_cpu: Process | None = None
        self.packet_s = 0.0

    # Connecting ------------------------------------------------------------------------------------------------------

    async def dial(self, line: Line, client: Client, timeout_s: float) -> Connection:
        """TCP's handshake; raises `LinkError`."""
        if line.is_cut:
            await asyncio.sleep(timeout_s)
            raise LinkError("timed out")
        await asyncio.sleep(2 * line.conditions.delay_s + HOST_S + (line._lateness(1) if line.conditions.loss else 0.0))
        if not self.is_broker_up:
            raise LinkError("connection refused")
        connection = Connection(next(self._numbers), line, client, self)
        self._connections[connection.number] = line.connections[connection.number] = connection
        return connection

    # Packets ---------------------------------------------------------------------------------------------------------

    def send_up(self, connection: Connection, packet: Packet) -> None:
        """From the client to the broker."""
        line = connection.line
        if self.watch_sending is not None:
            self.watch_sending(line.name, packet)
        size = size_of(packet)
        connection.up_bytes += size
        if line.is_cut or connection.up_held:  # behind what was held back
            connection.up_held.append(packet)
            return
        self._carry_up(connection, packet, size, self._loop.time())

    def _carry_up(self, connection: Connection, packet: Packet, size: int, sent_at: float) -> None:
        line = connection.line
        arrival = line.arrival(line.up, line.conditions.up_bytes_per_s, size, sent_at)
        connection.up_at = at = _behind(connection.up_at, arrival)
        self._loop.call_at(at, self._to_broker, connection, packet, size)

    def _to_broker(self, connection: Connection, packet: Packet, size: int) -> None:
        connection.up_bytes -= size
        if connection.has_broker:
            if self.watch is not None:
                self.watch(connection.line.name, packet, True)
            self._apply(self.broker.received(connection.number, packet, self._loop.time()))

    def _apply(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            connection = self._connections.get(effect.connection)
            if connection is None:
                continue
            if isinstance(effect, Send):
                self._send_down(connection, effect.packet)
            else:
                self._broker_closes(connection, effect)

    def _send_down(self, connection: Connection, packet: Packet) -> None:
        if (self.losing or self.repeating) and isinstance(packet, Publish) and packet.qos == 0:
            if self._chance.random() < self.losing:
                return
            if self._chance.random() < self.repeating:
                self._put_down(connection, packet)
        self._put_down(connection, packet)

    def _put_down(self, connection: Connection, packet: Packet) -> None:
        line = connection.line
        size = size_of(packet)
        connection.down_bytes += size
        connection.down_packets += 1
        if self.watch is not None:
            self.watch(line.name, packet, False)
        if line.is_cut or connection.down_held:
            connection.down_held.append(packet)
        elif connection.client is not None:  # else nobody acknowledges it, and it stays in the broker's socket
            sent_at = self._loop.time()
            if self.broker_cpu is not None:
                sent_at = self.broker_cpu.interrupt(sent_at, self.packet_s)
            self._carry_down(connection, packet, size, sent_at)
        if connection.down_bytes > SOCKET_BYTES and not connection.was_full:
            self._tell_unwritten(connection)

    def _carry_down(self, connection: Connection, packet: Packet, size: int, sent_at: float) -> None:
        line = connection.line
        arrival = line.arrival(line.down, line.conditions.down_bytes_per_s, size, sent_at)
        connection.down_at = at = _behind(connection.down_at, arrival)
        self._loop.call_at(at, self._to_client, connection, packet, size)

    def _to_client(self, connection: Connection, packet: Packet, size: int) -> None:
        connection.down_bytes -= size
        connection.down_packets -= 1
        if connection.was_full:
            self._tell_unwritten(connection)
        if connection.client is None:
            return
        if connection.line.through is None:
            connection.client.arrives(packet)
        else:
            connection.line.through(connection.client.arrives, packet)

    def _tell_unwritten(self, connection: Connection) -> None:
        """Of what is under way, what the sockets do not hold is still the broker's."""
        if not connection.has_broker:
            return
        over = connection.down_bytes - SOCKET_BYTES
        count = 0 if over <= 0 else max(1, connection.down_packets * over // connection.down_bytes)
        connection.was_full = count > 0
        self.broker.unwritten(connection.number, count)

    # Ends ------------------------------------------------------------------------------------------------------------

    def client_closes(self, connection: Connection) -> None:
        """The broker learns of it behind what was sent before."""
        self._without_client(connection)
        connection.down_held.clear()
        if not connection.line.is_cut:
            at = max(connection.up_at, self._loop.time() + connection.line.conditions.delay_s)
            self._loop.call_at(at, self._broker_loses, connection)

    def client_vanishes(self, connection: Connection) -> None:
        """The broker learns of it by silence alone."""
        self._without_client(connection)
        connection.up_held.clear()
        connection.down_held.clear()
        self._loop.call_later(self._silence(BROKER_PATIENCE_S), self._broker_loses, connection)

    def _broker_loses(self, connection: Connection) -> None:
        if connection.has_broker:
            self._without_broker(connection)
            self._apply(self.broker.lost(connection.number, self._loop.time()))

    def _broker_closes(self, connection: Connection, effect: Close) -> None:
        self._without_broker(connection)
        if not connection.line.is_cut:
            at = max(connection.down_at, self._loop.time() + connection.line.conditions.delay_s)
            self._loop.call_at(at, self._client_loses, connection, effect.reason)

    def _client_loses(self, connection: Connection, why: str) -> None:
        client = connection.client
        self._without_client(connection)
        if client is not None:
            client.breaks(why)

    def _without_client(self, connection: Connection) -> None:
        connection.client = None
        if not connection.has_broker:
            connection.line.connections.pop(connection.number, None)

    def _without_broker(self, connection: Connection) -> None:
        connection.has_broker = False
        self._connections.pop(connection.number, None)
        if connection.client is None:
            connection.line.connections.pop(connection.number, None)

    # Faults ----------------------------------------------------------------------------------------------------------

    def cut(self, line: Line) -> None:
        """Nothing passes; both ends notice by the silence."""
        if line.is_cut:
            return
        line.is_cut = True
        line.cuts += 1
        line.held_until = math.inf
        for connection in list(line.connections.values()):
            quiet_s = self._silence(BROKER_PATIENCE_S)
            self._loop.call_later(quiet_s, self._while_cut, line, line.cuts, self._broker_loses, connection)
            quiet_s = self._silence(LINK_PATIENCE_S)
            give_up = "nothing came from the broker for 10 s"
            self._loop.call_later(quiet_s, self._while_cut, line, line.cuts, self._client_loses, connection, give_up)

    def mend(self, line: Line) -> None:
        """What was held back is sent again, when TCP tries next."""
        if not line.is_cut:
            return
        line.is_cut = False
        line.held_until = self._loop.time() + MOST_RESUME_S
        for connection in list(line.connections.values()):
            self._loop.call_later(self._chance.uniform(0, MOST_RESUME_S), self._resume, connection)

    def _resume(self, connection: Connection) -> None:
        if connection.line.is_cut:
            return
        up, connection.up_held = connection.up_held, deque()
        down, connection.down_held = connection.down_held, deque()
        now = self._loop.time()
        for packet in up:
            self._carry_up(connection, packet, size_of(packet), now)
        for packet in down:
            self._carry_down(connection, packet, size_of(packet), now)
        if connection.client is None:
            self._broker_loses(connection)
        elif not connection.has_broker:
            self._client_loses(connection, "the connection was reset")

    def _silence(self, patience: tuple[float, float]) -> float:
        """Seconds from now on until somebody gives up who heard the last word within a keepalive before."""
        return self._chance.uniform(*patience) - self._chance.uniform(0, KEEPALIVE_S)

    def _while_cut(self, line: Line, cut: int, end: Callable[..., None], *arguments: object) -> None:
        if line.is_cut and line.cuts == cut:
            end(*arguments)

    def kill_broker(self) -> None:
        """With -9: every connection is reset."""
        self.is_broker_up = False
        for connection in list(self._connections.values()):
            self._without_broker(connection)
            connection.up_held.clear()
            connection.down_held.clear()
            if not connection.line.is_cut:
                delay_s = connection.line.conditions.delay_s
                self._loop.call_later(delay_s, self._client_loses, connection, "the connection was reset")

    def start_broker(self, keep: bool) -> None:
        """Again, with the retained messages of its last snapshot if `keep`, else with nothing."""
        self.broker.restart(keep, self._loop.time())
        self.is_broker_up = True
