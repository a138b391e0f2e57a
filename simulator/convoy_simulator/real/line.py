"""A board's own line to the broker, of the kind that can be had: veth with netem, or a relay."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from convoy_controller.processes import Processes

from convoy_simulator.real import veth_line
from convoy_simulator.real.disturbance import Disturbance
from convoy_simulator.real.veth_line import VethLine, addresses

_READY_S = 10.0


class Line(Protocol):
    """`near` is this side's address; `prefix` goes before a command that shall run on the far side."""

    near: str
    prefix: tuple[str, ...]

    def disturb(self, disturbance: Disturbance) -> None:
        """Make it so from now on, both ways."""


class RelayedLine:
    """A line whose packets a `packet_relay` passes; made and ended by that process."""

    def __init__(self, number: int, directory: Path, seed: int, processes: Processes) -> None:
        self.near, far = addresses(number)
        namespace = f"cvr{number}-{os.getpid()}"
        self.prefix: tuple[str, ...] = ("ip", "netns", "exec", namespace)
        self._orders = directory / f"line-{number}"
        self._orders.unlink(missing_ok=True)
        name = f"line-{number}"
        command = [sys.executable, "-m", "convoy_simulator.real.packet_relay", namespace, self.near, far]
        processes.start(name, [*command, self._orders, str(seed)], directory / "logs" / f"{name}.log")
        processes.wait_ready(name, self._orders.exists, _READY_S)

    def disturb(self, disturbance: Disturbance) -> None:
        """Tell the relay."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.sendto(json.dumps(asdict(disturbance)).encode(), str(self._orders))


@dataclass(frozen=True)
class Choice:
    """What lines can be had here: `obstacle` says why none, '' if some."""

    obstacle: str
    has_netem: bool = False

    def __str__(self) -> str:
        if self.obstacle:
            return f"none: {self.obstacle}"
        return "veth and tc netem" if self.has_netem else "TUN and a relay of packets, as the kernel has no netem"


def choose() -> Choice:
    """Try what this machine can."""
    if why := veth_line.obstacle():
        return Choice(why)
    if why := veth_line.netem_obstacle():
        return Choice("" if Path("/dev/net/tun").exists() else f"{why}, and there is no /dev/net/tun")
    return Choice("", has_netem=True)


@contextlib.contextmanager
def lines(count: int, choice: Choice, directory: Path, seed: int, processes: Processes) -> Iterator[list[Line]]:
    """`count` lines for the length of the block; none where none can be had."""
    with contextlib.ExitStack() as stack:
        made: list[Line] = []
        for number in range(0 if choice.obstacle else count):
            if choice.has_netem:
                made.append(stack.enter_context(VethLine(number)))
            else:
                made.append(RelayedLine(number, directory, seed + number, processes))
        yield made
