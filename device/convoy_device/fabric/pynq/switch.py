"""The AXI4-Stream switch with routing by registers (Xilinx PG085): which input each output takes."""

from __future__ import annotations

from collections.abc import Mapping

from convoy_device.fabric.pynq.chip import Chip
from convoy_device.fabric.pynq.waiting import Waiting

CONTROL, OUTPUTS = 0x00, 0x40
#: In CONTROL: take over what the output registers say; clears itself.
UPDATE = 1 << 1
#: In an output's register: it takes nothing.
DISABLED = 1 << 31

_UPDATE_S = 0.1


class StreamSwitch:
    """A switch with `outputs` outputs. It may be turned only while nothing flows."""

    def __init__(self, chip: Chip, base: int, outputs: int, waiting: Waiting) -> None:
        self._chip = chip
        self._base = base
        self._outputs = outputs
        self._waiting = waiting
        self._routes: Mapping[int, int] | None = None

    def connect(self, routes: Mapping[int, int]) -> None:
        """Inputs by output, and every other output closed; does nothing where it is so already."""
        if routes == self._routes:
            return
        self._routes = None
        for output in range(self._outputs):
            self._chip.write(self._base + OUTPUTS + 4 * output, routes.get(output, DISABLED))
        self._chip.write(self._base + CONTROL, UPDATE)
        self._waiting.until(
            lambda: not self._chip.read(self._base + CONTROL) & UPDATE, _UPDATE_S, "the turn of a stream switch"
        )
        self._routes = dict(routes)
