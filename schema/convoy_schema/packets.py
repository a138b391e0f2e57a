"""MQTT packets over a socket: QoS 0 messages are read and written here, everything else is paho's.

A frame passes through four processes, and paho takes 45 us of each for it: a system call for every byte of a length,
some objects and locks for every message. Read from one buffer and written in one piece, the same frame takes 5 us.
Only the wire format of MQTT 3.1.1 is relied on (sections 2.2 and 3.3 of the standard), nothing inside paho, which sees
a socket that holds whole packets of the other kinds. Used by `link` alone.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from dataclasses import dataclass

from convoy_schema.errors import LinkError

#: Bytes asked of the kernel at once.
READ_BYTES = 128 * 1024
#: There must be room for so many before the kernel is asked.
LEAST_READ = 16 * 1024
#: Linux's `struct tcp_info`, as far as its smoothed round trip (microseconds, 32 bits) and a little beyond.
_TCP_INFO_BYTES, _TCP_INFO_RTT = 104, 68
#: Bytes below which a payload is copied behind its header rather than sent as a piece of its own.
SMALL = 4096
#: Pieces sent in one system call, well below what Linux takes (1,024).
MOST_PIECES = 256
#: No packet that comes may be larger: what we send at most, and its header.
MAX_INCOMING = 1_100_000
#: PUBLISH with QoS 0: type 3 in the upper bits; neither DUP nor a QoS bit below. The lowest bit is RETAIN.
_PUBLISH_QOS0 = 0x30
_TYPE_DUP_QOS = 0xFE


@dataclass(frozen=True)
class Incoming:
    """A QoS 0 message."""

    topic: str
    payload: bytes
    retained: bool


class PacketSocket:
    """Wraps a connected, non-blocking socket; the first part has the methods that paho calls, and no others."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray(READ_BYTES)
        self._at = self._end = 0
        self._granted = 0
        #: Whether what is sent is collected until `uncork`.
        self.is_corked = False
        self._unsent: list[bytes | bytearray] = []
        #: Bytes that the kernel has not taken.
        self.unsent_bytes = 0
        #: Whether the kernel takes no more for now: wait until the socket is writable, then `push`.
        self.is_blocked = False
        self._is_closed_by_peer = False
        #: Bytes that have come so far.
        self.received_bytes = 0

    # What paho calls -------------------------------------------------------------------------------------------------

    def recv(self, most: int) -> bytes:
        """Bytes of a packet that was granted to paho; b'' when the peer has closed, else `BlockingIOError`."""
        if not self._granted:
            if self._is_closed_by_peer:
                return b""
            raise BlockingIOError
        found = bytes(self._buffer[self._at : self._at + min(most, self._granted)])
        self._at += len(found)
        self._granted -= len(found)
        return found

    def send(self, content: bytes | bytearray) -> int:
        """Take all of `content`; what the kernel does not take waits here. Raises `OSError` on a broken connection."""
        self._unsent.append(content)
        self.unsent_bytes += len(content)
        if not self.is_corked and not self.is_blocked:
            self.push()
        return len(content)

    def close(self) -> None:
        """Close the socket below."""
        self._sock.close()

    def fileno(self) -> int:
        """The socket's descriptor; -1 when it is closed."""
        return self._sock.fileno()

    def round_trip_us(self) -> int:
        """What the kernel takes the way to the peer and back to be, in microseconds; 0 where it does not say."""
        try:
            facts = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        except (AttributeError, OSError):  # not Linux, or closed
            return 0
        return int.from_bytes(facts[_TCP_INFO_RTT : _TCP_INFO_RTT + 4], sys.byteorder)

    def setblocking(self, flag: bool) -> None:
        """As of the socket below."""
        self._sock.setblocking(flag)

    # Reading ---------------------------------------------------------------------------------------------------------

    def fill(self) -> None:
        """Take what the kernel holds; raises `OSError` when the connection broke."""
        if self._at == self._end:
            self._at = self._end = 0
        if len(self._buffer) - self._end < LEAST_READ:
            self._make_room()
        with contextlib.suppress(BlockingIOError):
            found = self._receive(memoryview(self._buffer)[self._end :])
            self._is_closed_by_peer = not found
            self._end += found
            self.received_bytes += found

    def _receive(self, room: memoryview) -> int:
        return self._sock.recv_into(room)

    @property
    def has_more(self) -> bool:
        """Whether bytes wait in here that no `select` shows: then `fill` again without waiting."""
        return False

    def _make_room(self) -> None:
        """Move what is held to the front; give a packet that fills the buffer all the room that one may have."""
        held = self._buffer[self._at : self._end]
        if len(held) + LEAST_READ > READ_BYTES:
            self._buffer = bytearray(MAX_INCOMING + READ_BYTES)
        elif len(self._buffer) > READ_BYTES:
            self._buffer = bytearray(READ_BYTES)
        self._buffer[: len(held)] = held
        self._at, self._end = 0, len(held)

    @property
    def is_closed_by_peer(self) -> bool:
        """Whether nothing more will come."""
        return self._is_closed_by_peer

    def next(self) -> Incoming | bool:
        """The next QoS 0 message; True when a packet of another kind was granted to paho; False when none is whole.

        Raises `LinkError` for a packet that is malformed or too large.
        """
        at, end, buffer = self._at, self._end, self._buffer
        length, size, shift = 0, 1, 0
        while True:
            if at + size >= end:
                return False
            digit = buffer[at + size]
            length |= (digit & 0x7F) << shift
            size += 1
            if digit < 0x80:
                break
            shift += 7
            if shift > 21:
                raise LinkError("the broker sent a packet of no readable length")
        total = size + length
        if total > MAX_INCOMING:
            raise LinkError(f"the broker sent a packet of {total} bytes, at most {MAX_INCOMING} are read", size=total)
        if at + total > end:
            return False
        first = buffer[at]
        if first & _TYPE_DUP_QOS != _PUBLISH_QOS0:
            self._granted = total
            return True
        self._at = at + total
        return _message(buffer, at + size, at + total, bool(first & 1))

    # Writing ---------------------------------------------------------------------------------------------------------

    def publish(self, topic: bytes, payload: bytes, retain: bool) -> None:
        """Send a QoS 0 message; raises `OSError` on a broken connection, unless corked."""
        length = 2 + len(topic) + len(payload)
        header = bytearray((_PUBLISH_QOS0 | retain,))
        while True:
            length, digit = length >> 7, length & 0x7F
            header.append(digit | 0x80 if length else digit)
            if not length:
                break
        header += len(topic).to_bytes(2, "big")
        header += topic
        if len(payload) < SMALL:
            self.send(header + payload)
        else:
            self._unsent.append(header)
            self.unsent_bytes += len(header)
            self.send(payload)

    def cork(self) -> None:
        """Collect what is sent from now on, until `uncork`."""
        self.is_corked = True

    def uncork(self) -> None:
        """Send what was collected."""
        self.is_corked = False
        if not self.is_blocked:
            self.push()

    def push(self) -> None:
        """Send what waits, as far as the kernel takes it; raises `OSError` when the connection broke."""
        while self._unsent:
            pieces = self._unsent[:MOST_PIECES]
            try:
                sent = self._sock.sendmsg(pieces)
            except BlockingIOError:
                sent = 0
            self.unsent_bytes -= sent
            whole = 0
            while whole < len(pieces) and sent >= len(pieces[whole]):
                sent -= len(pieces[whole])
                whole += 1
            del self._unsent[:whole]
            if whole < len(pieces):
                self._unsent[0] = self._unsent[0][sent:]
                self.is_blocked = True
                return
        self.is_blocked = False


def _message(buffer: bytearray, start: int, end: int, retained: bool) -> Incoming:
    size = int.from_bytes(buffer[start : start + 2], "big")
    middle = start + 2 + size
    if middle > end:
        raise LinkError("the broker sent a message whose topic is longer than itself")
    try:
        topic = buffer[start + 2 : middle].decode()
    except UnicodeDecodeError as error:
        raise LinkError("the broker sent a topic that is not UTF-8") from error
    return Incoming(topic, bytes(buffer[middle:end]), retained)
