"""A slow line to a network namespace: real IP packets, each delayed, and no more bytes a second than it carries.

`python -m convoy_controller.bench.slow_line NAMESPACE DELAY_S BYTES_PER_S` makes the namespace and two TUN devices, one
on each side, and passes packets between them until it is ended; TCP on both ends meets what a long line does to it,
slow start included, without a kernel that has netem. Needs root, `ip` and /dev/net/tun. Used by the delivery bench.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

#: Addresses of the two ends, and the port-less prefix that they share.
NEAR, FAR = "10.203.77.1", "10.203.77.2"
#: Packets that wait in one direction; more are dropped, as a router does.
MOST_WAITING = 1000
_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001
_PACKET_BYTES = 65536


def obstacle() -> str:
    """Why no such line can be made here; '' when it can."""
    if os.geteuid() != 0:
        return "a network namespace needs root"
    if shutil.which("ip") is None:
        return "the program ip (package iproute2) is missing"
    return "" if Path("/dev/net/tun").exists() else "there is no /dev/net/tun"


class Direction:
    """Packets one way: when each arrives. Deterministic."""

    def __init__(self, delay_s: float, bytes_per_s: float) -> None:
        self._delay_s = delay_s
        self._bytes_per_s = bytes_per_s
        self._free_at = 0.0
        self._waiting: deque[tuple[float, bytes]] = deque()

    def enter(self, packet: bytes, now: float) -> None:
        """A packet begins its way, behind those before it."""
        if len(self._waiting) < MOST_WAITING:
            self._free_at = max(self._free_at, now) + len(packet) / self._bytes_per_s
            self._waiting.append((self._free_at + self._delay_s, packet))

    def arrived(self, now: float) -> list[bytes]:
        """Packets at the other end by now."""
        found = []
        while self._waiting and self._waiting[0][0] <= now:
            found.append(self._waiting.popleft()[1])
        return found

    @property
    def due(self) -> float | None:
        """When the next one arrives."""
        return self._waiting[0][0] if self._waiting else None


def carry(namespace: str, delay_s: float, bytes_per_s: float) -> None:
    """Make both ends and pass packets, until a signal ends this process."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    try:
        tag = str(os.getpid())
        near, far = _device(f"cn{tag}"), _device(f"cf{tag}")
        _ip("link", "set", f"cf{tag}", "netns", namespace)
        _ip("addr", "add", NEAR, "peer", FAR, "dev", f"cn{tag}")
        _ip("link", "set", f"cn{tag}", "up")
        _ip("-n", namespace, "addr", "add", FAR, "peer", NEAR, "dev", f"cf{tag}")
        _ip("-n", namespace, "link", "set", f"cf{tag}", "up")
        print("ready", flush=True)
        _pass(near, far, delay_s, bytes_per_s)
    finally:
        subprocess.run(["ip", "netns", "del", namespace], check=False)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _device(name: str) -> int:
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN_NO_PI))
    return handle


def _pass(near: int, far: int, delay_s: float, bytes_per_s: float) -> None:
    ways = {near: (Direction(delay_s, bytes_per_s), far), far: (Direction(delay_s, bytes_per_s), near)}
    while True:
        dues = [way.due for way, _ in ways.values() if way.due is not None]
        wait_s = max(0.0, min(dues) - time.monotonic()) if dues else None
        readable, _, _ = select.select(list(ways), [], [], wait_s)
        for source in readable:
            try:
                ways[source][0].enter(os.read(source, _PACKET_BYTES), time.monotonic())
            except BlockingIOError:
                continue
        for way, target in ways.values():
            for packet in way.arrived(time.monotonic()):
                os.write(target, packet)


if __name__ == "__main__":
    carry(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]))
