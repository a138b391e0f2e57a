"""The daemons of one process as a service of systemd: ready, status, watchdog and stop are told from what is true.

Where systemd did not start the process there is nobody to tell, and nothing is done but writing down the condition if
there is a place for it. The decisions are `progress` and `condition`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from convoy_device import condition
from convoy_device.condition import Condition
from convoy_device.daemon import Daemon
from convoy_device.notify import READY, STOPPING, WATCHDOG, Notifier, extend_start, status
from convoy_device.progress import ASK_S, Progress

log = logging.getLogger(__name__)

#: Seconds between two looks, and at most: a watchdog with a shorter interval is looked after more often.
LOOK_S = 0.5
#: Seconds that a start which gets on is given each time it is looked at.
START_S = 60.0


class Service:
    """Looks after `daemons`; construct and `start` it inside the running loop."""

    def __init__(self, daemons: Sequence[Daemon], environment: Mapping[str, str] = os.environ) -> None:
        #: The caller's own: one that restarts is exchanged in it.
        self._daemons = daemons
        self._notifier = Notifier(environment)
        # systemd separates several by colons; the units name one.
        directory = environment.get("RUNTIME_DIRECTORY", "").partition(":")[0]
        self._directory = Path(directory) if directory else None
        now = time.monotonic()
        self._progress = {daemon: Progress(now) for daemon in daemons}
        self._asked_at = now
        self._is_ready = False
        self._said: tuple[Condition, ...] = ()
        self._stuck = ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look, until the loop ends."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="service")

    async def _run(self) -> None:
        rest_s = min(LOOK_S, (self._notifier.watchdog_s or LOOK_S) / 4)
        try:
            while True:
                self.look(time.monotonic())
                await asyncio.sleep(rest_s)
        except Exception:
            log.exception("nobody looks after the daemon any more: the watchdog will end it")
        finally:
            self.close()

    def look(self, now: float) -> None:
        """One look at every daemon, and what follows from it."""
        if now - self._asked_at >= ASK_S:
            self._asked_at = now
            for daemon in self._daemons:
                daemon.ask_fabric()
        conditions = []
        self._progress = {daemon: self._progress.get(daemon) or Progress(now) for daemon in self._daemons}
        for daemon, progress in self._progress.items():
            conditions.append(daemon.condition(progress.stuck(daemon.sight(), now)))
        self._tell(tuple(conditions))

    def _tell(self, conditions: tuple[Condition, ...]) -> None:
        stuck = "; ".join(each.stuck for each in conditions if each.stuck)
        if stuck and stuck[:20] != self._stuck[:20]:
            log.error("the watchdog is not fed: %s", stuck)
        self._stuck = stuck
        lines = []
        if not self._is_ready and all(each.is_ready for each in conditions):
            self._is_ready = True
            lines.append(READY)
        if not stuck:
            # Before it is ready systemd's watchdog sleeps, and the limit of the start stands in for it.
            lines.append(WATCHDOG if self._is_ready else extend_start(START_S))
        if conditions != self._said:
            self._said = conditions
            lines.append(status(_sentence(conditions)))
            self._write_down(conditions)
        if lines:
            self._notifier.send(*lines)

    def _write_down(self, conditions: tuple[Condition, ...]) -> None:
        if self._directory is None:
            return
        try:
            condition.write(self._directory, conditions)
        except OSError as error:
            log.warning("%s: the condition could not be written down: %s", self._directory, error)

    def close(self) -> None:
        """Tell nobody anything any more."""
        self._notifier.close()

    def stopping(self, reason: str) -> None:
        """Say that the end has begun."""
        self._notifier.send(STOPPING, status(f"stopping: {reason}"))


def _sentence(conditions: tuple[Condition, ...]) -> str:
    if len(conditions) == 1:
        return conditions[0].sentence()
    connected = sum(each.is_connected for each in conditions)
    stuck = next((f"; {each.board} is {each.sentence()}" for each in conditions if each.stuck), "")
    return f"{connected} of {len(conditions)} boards connected{stuck}"
