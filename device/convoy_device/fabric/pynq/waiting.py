"""Waiting for hardware, never for ever: polls until something holds or a deadline passes."""

from __future__ import annotations

import time
from collections.abc import Callable

from convoy_device.errors import FabricError

#: Seconds of polling without a pause: most waits end within, and a sleep would cost more than they take.
_BUSY_S = 0.0005
_PAUSE_S = 0.0001


class Waiting:
    """A clock in monotonic seconds and a way to sleep."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.clock = clock
        self._sleep = sleep

    def until(self, holds: Callable[[], bool], seconds: float, what: str) -> None:
        """Return once `holds()`; raises `FabricError` that names `what` when it does not within `seconds`."""
        if not self.within(holds, seconds):
            raise FabricError(f"{what} should take less than {seconds:g} s and did not happen", waited_s=seconds)

    def within(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Whether `holds()` within `seconds`."""
        began = self.clock()
        while not holds():
            passed = self.clock() - began
            if passed >= seconds:
                return holds()  # once more: this thread may have been asleep meanwhile
            if passed >= _BUSY_S:
                self._sleep(_PAUSE_S)
        return True
