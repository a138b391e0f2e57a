"""A DFX decoupler with its AXI-Lite register (Xilinx PG375): cuts a partition off, and says whether it is."""

from __future__ import annotations

from convoy_device.errors import FabricError
from convoy_device.fabric.pynq.chip import Chip
from convoy_device.fabric.pynq.waiting import Waiting

_TURN_S = 0.1


class Decoupler:
    """The decoupler at `base`."""

    def __init__(self, chip: Chip, base: int, name: str, waiting: Waiting) -> None:
        self._chip = chip
        self._base = base
        self._name = name
        self._waiting = waiting

    @property
    def is_decoupled(self) -> bool:
        """Whether it cuts off now."""
        return bool(self._chip.read(self._base) & 1)

    def decouple(self) -> None:
        """Cut off; raises `FabricError` if it does not say so afterwards."""
        self._turn(True)

    def couple(self) -> None:
        """Let through; raises `FabricError` if it does not say so afterwards."""
        self._turn(False)

    def _turn(self, decoupled: bool) -> None:
        self._chip.write(self._base, int(decoupled))
        if not self._waiting.within(lambda: self.is_decoupled is decoupled, _TURN_S):
            state = "decoupled" if decoupled else "coupled"
            raise FabricError(f"{self._name} should be {state} now, its register says that it is not: reload the shell")
