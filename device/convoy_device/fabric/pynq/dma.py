"""The AXI DMA in direct register mode: one transfer at a time, with deadlines, and recovery by soft reset.

The package's own driver needs a hardware handoff and waits for ever; the registers are few (Xilinx PG021).
"""

from __future__ import annotations

from convoy_device.errors import FabricError
from convoy_device.fabric.pynq.chip import Chip
from convoy_device.fabric.pynq.waiting import Waiting

#: Registers of a channel, relative to its base: the sending one at 0, the receiving one at `RECEIVE`.
CONTROL, STATUS, ADDRESS, ADDRESS_HIGH, LENGTH = 0x00, 0x04, 0x18, 0x1C, 0x28
RECEIVE = 0x30
RUN, RESET = 1 << 0, 1 << 2
HALTED, IDLE = 1 << 0, 1 << 1
ERRORS = {
    1 << 4: "internal error (length 0, or more came than there was room for)",
    1 << 5: "slave error (memory refused the access)",
    1 << 6: "decode error (no such address)",
}
#: Bytes of one transfer: the length register of our shells has 26 bits.
MOST_BYTES = (1 << 26) - 1

#: Seconds until a channel starts, stops or is reset, none of which takes a microsecond.
_TURN_S = 0.1


class Channel:
    """One direction of a DMA engine."""

    def __init__(self, chip: Chip, base: int, name: str, waiting: Waiting) -> None:
        self._chip = chip
        self._base = base
        self._waiting = waiting
        self.name = name

    @property
    def status(self) -> int:
        """The status register."""
        return self._chip.read(self._base + STATUS)

    def begin(self, address: int, size: int) -> None:
        """Start a transfer of `size` bytes at `address`; the channel is started if it stood still."""
        if not 1 <= size <= MOST_BYTES:
            raise FabricError(f"{self.name}: a transfer takes 1 to {MOST_BYTES} bytes, {size} came", size=size)
        if self.status & HALTED:
            self._chip.write(self._base + CONTROL, RUN)
            self._waiting.until(lambda: not self.status & HALTED, _TURN_S, f"{self.name}: the start of the channel")
        self._chip.write(self._base + ADDRESS, address & 0xFFFF_FFFF)
        self._chip.write(self._base + ADDRESS_HIGH, address >> 32)
        self._chip.write(self._base + LENGTH, size)

    def wait(self, seconds: float) -> int:
        """Wait for the end of the transfer; returns the bytes moved. Raises `FabricError` on an error, or too late."""
        self._waiting.until(self._has_ended, seconds, f"{self.name}: a transfer")
        return self._chip.read(self._base + LENGTH)

    def _has_ended(self) -> bool:
        status = self.status
        wrong = [text for bit, text in ERRORS.items() if status & bit]
        if wrong:
            raise FabricError(f"{self.name}: {', '.join(wrong)}; status 0x{status:08X}", status=status)
        if status & HALTED:
            raise FabricError(f"{self.name}: the channel stopped by itself; status 0x{status:08X}", status=status)
        return bool(status & IDLE)

    def stop(self) -> bool:
        """Let the transfer under way end and stop; whether that was so in time."""
        self._chip.write(self._base + CONTROL, 0)
        return self._waiting.within(lambda: bool(self.status & HALTED), _TURN_S)


class Dma:
    """A DMA engine; `receive` is there in both kinds, but one that only sends must not be asked to receive."""

    def __init__(self, chip: Chip, base: int, name: str, waiting: Waiting, *, receives: bool) -> None:
        self._chip = chip
        self._base = base
        self._name = name
        self._waiting = waiting
        self.send = Channel(chip, base, f"{name} DMA, sending", waiting)
        self.receive = Channel(chip, base + RECEIVE, f"{name} DMA, receiving", waiting)
        self._channels = (self.send, self.receive) if receives else (self.send,)

    def quiesce(self) -> None:
        """Stop every channel, by a reset where nothing else helps; raises `FabricError` when that fails too."""
        stopped = [channel.stop() for channel in self._channels]
        # A channel that stopped on an error begins nothing any more until it was reset.
        if not all(stopped) or any(channel.status & sum(ERRORS) for channel in self._channels):
            self.reset()

    def reset(self) -> None:
        """Soft reset of the whole engine; the bit clears itself when what was under way on the bus is over."""
        self._chip.write(self._base + CONTROL, RESET)
        self._waiting.until(
            lambda: not self._chip.read(self._base + CONTROL) & RESET, _TURN_S, f"{self._name} DMA: its reset"
        )
