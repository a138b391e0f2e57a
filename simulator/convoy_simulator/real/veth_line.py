"""A network namespace at the end of a real line (a veth pair) that can be cut, mended and made bad.

Needs root and iproute2, and for bad lines a kernel with netem. `VethLine` is a context: the namespace and the line go
with it. It parts a board from its broker without ending either.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from types import TracebackType

from convoy_simulator.real.disturbance import Disturbance


def obstacle() -> str:
    """Why no such line can be made here; '' when it can."""
    if os.geteuid() != 0:
        return "a network namespace needs root"
    if shutil.which("ip") is None:
        return "the program ip (package iproute2) is missing"
    made = subprocess.run(["ip", "netns", "add", _name("try")], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"no network namespace can be made: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", _name("try")], check=True)
    return ""


def netem_obstacle() -> str:
    """Why no such line can be made bad here; '' when it can."""
    if why := obstacle():
        return why
    if shutil.which("tc") is None:
        return "the program tc (package iproute2) is missing"
    with VethLine(MOST_LINES - 1) as line:
        tried = line.try_netem()
    return f"tc netem: {tried}" if tried else ""


def _name(part: str) -> str:
    return f"cv{part}{os.getpid()}"


#: Lines of one process: numbers from 0.
MOST_LINES = 16


def addresses(number: int) -> tuple[str, str]:
    """The near and the far end of a process's line `number`, of a /30 of its own."""
    # A process number has at most 22 bits; 14 of them keep processes apart.
    net = f"10.{214 + number}.{os.getpid() >> 6 & 255}."
    host = (os.getpid() & 63) * 4
    return f"{net}{host + 1}", f"{net}{host + 2}"


class VethLine:
    """`near` is this side's address, `prefix` goes before a command that shall run on the far side."""

    def __init__(self, number: int = 0) -> None:
        self.namespace = _name(f"s{number}-")
        self._near, self._far = _name(f"n{number}-"), _name(f"f{number}-")
        self.near, self._far_address = addresses(number)
        self.prefix: tuple[str, ...] = ("ip", "netns", "exec", self.namespace)

    def __enter__(self) -> VethLine:
        _ip("netns", "add", self.namespace)
        try:
            _ip("link", "add", self._near, "type", "veth", "peer", "name", self._far, "netns", self.namespace)
            _ip("addr", "add", f"{self.near}/30", "dev", self._near)
            _ip("link", "set", self._near, "up")
            _ip("-n", self.namespace, "addr", "add", f"{self._far_address}/30", "dev", self._far)
            self.mend_far()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The pair first: a namespace lives on while a process or a socket in it does.
        subprocess.run(["ip", "link", "del", self._near], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", self.namespace], check=False)

    def disturb(self, disturbance: Disturbance) -> None:
        """Make both ends so from now on."""
        for command in self._netem(disturbance):
            subprocess.run(command, check=True)

    def try_netem(self) -> str:
        """What `tc` says against it; '' for nothing."""
        for command in self._netem(Disturbance(0.001, loss=0.001)):
            made = subprocess.run(command, capture_output=True, text=True, check=False)
            if made.returncode:
                return made.stderr.strip()
        return ""

    def _netem(self, disturbance: Disturbance) -> list[list[str]]:
        ends = (["tc"], self._near), (["tc", "-n", self.namespace], self._far)
        return [[*tc, "qdisc", "replace", "dev", device, "root", "netem", *disturbance.netem()] for tc, device in ends]

    def cut_near(self) -> float:
        """Down on the broker's side: the far side sees a dead cable. Returns when."""
        _ip("link", "set", self._near, "down")
        return time.monotonic()

    def mend_near(self) -> float:
        """Up again; returns when."""
        _ip("link", "set", self._near, "up")
        return time.monotonic()

    def cut_far(self) -> float:
        """Down on the far side, which loses its route with it. Returns when."""
        _ip("-n", self.namespace, "link", "set", self._far, "down")
        return time.monotonic()

    def mend_far(self) -> float:
        """Up again; returns when."""
        _ip("-n", self.namespace, "link", "set", self._far, "up")
        return time.monotonic()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
