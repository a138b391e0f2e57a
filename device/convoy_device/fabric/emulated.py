"""Programmable logic, emulated: images go through a configuration port into a memory that outlives the daemon.

What runs is decided by the frames in that memory and nothing else: they say which shell and which modules are there, in
whole or not at all. Layers are computed by the exact arithmetic of `convoy_schema.layers`, paced by the cycle model if
asked. One thread at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from convoy_schema.bitstream import EMULATED_XC7Z020, Descriptor, Indices, extract
from convoy_schema.bitstream.descriptor import DESCRIPTOR_FRAMES, peek
from convoy_schema.floorplan import Floorplan
from convoy_schema.layers import Prepared
from convoy_schema.limits import KernelLimits
from convoy_schema.messages.boards import Partition, PartitionReport
from convoy_schema.network import PreparedNetwork, chain_cycles
from convoy_schema.topology import Kind
from numpy.typing import NDArray

from convoy_device.errors import FabricError, LayerRefusedError
from convoy_device.fabric import FabricFacts, Runnable
from convoy_device.fabric.memory import COUPLED, DEGRADED, ConfigurationMemory
from convoy_device.fabric.pace import Pace
from convoy_device.fabric.port import Write, accept

#: Bytes a second that a Zynq's processor moves through its configuration port, in practice; paces a load.
CONFIGURATION_BYTES_PER_S = 145_000_000
#: The file in the state folder.
MEMORY_FILE = "fabric.bin"


class EmulatedFabric:
    """An emulated xc7z020 whose state lies in `state_dir`.

    `floorplans` are the shells it knows. `pace` stretches layers and loads to that many times what the cycle model says
    (1.0: as a board at its clock); None: as fast as the host computes. `offered` is how many partitions it says it has,
    as a board of which some are kept for something else; None: all. `power_on` begins with a power cycle. `memory` is
    the part's own where that is not to be a file.
    """

    name = "emulated"

    def __init__(
        self,
        state_dir: Path,
        *,
        floorplans: Mapping[str, Floorplan],
        pace: float | None = None,
        offered: int | None = None,
        power_on: bool = False,
        memory: ConfigurationMemory | None = None,
    ) -> None:
        if not floorplans:
            raise FabricError("an emulated fabric needs the floorplan of one shell or more")
        self._part = EMULATED_XC7Z020
        self._floorplans = dict(floorplans)
        self._offered = offered
        self._pace = None if pace is None else Pace(pace)
        self._memory = memory or ConfigurationMemory(state_dir / MEMORY_FILE, self._part.geometry.memory_frames)
        self._shell: Descriptor | None = None
        self._modules: dict[str, Descriptor] = {}
        self._kernels: dict[Kind, KernelLimits] = {}
        #: Whose parameters the kernel of each kind holds: another layer's take cycles of their own.
        self._held: dict[Kind, Prepared] = {}
        self._dma_runs = False
        try:
            if power_on:
                self._memory.clear()
            self._read_back()
        except BaseException:
            self._memory.close()
            raise

    @property
    def facts(self) -> FabricFacts:
        """See `Fabric`. `partitions` are those of the shell that has some; memory is what a plan may fill."""
        plans = list(self._floorplans.values())
        partitions = tuple(Partition(place.name, plan.kinds) for plan in plans for place in plan.partitions)
        return FabricFacts(
            name=self.name,
            part=self._part.name,
            shells=tuple(sorted(self._floorplans)),
            partitions=partitions[: self._offered],
            clock_hz=min(plan.clock_hz for plan in plans),
            memory_bytes=min(plan.usable_bytes for plan in plans),
        )

    def shell(self) -> str:
        """See `Fabric`: what the static frames said when they were last read back."""
        return "" if self._shell is None else self._shell.shell

    def partitions(self) -> tuple[PartitionReport, ...]:
        """See `Fabric`."""
        if self._shell is None:
            return ()
        reports = []
        for place, plan in enumerate(self._plan.partitions[: self._offered]):
            module = self._modules.get(plan.name)
            flags = self._memory.flags(place)
            kind = module.kernels[0].kind if module else None
            reports.append(PartitionReport(plan.name, kind, bool(flags & COUPLED), bool(flags & DEGRADED)))
        return tuple(reports)

    def load_shell(self, image: bytes) -> None:
        """See `Fabric`. A refused image (`ImageRefusedError`) leaves everything as it was."""
        began = self._begin()
        writes = accept(image, self._part, _all_frames(self._part.geometry.memory_frames))
        self.quiesce()
        self._forget()
        self._memory.clear()
        self._dma_runs = False
        self._write(writes)
        self._read_back()
        if self._shell is None:
            raise FabricError("the image was written, but reads back as no shell that this fabric has a floorplan of")
        self._end(began, len(image) / CONFIGURATION_BYTES_PER_S)

    def configure(self, partition: str, kind: Kind, image: bytes) -> None:
        """See `Fabric`."""
        began = self._begin()
        place, region = self._region(partition)
        self.quiesce()
        # Before anything that can fail, so that whatever happens from here on is seen, also by the next daemon.
        self._memory.set_flags(place, DEGRADED)
        self._modules.pop(partition, None)
        self._held.pop(kind, None)  # a module begins without parameters
        self._collect_kernels()
        self._write(accept(image, self._part, region))
        module = self._read_module(partition, region)
        if module is None or module.kernels[0].kind is not kind:
            found = "nothing that is whole" if module is None else f"a {module.kernels[0].kind.value}"
            raise FabricError(
                f"partition {partition} should hold a {kind.value} now and reads back as {found}: it stays decoupled",
                partition=partition,
                kind=kind.value,
            )
        self._memory.set_flags(place, COUPLED)
        self._modules[partition] = module
        self._collect_kernels()
        self._end(began, len(image) / CONFIGURATION_BYTES_PER_S)

    def runs(self, kind: Kind) -> bool:
        """See `Fabric`."""
        return kind in self._kernels

    def run(self, work: Runnable, inputs: Sequence[NDArray[np.int8]]) -> NDArray[np.int8]:
        """See `Fabric`; a layer that exceeds the kernel's limits is a `LayerRefusedError`."""
        began = self._begin()
        self._admit(work)
        if not self._dma_runs:
            self._memory.dma_running = self._dma_runs = True
        try:
            output = self.compute(work, inputs)
            if self._pace:
                self._end(began, self._cycles(work, len(inputs[0])) / self._plan.clock_hz)
        except BaseException:
            self.quiesce()
            raise
        return output

    def _admit(self, work: Runnable) -> None:
        """Raise unless a kernel that is there takes the layer, or the shell the network."""
        if isinstance(work, PreparedNetwork):
            if self._shell is None or not self._plan.is_network:
                shell = self.shell() or "none"
                raise FabricError(f"network {work.name} cannot run as a whole: shell {shell} is loaded")
            return
        kernel = self._kernels.get(work.kind)
        if kernel is None:
            raise FabricError(self._absence(work.kind), layer=work.name, kind=work.kind.value)
        refusal = kernel.refusal(work.layer, work.inputs, work.output)
        if refusal:
            raise LayerRefusedError(f"layer {work.name} cannot run here: {refusal}", layer=work.name)

    def _cycles(self, work: Runnable, rows: int) -> int:
        """Modelled cycles of a run, and of giving the kernel the layer's parameters unless it holds them."""
        if isinstance(work, PreparedNetwork):
            return chain_cycles(rows)
        cycles = work.run_cycles(rows)
        if self._held.get(work.kind) is not work:
            self._held[work.kind] = work
            cycles += work.load_cycles()
        return cycles

    def compute(self, work: Runnable, inputs: Sequence[NDArray[np.int8]]) -> NDArray[np.int8]:
        """What the kernels that are there make of `inputs`; `csim` has kernels of its own."""
        return work.run(inputs)

    def quiesce(self) -> None:
        """See `Fabric`: channels once started run on between transfers, as the board's do, until they are stopped."""
        if self._memory.dma_running:
            self._memory.dma_running = False
        self._dma_runs = False

    def probe(self) -> None:
        """See `Fabric`."""
        if self._shell is not None:
            self._memory.flags(0)

    def power_cycle(self) -> None:
        """Cut the power and give it back: no shell, no modules, every register as after power-on."""
        self._forget()
        self._memory.clear()
        self._dma_runs = False

    def close(self) -> None:
        """See `Fabric`."""
        self._memory.close()

    # What is there -----------------------------------------------------------------------------------------------

    @property
    def _plan(self) -> Floorplan:
        """The loaded shell's floorplan."""
        if self._shell is None:
            raise FabricError("no shell is loaded: load one before anything else")
        return self._floorplans[self._shell.shell]

    def _region(self, partition: str) -> tuple[int, Indices]:
        """Place of a partition in the loaded shell's floorplan, and its frames."""
        names = [plan.name for plan in self._plan.partitions]
        if partition not in names:
            known = ", ".join(names) or "none"
            raise FabricError(
                f"shell {self.shell()} has no partition {partition!r}; it has {known}", partition=partition
            )
        return names.index(partition), self._plan.regions[partition]

    def _forget(self) -> None:
        self._shell = None
        self._modules.clear()
        self._kernels.clear()
        self._held.clear()

    def _write(self, writes: Sequence[Write]) -> None:
        for write in writes:
            self._memory.write(write.numbers, write.frames)

    def _read_back(self) -> None:
        """Find out from the frames alone which shell and modules are there."""
        self._forget()
        first = peek(self._memory.read(_all_frames(DESCRIPTOR_FRAMES)))
        plan = self._floorplans.get(first.shell) if first else None
        if plan is None:
            return
        shell = extract(self._memory.read(plan.static))
        if shell is None or shell.partition:
            return
        self._shell = shell
        for name, region in plan.regions.items():
            module = self._read_module(name, region)
            if module is not None:
                self._modules[name] = module
        self._collect_kernels()

    def _read_module(self, partition: str, region: Indices) -> Descriptor | None:
        """The whole module in a partition, made for it and for the loaded shell; None for anything else."""
        module = extract(self._memory.read(region))
        if module is None or not module.is_module or (module.shell, module.partition) != (self.shell(), partition):
            return None
        return module

    def _collect_kernels(self) -> None:
        kernels = list(self._shell.kernels) if self._shell else []
        for place, plan in enumerate(self._plan.partitions):
            if plan.name in self._modules and self._memory.flags(place) & COUPLED:
                kernels += self._modules[plan.name].kernels
        self._kernels = {kernel.kind: kernel for kernel in kernels}

    def _absence(self, kind: Kind) -> str:
        if self._shell is None:
            return f"a {kind.value} cannot run: no shell is loaded"
        idle = [name for name, module in self._modules.items() if module.kernels[0].kind is kind]
        if idle:
            return f"a {kind.value} cannot run: partition {idle[0]} holds one but is decoupled; configure it anew"
        if self._plan.is_network:
            return f"a {kind.value} cannot run alone: shell {self.shell()} computes its network as a whole"
        return f"a {kind.value} cannot run: shell {self.shell()} has no such kernel or module now"

    # Time --------------------------------------------------------------------------------------------------------

    def _begin(self) -> float:
        return self._pace.start() if self._pace else 0.0

    def _end(self, began: float, modelled_s: float) -> None:
        if self._pace:
            self._pace.finish(began, modelled_s)


@functools.lru_cache(maxsize=4)
def _all_frames(count: int) -> Indices:
    numbers = np.arange(count, dtype=np.int32)
    numbers.setflags(write=False)
    return numbers
