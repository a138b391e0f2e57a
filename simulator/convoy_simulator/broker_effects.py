"""What the broker wants done, and what can be asked of it."""

from __future__ import annotations

from typing import NamedTuple

from convoy_simulator.mqtt_packets import Packet


class Send(NamedTuple):
    """A packet is to go to a client."""

    connection: int
    packet: Packet


class Close(NamedTuple):
    """The broker ends a connection; what its socket has not taken is lost."""

    connection: int
    reason: str


Effect = Send | Close


class Traffic(NamedTuple):
    """Counted since the broker started: packets of all kinds, messages (PUBLISH) among them, and bytes on the wire."""

    packets_received: int
    packets_sent: int
    messages_received: int
    messages_sent: int
    messages_dropped: int
    bytes_received: int
    bytes_sent: int
    bytes_dropped: int


class SessionView(NamedTuple):
    """A session as it is now."""

    client_id: str
    #: None while the client is away.
    connection: int | None
    subscriptions: dict[str, int]
    #: Messages of QoS 1 that wait for their PUBACK, and those behind them.
    inflight: int
    queued: int
    queued_bytes: int
    #: Packets that its socket has not taken.
    unwritten: int
