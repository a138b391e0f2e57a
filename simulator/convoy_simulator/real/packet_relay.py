"""A line to a network namespace that can be made bad while it is in use, where the kernel has no netem.

`python -m convoy_simulator.real.packet_relay NAMESPACE NEAR FAR SOCKET SEED` makes the namespace and two TUN devices,
one on each side, and passes real IP packets between them until it is ended: TCP on both ends meets loss and delay as
on a wire. What the line is like comes as JSON datagrams on the UNIX socket. Needs root, `ip` and /dev/net/tun.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import time

from convoy_simulator.real.disturbance import Direction, Disturbance

_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001
_PACKET_BYTES = 65536


def carry(namespace: str, near: str, far: str, orders: str, seed: int) -> None:
    """Make both ends and pass packets, until a signal ends this process."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    try:
        tag = str(os.getpid())
        ends = _device(f"cn{tag}"), _device(f"cf{tag}")
        _ip("link", "set", f"cf{tag}", "netns", namespace)
        _ip("addr", "add", near, "peer", far, "dev", f"cn{tag}")
        _ip("link", "set", f"cn{tag}", "up")
        _ip("-n", namespace, "addr", "add", far, "peer", near, "dev", f"cf{tag}")
        _ip("-n", namespace, "link", "set", f"cf{tag}", "up")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(orders)
            print("ready", flush=True)
            _pass(*ends, listening, random.Random(seed))
    finally:
        subprocess.run(["ip", "netns", "del", namespace], check=False)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _device(name: str) -> int:
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN_NO_PI))
    return handle


def _pass(near: int, far: int, orders: socket.socket, chance: random.Random) -> None:
    ways = {near: (Direction(chance), far), far: (Direction(chance), near)}
    sources = [near, far, orders.fileno()]
    while True:
        dues = [way.due for way, _ in ways.values() if way.due is not None]
        wait_s = max(0.0, min(dues) - time.monotonic()) if dues else None
        for source in select.select(sources, [], [], wait_s)[0]:
            if source == orders.fileno():
                found = Disturbance(**json.loads(orders.recv(4096)))
                for way, _ in ways.values():
                    way.disturbance = found
                continue
            with contextlib.suppress(BlockingIOError):
                ways[source][0].enter(os.read(source, _PACKET_BYTES), time.monotonic())
        for way, target in ways.values():
            for packet in way.arrived(time.monotonic()):
                with contextlib.suppress(OSError):  # the far end is down, or has no room: a packet that is lost
                    os.write(target, packet)


if __name__ == "__main__":
    carry(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
