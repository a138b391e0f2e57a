"""The blocks of a shell as registers with behaviour: DMA, stream switch, decoupler, kernel. `chip_model` joins them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from convoy_schema import registers
from convoy_schema.registers import Command
from convoy_schema.topology import Kind

if TYPE_CHECKING:
    from chip_model import ChipModel


class BusHang(AssertionError):  # noqa: N818 - what it is called
    """A register was touched that nobody answers: on a board the processor would stand still for good."""


class Registers:
    """A block that keeps what is written."""

    def __init__(self, chip: ChipModel) -> None:
        self.chip = chip
        self.words: dict[int, int] = {}

    def read(self, offset: int) -> int:
        return self.words.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        self.words[offset] = value


class DecouplerModel(Registers):
    """Bit 0 decouples; `stuck` keeps what it is."""

    stuck = False

    def write(self, offset: int, value: int) -> None:
        if not self.stuck:
            super().write(offset, value & 1)

    @property
    def is_on(self) -> bool:
        return bool(self.words.get(0, 0))


class SwitchModel(Registers):
    """Routes take effect at the update bit, which clears itself."""

    def __init__(self, chip: ChipModel) -> None:
        super().__init__(chip)
        self.routes: dict[int, int] = {}

    def write(self, offset: int, value: int) -> None:
        super().write(offset, value)
        if offset == 0 and value & 2:
            self.routes = {(o - 0x40) // 4: v for o, v in self.words.items() if o >= 0x40 and not v >> 31}
            self.words[0] = 0
            self.chip.flow()


class ChannelModel:
    """One direction of an AXI DMA in direct register mode."""

    def __init__(self, dma: DmaModel, receives: bool) -> None:
        self.dma = dma
        self.receives = receives
        self.reset()

    def reset(self) -> None:
        self.control = 0x0001_0002
        self.status = 0x1
        self.address = self.length = 0
        self.left: bytes | None = None  # sending: what has not been taken
        self.armed = False

    @property
    def halted(self) -> bool:
        return bool(self.status & 1)

    def read(self, offset: int) -> int:
        return {0x00: self.control, 0x04: self.status, 0x18: self.address, 0x28: self.length}.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        if offset == 0x00:
            self._set_control(value)
        elif offset == 0x04:
            self.status &= ~(value & 0x7000)
        elif offset == 0x18:
            self.address = value
        elif offset == 0x28 and not self.halted:
            self._begin(value)

    def _set_control(self, value: int) -> None:
        if value & 4:
            self.dma.soft_reset()
            return
        self.control = value | 2
        if value & 1 and not self.status & 0x70:
            self.status &= ~1
        elif not value & 1 and self.left is None and not self.armed and "dma-stuck" not in self.dma.chip.faults:
            self.status |= 1

    def _begin(self, length: int) -> None:
        assert self.left is None, "a length was written while a transfer was under way"
        assert not self.armed, "a length was written while a transfer was under way"
        assert length < 1 << 26
        self.length = length
        self.status &= ~2
        error = self.dma.chip.faults.get("dma-error", 0) if self.receives == self.dma.fails_receiving else 0
        if length == 0 or error:
            self.fail(error or 0x10)
        elif self.receives:
            self.armed = True
        else:
            self.left = self.dma.chip.memory_at(self.address, length)
        self.dma.chip.flow()

    def fail(self, bits: int) -> None:
        self.status |= bits | 0x4001
        self.control &= ~1
        self.left, self.armed = None, False

    def taken(self) -> None:
        """Sending: everything has gone."""
        self.left = None
        self._finish()

    def receive(self, packet: bytes) -> None:
        if len(packet) > self.length:
            self.fail(0x10)
            return
        self.dma.chip.set_memory(self.address, packet)
        self.length = len(packet)
        self.armed = False
        self._finish()

    def _finish(self) -> None:
        self.status |= 0x1002
        if not self.control & 1:
            self.status |= 1


class DmaModel(Registers):
    """An AXI DMA; `fails_receiving` says which channel the fault `dma-error` strikes."""

    fails_receiving = True

    def __init__(self, chip: ChipModel, receives: bool) -> None:
        super().__init__(chip)
        self.send = ChannelModel(self, False)
        self.take = ChannelModel(self, True) if receives else None

    def _channel(self, offset: int) -> tuple[ChannelModel, int]:
        if offset < 0x30:
            return self.send, offset
        assert self.take is not None, "this DMA has no receiving channel"
        return self.take, offset - 0x30

    def read(self, offset: int) -> int:
        if "reset-stuck" in self.chip.faults and self.words.get(-1):
            return 4
        channel, at = self._channel(offset)
        return channel.read(at)

    def write(self, offset: int, value: int) -> None:
        channel, at = self._channel(offset)
        channel.write(at, value)

    def soft_reset(self) -> None:
        if "reset-stuck" in self.chip.faults:
            self.words[-1] = 1
            return
        self.words.clear()
        for channel in (self.send, self.take):
            if channel is not None:
                channel.reset()


#: What a kernel of a kind makes of (arguments, activations, parameters), once all words that it was told of are there.
Compute = Callable[[Kind, Mapping[str, int], bytes, bytes], bytes]


class KernelModel(Registers):
    """A kernel behind `ap_ctrl_hs`, in a slot that may be blank (`kind` None) or cut off."""

    def __init__(self, chip: ChipModel, index: int) -> None:
        super().__init__(chip)
        self.index = index
        self.kind: Kind | None = None
        self.is_network = False
        self.registers_decoupler: DecouplerModel | None = None
        self.streams_decoupler: DecouplerModel | None = None
        self.clear()

    def clear(self) -> None:
        """As a reset after reconfiguration leaves it."""
        self.words = {}
        self.is_busy = self.is_done = self.is_valid = False
        self.runs = 0
        self.activations = self.parameters = b""

    @property
    def streams(self) -> bool:
        """Whether words reach it."""
        return self.kind is not None and not (self.streams_decoupler and self.streams_decoupler.is_on)

    def _answer(self) -> None:
        if self.registers_decoupler is not None and self.registers_decoupler.is_on:
            raise BusHang("a module's register was touched while its registers were decoupled")
        if self.kind is None and not self.is_network:
            raise BusHang("a register was touched in a partition that holds nothing")

    def read(self, offset: int) -> int:
        self._answer()
        if offset == registers.CONTROL:
            found = registers.IDLE * (not self.is_busy) | registers.DONE * self.is_done
            self.is_done = False
            return found
        if offset == registers.IDENTITY_VALID:
            found, self.is_valid = int(self.is_valid), False
            return found
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        self._answer()
        if offset != registers.CONTROL:
            super().write(offset, value)
        elif value & registers.START and not self.is_busy:
            self.is_busy = True
            self.chip.flow()

    def advance(self, taken: bool) -> bytes | None:
        """Go on if everything is there and results are `taken`; the output of a run that ended."""
        if not self.is_busy or "kernel-hangs" in self.chip.faults:
            return None
        if self.words[registers.offset("command")] == Command.RUN and not taken:
            return None
        answer = registers.CHAIN_IDENTITY if self.kind is None else registers.identity(self.kind)
        self.words[registers.IDENTITY] = cast(int, self.chip.faults.get("identity", answer))
        self.is_valid = "identity-invalid" not in self.chip.faults
        output = b""
        arguments = {name: _signed(self.words[registers.offset(name)]) for name in registers.ARGUMENTS}
        if arguments["command"] != Command.IDENTIFY:
            taken = registers.WORD_BYTES * arguments["in_words"], registers.WORD_BYTES * arguments["parameter_words"]
            if (len(self.activations), len(self.parameters)) != taken:
                return None
            assert self.kind is not None
            output = self.chip.compute(self.kind, arguments, self.activations, self.parameters)
            assert len(output) == registers.WORD_BYTES * arguments["out_words"], "another number of words came out"
        self.activations = self.parameters = b""
        self.is_busy, self.is_done = False, True
        self.runs += 1
        return output


def _signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value
