"""One kernel's registers: what it is, what it shall do, and whether it has done it (`convoy_schema.registers`)."""

from __future__ import annotations

from collections.abc import Mapping

from convoy_schema import registers
from convoy_schema.registers import Command
from convoy_schema.topology import Kind

from convoy_device.errors import FabricError
from convoy_device.fabric.pynq.chip import Chip
from convoy_device.fabric.pynq.waiting import Waiting

#: Seconds that a kernel may take to say what it is: a handful of cycles.
IDENTIFY_S = 0.1


class KernelRegisters:
    """The block at `base`. It must be coupled and clocked: a register that nobody answers hangs the processor."""

    def __init__(self, chip: Chip, base: int, name: str, waiting: Waiting) -> None:
        self._chip = chip
        self._base = base
        self._name = name
        self._waiting = waiting

    def identify(self) -> int:
        """What the kernel answers when asked what it is."""
        self.start({"command": Command.IDENTIFY})
        self.wait(IDENTIFY_S)
        if not self._chip.read(self._base + registers.IDENTITY_VALID) & 1:
            raise FabricError(f"{self._name}: the kernel ended without saying what it is")
        return self._chip.read(self._base + registers.IDENTITY)

    def expect(self, kind: Kind | None) -> None:
        """Raise `FabricError` unless it is a kernel of `kind` (None: a whole network) that speaks this version."""
        found = self.identify()
        expected = registers.CHAIN_IDENTITY if kind is None else registers.identity(kind)
        if found != expected:
            wanted = "a whole network" if kind is None else f"a {kind.value}"
            other = registers.kind_of(found)
            named = f"a {other.value}" if other else "no kernel of this library and version"
            raise FabricError(
                f"{self._name} should hold {wanted} (identity 0x{expected:08X}) and answers 0x{found:08X}, "
                f"{named}: load the image of that kind which was built with this release",
                expected=expected,
                found=found,
            )

    def start(self, arguments: Mapping[str, int]) -> None:
        """Set every argument, 0 where none is given, and start; raises `FabricError` while it is still busy."""
        # Reading clears a DONE that an abandoned run left behind.
        control = self._chip.read(self._base + registers.CONTROL)
        if not control & registers.IDLE:
            raise FabricError(f"{self._name}: the kernel should be idle, its control register is 0x{control:08X}")
        for name in registers.ARGUMENTS:
            self._chip.write(self._base + registers.offset(name), arguments.get(name, 0) & 0xFFFF_FFFF)
        self._chip.write(self._base + registers.CONTROL, registers.START)

    def wait(self, seconds: float) -> None:
        """Wait until it is done; raises `FabricError` when it is not within `seconds`."""
        self._waiting.until(self._is_done, seconds, f"{self._name}: the kernel's run")

    def _is_done(self) -> bool:
        return bool(self._chip.read(self._base + registers.CONTROL) & registers.DONE)
