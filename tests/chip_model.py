"""A Zynq-7020 in registers: what a chip with one of our shells does to whoever drives it, mistakes included.

It is configured by what is written to a folder that stands for sysfs, reads which module is there out of the frames
that came, moves bytes as the AXI DMA and the stream switch do, and hangs (raises `BusHang`) where a processor would.
`driven_chip` drives it directly; the tests of the real `pynq` package map its registers.
"""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Mapping
from pathlib import Path, PosixPath
from typing import IO, Any, cast

import numpy as np
from chip_blocks import BusHang, ChannelModel, Compute, DecouplerModel, DmaModel, KernelModel, Registers, SwitchModel
from convoy_bitstreams import floorplans
from convoy_device.fabric.pynq.loading import SystemPaths
from convoy_schema.addresses import NETWORK
from convoy_schema.bitstream import XC7Z020, Header, extract, read
from convoy_schema.bitstream.header import build_header
from convoy_schema.floorplan import Floorplan
from convoy_schema.topology import Kind

FRAMES = XC7Z020.geometry.memory_frames
#: Where the model's memory begins for DMA, and its bytes.
MEMORY_BASE, MEMORY_BYTES = 0x1000_0000, 1 << 25


class ChipModel:
    """Configuration memory, blocks by base address, DMA's memory, sysfs in a folder, and `faults` by name.

    `compute` is what every kernel does. `unmarked` says what the frames of a real image, which name no module, stand
    for: a shell's name, or a kind.
    """

    def __init__(self, root: Path, plans: Mapping[str, Floorplan] | None = None) -> None:
        self.plans = dict(plans or floorplans())
        self.faults: dict[str, Any] = {}
        self.compute: Compute = lambda kind, arguments, activations, parameters: b""
        self.unmarked: str | Kind | None = None
        self.journal: list[str] = []
        self.root = root
        self.memory = bytearray(MEMORY_BYTES)
        for name in ("firmware", "manager"):
            (root / name).mkdir(parents=True, exist_ok=True)
        self.manager = type("SysfsPath", (_SysfsPath,), {"chip": self})(root / "manager")
        self.boots = 0
        self.power_on()

    @property
    def paths(self) -> SystemPaths:
        """Where the fabric under test finds all this."""
        return SystemPaths(self.root / "firmware", self.manager, self.root / "boot_id", self.root / "lock")

    def power_on(self) -> None:
        """Nothing is configured."""
        self.boots += 1
        (self.root / "boot_id").write_text(f"boot-{self.boots}\n")
        (self.root / "manager" / "flags").write_text("0\n")
        (self.root / "manager" / "firmware").write_text("\n")
        (self.root / "manager" / "state").write_text("unknown\n")
        self.frames = np.zeros((FRAMES, 101), np.uint32)
        self.shell = ""
        self.last_full = ""
        self.blocks: dict[int, Registers] = {}
        self.slots: dict[str, KernelModel] = {}
        self.system = Registers(self)
        # 50 MHz times 20, divided by 10 times 2: the clock is at 50 MHz until someone sets it.
        self.system.words = {0x108: 20 << 12, 0x170: 2 << 20 | 10 << 8, 0x8000: 1, 0x8014: 1}

    def slot(self, name: str) -> KernelModel:
        return self.slots[name]

    def dma(self, which: str = "activation") -> DmaModel:
        table = self.plans[self.shell].addresses
        assert table is not None
        return cast(DmaModel, self.blocks[getattr(table, f"{which}_dma")])

    def is_isolated(self, partition: str) -> bool:
        """Whether both decouplers of a partition are on."""
        slot = self.slots[partition]
        assert slot.registers_decoupler is not None
        assert slot.streams_decoupler is not None
        return slot.registers_decoupler.is_on and slot.streams_decoupler.is_on

    # Registers

    def read(self, address: int) -> int:
        block, offset = self._block(address)
        return block.read(offset)

    def write(self, address: int, value: int) -> None:
        assert type(value) is int
        assert 0 <= value < 1 << 32
        block, offset = self._block(address)
        block.write(offset, value)

    def _block(self, address: int) -> tuple[Registers, int]:
        base, offset = address - address % 0x1_0000, address % 0x1_0000
        if base == 0xF800_0000:
            return self.system, offset
        if base not in self.blocks:
            raise BusHang(f"nothing answers at 0x{address:08X}")
        return self.blocks[base], offset

    # Memory

    def memory_at(self, address: int, size: int) -> bytes:
        at = address - MEMORY_BASE
        assert 0 <= at <= at + size <= MEMORY_BYTES
        return bytes(self.memory[at : at + size])

    def set_memory(self, address: int, content: bytes) -> None:
        at = address - MEMORY_BASE
        assert 0 <= at <= at + len(content) <= MEMORY_BYTES
        self.memory[at : at + len(content)] = content

    # Streams

    def flow(self) -> None:
        """Move words as far as routes, kernels and DMAs let them."""
        if not self.shell or "stream-stuck" in self.faults:
            return
        table = self.plans[self.shell].addresses
        assert table is not None
        activations = cast(SwitchModel, self.blocks[table.activation_switch])
        parameters = cast(SwitchModel, self.blocks[table.parameter_switch])
        self._move(self.dma("activation").send, activations.routes, 1, "activations")
        self._move(self.dma("parameter").send, parameters.routes, 0, "parameters")
        results = self.dma("activation").take
        assert results is not None
        for slot in self.slots.values():
            output = slot.advance(results.armed and activations.routes.get(0) == slot.index + 1)
            if output:
                results.receive(output)

    def _move(self, channel: ChannelModel, routes: Mapping[int, int], first: int, what: str) -> None:
        if channel.left is None:
            return
        results = self.dma("activation").take
        if first == 1 and routes.get(0) == 0 and results is not None and results.armed:
            packet = channel.left
            channel.taken()
            results.receive(packet)
            return
        for slot in self.slots.values():
            if routes.get(slot.index + first) == 0 and slot.streams:
                setattr(slot, what, getattr(slot, what) + channel.left)
                channel.taken()
                return

    # Configuration

    def open_attribute(self, name: str, mode: str) -> IO[str]:
        """A file of sysfs: reading is a file's, writing takes effect when it is closed, and may fail there."""
        file = self.root / "manager" / name
        if "w" not in mode:
            return file.open(mode)
        return _Attribute(lambda text: self._set_attribute(name, text))

    def _set_attribute(self, name: str, text: str) -> None:
        self.journal.append(f"{name} {text}")
        if name in self.faults:
            raise OSError(self.faults[name], "injected")
        (self.root / "manager" / name).write_text(f"{text}\n")
        if name == "firmware":
            self._configure(text)

    def _configure(self, name: str) -> None:
        file = self.root / "firmware" / name
        if not file.exists():
            raise OSError(errno.ENOENT, "firmware request error")
        words = np.frombuffer(file.read_bytes(), "<u4").astype(">u4").tobytes()
        image = read(build_header(Header("any", XC7Z020.text, "-", "-"), len(words)) + words)
        partial = (self.root / "manager" / "flags").read_text().strip() == "1"
        if partial:
            self._expect_isolation(image.bursts)
        state = self.faults.get("state", "operating")
        (self.root / "manager" / "state").write_text(f"{state}\n")
        for burst in image.bursts:
            landing = XC7Z020.geometry.landing(burst.far, len(burst.frames))
            real = (landing >= 0) & (landing < FRAMES)
            self.frames[landing[real]] = burst.frames[real]
        if partial:
            self._new_modules(image.bursts)
        else:
            self._new_shell()

    def _touched(self, bursts: Any) -> set[int]:
        landings = [XC7Z020.geometry.landing(burst.far, len(burst.frames)) for burst in bursts]
        return {int(frame) for landing in landings for frame in landing if 0 <= frame < FRAMES}

    def _expect_isolation(self, bursts: Any) -> None:
        touched = self._touched(bursts)
        for name, region in self.plans[self.shell].regions.items():
            if touched & set(region.tolist()):
                assert self.is_isolated(name), f"{name} was written to while it was coupled"
                for which in ("activation", "parameter"):
                    dma = self.dma(which)
                    assert dma.send.halted, "DMA ran while a partition was written to"
                    assert dma.take is None or dma.take.halted, "DMA ran while a partition was written to"

    def _new_modules(self, bursts: Any) -> None:
        touched = self._touched(bursts)
        for name, region in self.plans[self.shell].regions.items():
            if touched & set(region.tolist()):
                module = extract(self.frames[region])
                slot = self.slots[name]
                slot.clear()
                slot.kind = module.kernels[0].kind if module else cast("Kind | None", self.unmarked)

    def _new_shell(self) -> None:
        found = next((p for p in self.plans.values() if self._says(p) == p.shell), None)
        self.shell = found.shell if found else cast(str, self.unmarked)
        plan = self.plans[self.shell]
        table = plan.addresses
        assert table is not None
        self.blocks = {
            table.activation_dma: DmaModel(self, True),
            table.parameter_dma: DmaModel(self, False),
            table.activation_switch: SwitchModel(self),
            table.parameter_switch: SwitchModel(self),
        }
        self.slots = {}
        for index, slot in enumerate(table.slots):
            kernel = self.slots[slot.name] = KernelModel(self, index)
            self.blocks[slot.registers] = kernel
            if slot.streams_decoupler:
                kernel.registers_decoupler = self.blocks[slot.registers_decoupler] = DecouplerModel(self)
                kernel.streams_decoupler = self.blocks[slot.streams_decoupler] = DecouplerModel(self)
            elif slot.name == NETWORK:
                kernel.is_network = True
            else:
                kernel.kind = Kind(slot.name)

    def _says(self, plan: Floorplan) -> str:
        found = extract(self.frames[plan.static])
        return found.shell if found else ""


class _Attribute(io.StringIO):
    def __init__(self, written: Callable[[str], None]) -> None:
        super().__init__()
        self._written = written

    def close(self) -> None:
        if not self.closed:
            text = self.getvalue()
            super().close()
            self._written(text)


class _SysfsPath(PosixPath):
    """A folder, or a file in it, whose writing the chip notices."""

    chip: ChipModel

    def open(self, mode: str = "r", *_: Any, **__: Any) -> IO[str]:  # type: ignore[override]
        return self.chip.open_attribute(self.name, mode)
