"""How many bytes the far end of a TCP connection of this machine has written to its socket, taken from the kernel."""

from __future__ import annotations

import socket
import struct

_NETLINK_SOCK_DIAG = 4
_BY_FAMILY = 20
_REQUEST = 1
_ERROR = 2
#: The extension that asks for struct tcp_info, and its attribute's type.
_INFO = 2
_NO_COOKIE = 0xFFFFFFFF
#: Where struct inet_diag_msg has the bytes that are not acknowledged, and where its attributes begin.
_WRITE_QUEUE, _ATTRIBUTES = 16 + 60, 16 + 72
#: Where struct tcp_info has the bytes acknowledged.
_BYTES_ACKED = 120


def written_to(connection: socket.socket) -> int | None:
    """Bytes that the peer's socket has taken since it was opened, read or not; None when it is closed."""
    try:
        (_, ours), (_, theirs) = connection.getsockname(), connection.getpeername()
    except OSError:
        return None
    address = socket.inet_aton("127.0.0.1").ljust(16, b"\0")
    name = struct.pack("!HH", theirs, ours) + address * 2 + struct.pack("=III", 0, _NO_COOKIE, _NO_COOKIE)
    body = struct.pack("=BBBxI", socket.AF_INET, socket.IPPROTO_TCP, 1 << (_INFO - 1), 0xFFFFFFFF) + name
    header = struct.pack("=IHHII", 16 + len(body), _BY_FAMILY, _REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.send(header + body)
        answer = netlink.recv(1 << 16)
    if struct.unpack_from("=H", answer, 4)[0] == _ERROR:
        return None
    waiting = int(struct.unpack_from("=I", answer, _WRITE_QUEUE)[0])
    return waiting + _bytes_acked(answer)


def _bytes_acked(answer: bytes) -> int:
    at = _ATTRIBUTES
    while at < len(answer):
        length, kind = struct.unpack_from("=HH", answer, at)
        if kind == _INFO:
            return int(struct.unpack_from("=Q", answer, at + 4 + _BYTES_ACKED)[0])
        at += (length + 3) & ~3
    raise AssertionError("the kernel says nothing about TCP")
