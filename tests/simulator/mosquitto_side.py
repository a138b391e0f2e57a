"""A real Mosquitto as a script needs it: clients that do only what they are told, and no wait but for what it does."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from broker_scripts import SLOTS, Script
from convoy_simulator.mqtt_packets import Connect, Packet, Pingreq, Pingresp, Puback, Publish, publish_size
from mosquitto_process import MOSQUITTO
from mqtt_wire import encode, take
from own_ports import own_port
from patience import PATIENCE_S
from socket_fill import written_to

#: Who publishes what fills a socket, and proves by a round trip that the broker has seen what came before.
WITNESS = SLOTS
#: Acknowledges a number that no broker has come to.
NEEDLESS = Puback(60_000)
#: Bytes of one message that fills a socket.
FILLING = 400_000


class Heard(NamedTuple):
    """What a connection was sent since the last step, and whether it has ended."""

    packets: tuple[Packet, ...]
    is_closed: bool


def filling(slot: int, count: int) -> tuple[Publish, ...]:
    """Messages for that slot alone."""
    return tuple(Publish(f"$fill/{slot}", b"x" * FILLING, 0, False) for _ in range(count))


def _connected(port: int) -> socket.socket:
    """A socket to the broker, which may be starting: a connection only to see whether it is there would be counted."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        connection = socket.socket()
        try:
            connection.connect(("127.0.0.1", port))
            return connection
        except ConnectionRefusedError:
            connection.close()
            assert time.monotonic() < deadline, "the broker does not start"
            time.sleep(0.002)


class Client:
    """A socket that says what it is told, and keeps what it hears."""

    def __init__(self, port: int) -> None:
        self._socket = _connected(port)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self.packets: list[Packet] = []
        self.is_closed = False
        self.is_stalled = False
        #: What its socket had taken when it stopped reading.
        self.start = 0

    def say(self, packets: tuple[Packet, ...]) -> None:
        if not self.is_closed:
            with contextlib.suppress(OSError):  # what came before the end is still to be read
                self._socket.sendall(b"".join(map(encode, packets)))

    def round_trip(self) -> None:
        """Until the broker has seen all that was said here."""
        self.say((Pingreq(),))
        self._read(lambda: bool(self.packets) and isinstance(self.packets[-1], Pingresp), PATIENCE_S)
        if self.packets and isinstance(self.packets[-1], Pingresp):
            self.packets.pop()

    def drain(self) -> None:
        """Read until nothing comes."""
        self._read(lambda: False, 0.02)

    def _read(self, is_enough: Callable[[], bool], patience_s: float) -> None:
        while not self.is_closed and not is_enough():
            packet = take(self._buffer)
            if packet is not None:
                self.packets.append(packet)
                continue
            ready, _, _ = select.select([self._socket], [], [], patience_s)
            if not ready:
                assert patience_s < PATIENCE_S, "the broker does not answer"
                return
            try:
                data = self._socket.recv(1 << 20)
            except OSError:
                data = b""
            self.is_closed = not data
            self._buffer += data

    def close(self) -> None:
        self._socket.close()
        self.is_closed = True

    def settled(self, patience_s: float) -> int:
        """What the broker's socket has taken for this client, when it takes no more."""
        while True:
            taken = self.taken_now()
            time.sleep(patience_s)
            if self.taken_now() == taken:
                return taken or 0

    def taken_now(self) -> int | None:
        """None if the broker has closed."""
        return written_to(self._socket)


class RealSide:
    """A Mosquitto of its own, below `directory`."""

    def __init__(self, directory: Path, script: Script) -> None:
        assert MOSQUITTO is not None
        self._directory, self.port = directory, own_port()
        self._config = directory / "mosquitto.conf"
        self._config.write_text(_configuration(directory, self.port, script))
        self._state = directory / "mosquitto.db"
        self._state.unlink(missing_ok=True)
        self._clients: dict[int, Client] = {}
        self._start()

    def _start(self) -> None:
        with (self._directory / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen([str(MOSQUITTO), "-c", str(self._config)], stdout=log, stderr=log)

    def stop(self) -> None:
        for client in self._clients.values():
            client.close()
        self._process.kill()
        self._process.wait()

    def join(self, slot: int, connect: Connect) -> None:
        self.cut(slot)
        self._clients[slot] = Client(self.port)
        self.say(slot, (connect,))

    def say(self, slot: int, packets: tuple[Packet, ...]) -> None:
        if slot in self._clients:
            self._clients[slot].say(packets)
            self.settle(slot, len(packets))

    def cut(self, slot: int) -> None:
        if slot in self._clients:
            self._clients.pop(slot).close()
            self.settle(WITNESS)

    def settle(self, first: int, packets: int = 1) -> None:
        """Until the broker has done all that follows from what `first` said, and everybody has read it."""
        witness = self._clients.get(WITNESS)
        teller = self._clients.get(first)
        if teller is not None and not teller.is_stalled:
            teller.round_trip()
        elif witness is not None:
            for _ in range(packets):
                witness.round_trip()
        if witness is not None:
            witness.round_trip()
        for client in self._clients.values():
            if not client.is_stalled:
                client.round_trip()

    def stall(self, slot: int) -> tuple[int, int]:
        """Messages sent until the socket took one only in part, and bytes taken: 0 if it takes none."""
        client = self._clients.get(slot)
        if client is None or client.is_closed:
            return 0, 0
        client.is_stalled = True
        size, sent, client.start = publish_size(*filling(slot, 1)), 0, client.settled(0)
        while True:
            self.say(WITNESS, filling(slot, 1))
            # With whatever it says later its kernel would tell of a little more room: have it told now.
            client.say((NEEDLESS,))
            self.settle(WITNESS)
            sent += 1
            taken = client.settled(0.001) - client.start
            # What is full for the broker's poll may have room for what it tries to write with the next message.
            if taken < (sent - 1) * size or (sent > 1 and not taken):
                return sent, taken

    def taken(self, slot: int) -> int | None:
        """Bytes that the socket of a client that does not read has taken since it stalled; None if it is closed."""
        client = self._clients[slot]
        taken = client.taken_now()
        return None if taken is None else taken - client.start

    def resume(self, slot: int) -> None:
        client = self._clients.get(slot)
        if client is not None and client.is_stalled:
            came = -1
            # Its answer to a ping is lost as well while too much waits; the witness's says that the broker has written.
            while len(client.packets) > came:
                came = len(client.packets)
                client.drain()
                self.settle(WITNESS)
            client.is_stalled = False
            self.settle(slot)

    def kill(self, keep: bool) -> None:
        if keep:
            self._state.unlink(missing_ok=True)
            self._process.send_signal(signal.SIGUSR1)
            deadline = time.monotonic() + PATIENCE_S
            while not self._state.exists():
                assert time.monotonic() < deadline
                time.sleep(0.002)
        else:
            self._state.unlink(missing_ok=True)
        self._process.kill()
        self._process.wait()
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        self._start()

    def heard(self, slot: int) -> Heard:
        client = self._clients.get(slot)
        if client is None:
            return Heard((), True)
        heard = Heard(tuple(client.packets), client.is_closed)
        client.packets.clear()
        return heard


def _configuration(directory: Path, port: int, script: Script) -> str:
    limits = script.limits
    lines = [
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        "set_tcp_nodelay true",
        f"max_inflight_messages {limits.max_inflight_messages}",
        f"max_queued_messages {limits.max_queued_messages}",
        f"max_queued_bytes {limits.max_queued_bytes}",
        "log_dest stderr",
    ]
    if limits.max_packet_size:
        lines.append(f"max_packet_size {limits.max_packet_size}")
    if limits.max_connections:
        lines.append(f"max_connections {limits.max_connections}")
    if limits.rules is not None:
        (directory / "acl").write_text(limits.rules)
        lines.append(f"acl_file {directory / 'acl'}")
    if os.geteuid() == 0:
        lines.append("user root")  # else it changes its user, who may not write here
    if script.is_persistent:
        lines += ["persistence true", f"persistence_location {directory}/", "autosave_interval 0"]
    return "\n".join(lines) + "\n"
