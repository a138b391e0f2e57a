"""A deterministic model of Mosquitto 2.0 as Convoy uses it: what it sends to whom, in which order, what it drops."""

from __future__ import annotations

from typing import NamedTuple

from convoy_simulator.broker_limits import MOSQUITTO, Limits
from convoy_simulator.mqtt_packets import Packet, Publish


class Send(NamedTuple):
    """A packet is to go to a client."""

    connection: int
    packet: Packet


class Close(NamedTuple):
    """The broker ends a connection, after what it sent before."""

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


class Broker:
    """The broker. Connections are numbers that the transport gives; none is ever given twice."""

    def __init__(self, limits: Limits = MOSQUITTO) -> None:
        self.limits = limits

    # Events ----------------------------------------------------------------------------------------------------------

    def received(self, connection: int, packet: Packet, now: float) -> list[Effect]:
        """A whole packet came; the first of a connection must be CONNECT."""
        raise NotImplementedError

    def heard(self, connection: int, now: float) -> None:
        """Bytes came of a packet that is not whole yet: the client is alive."""
        raise NotImplementedError

    def lost(self, connection: int, now: float) -> list[Effect]:
        """TCP ended without DISCONNECT; nothing happens for a connection that the broker closed itself."""
        raise NotImplementedError

    def unwritten(self, connection: int, packets: int, now: float) -> list[Effect]:
        """The client's socket has not taken the last `packets` of what was sent; 0 when it has taken all.

        To be called when the socket is full, and again as it drains. Until it is 0, the broker adds to that number what
        it sends; while it is 0, it takes every packet for written.
        """
        raise NotImplementedError

    def due(self) -> float | None:
        """When `tick` is to be called next."""
        raise NotImplementedError

    def tick(self, now: float) -> list[Effect]:
        """End the connections from which nothing has come for 1.5 times their keepalive."""
        raise NotImplementedError

    def save(self) -> None:
        """Take the snapshot that `restart(keep=True)` finds."""
        raise NotImplementedError

    def restart(self, keep: bool, now: float) -> None:
        """Killed, and started again: connections are gone without wills; `keep` brings back the last snapshot."""
        raise NotImplementedError

    # State -----------------------------------------------------------------------------------------------------------

    def traffic(self) -> Traffic:
        """What passed since the broker started."""
        raise NotImplementedError

    def retained(self) -> dict[str, Publish]:
        """Retained messages by topic."""
        raise NotImplementedError

    def sessions(self) -> list[SessionView]:
        """All sessions, those of clients that are away among them."""
        raise NotImplementedError

    def session(self, client_id: str) -> SessionView | None:
        """One client's session."""
        raise NotImplementedError
