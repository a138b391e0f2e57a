"""A machine with one process on it, and the service manager that starts it again: boards, controllers, gateways."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable, Coroutine
from typing import Any

from convoy_schema.surroundings import Surroundings

from convoy_simulator.life import EndedError, Life
from convoy_simulator.network import Line, Network
from convoy_simulator.virtual_link import Place, VirtualLink

URL = "mqtt://broker:1883"

Fault = Callable[[str], None]

#: Of so many steps one leaves something behind, about.
LASTING_SHARE = 4


class Host:
    """`fault` is told of what must never happen. `seed` is that of all chance here; subclasses say what runs."""

    #: Seconds from an end to the next start, and what the process is said to hold (bytes).
    restart_s = 2.0
    rss_bytes = 90 * 1024 * 1024

    def __init__(self, name: str, site: str, network: Network, line: Line, fault: Fault, seed: int) -> None:
        self.name = name
        self.site = site
        self.line = line
        self.network = network
        self.fault = fault
        self.chance = random.Random(seed)
        self.life = Life(lambda: None)
        self.life.is_over = True
        self.links: list[VirtualLink] = []
        #: When a process here ended last.
        self.ended_at = float("-inf")
        #: Whether it is not to be started any more.
        self.is_retired = False
        self._task: asyncio.Task[Any] | None = None

    @property
    def is_up(self) -> bool:
        """Whether the process runs."""
        return not self.life.is_over

    # What subclasses say ---------------------------------------------------------------------------------------------

    def process(self, surroundings: Surroundings) -> Coroutine[Any, Any, Any]:
        """What runs, from its start to its end."""
        raise NotImplementedError

    def may_start(self) -> bool:
        """Whether the machine could start it now."""
        return True

    def cleared(self) -> None:
        """The process is gone; what the system held for it is free."""

    def judge(self, outcome: object) -> bool:
        """Look at what `process` returned or raised; whether it is started again."""
        if isinstance(outcome, BaseException) and not isinstance(outcome, EndedError):
            self.fault(f"{self.name}: the process ended with {outcome!r}")
        return True

    def clock(self) -> Callable[[], float] | None:
        """Another clock than the loop's."""
        return None

    # Life ------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, unless it runs or cannot."""
        if self.is_up or self.is_retired or not self.may_start():
            return
        self.life = life = Life(self._ended)
        chance = random.Random(self.chance.getrandbits(64))
        place = Place(life, self.line, self.network, chance, self.name)
        self.links = []
        link = functools.partial(self._new_link, place)
        surroundings = Surroundings(link, chance, lambda: self.rss_bytes, self.clock())
        try:
            running = self.process(surroundings)
        except EndedError:
            return
        self._task = asyncio.get_running_loop().create_task(running, name=self.name)
        self._task.add_done_callback(functools.partial(self._exited, life))

    def _new_link(self, place: Place, *arguments: Any, **how: Any) -> VirtualLink:
        link = VirtualLink(*arguments, place=place, **how)
        self.links.append(link)
        return link

    def _exited(self, life: Life, task: asyncio.Task[Any]) -> None:
        if task.cancelled() or life.is_over:
            return
        life.is_over = True
        self.ended_at = asyncio.get_running_loop().time()
        self.cleared()
        if self.judge(task.exception() or task.result()):
            self._start_later()

    def _ended(self) -> None:
        """In the middle of something: cleared away once whoever was doing it has let go."""
        asyncio.get_running_loop().call_soon(self._clear_away, self.life)

    def _clear_away(self, life: Life) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()
        self.cleared()
        self.ended_at = asyncio.get_running_loop().time()
        if life is self.life:
            self._start_later()

    def _start_later(self) -> None:
        asyncio.get_running_loop().call_later(self.restart_s, self.start)

    # Faults ----------------------------------------------------------------------------------------------------------

    def kill(self, within_steps: int = 0, within_s: float = 0.0) -> None:
        """As `kill -9`: at once, or before one of its next `within_steps` steps, if that comes within `within_s`.

        Every other number of steps counts only those that leave something behind, which are few.
        """
        if not within_steps:
            self.life.end()
        elif self.is_up:
            lasting = within_steps % 2 == 1
            steps = within_steps // LASTING_SHARE + 1 if lasting else within_steps
            self.life.end_before(1 + self.chance.randrange(steps), lasting=lasting)
            asyncio.get_running_loop().call_later(within_s, self.spare, self.life)

    def spare(self, life: Life) -> None:
        """It came to no such step."""
        life.spare()
