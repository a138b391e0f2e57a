"""The fabric protocol on a PYNQ-Z2: loads as transactions under one lock, and runs. Not yet run on a board.

What it decides is when a partition may be coupled; images, registers, DMA and files are each a module of their own.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from convoy_schema.addresses import NETWORK
from convoy_schema.bitstream import XC7Z020
from convoy_schema.floorplan import Floorplan
from convoy_schema.layers import Prepared
from convoy_schema.messages.boards import Partition, PartitionReport
from convoy_schema.names import digest_of
from convoy_schema.network import PreparedNetwork
from convoy_schema.registers import kind_of
from convoy_schema.topology import Kind
from numpy.typing import NDArray

from convoy_device.admission import Admission
from convoy_device.errors import FabricError, LayerRefusedError
from convoy_device.fabric import FabricFacts, Runnable
from convoy_device.fabric.pynq.chip import Chip
from convoy_device.fabric.pynq.claim import Claim
from convoy_device.fabric.pynq.design import Design, Slot
from convoy_device.fabric.pynq.images import shell_of
from convoy_device.fabric.pynq.loading import OPERATING, ImageLoader, SystemPaths
from convoy_device.fabric.pynq.phases import Phases
from convoy_device.fabric.pynq.record import Record, RecordKeeper
from convoy_device.fabric.pynq.running import Runner
from convoy_device.fabric.pynq.waiting import Waiting

log = logging.getLogger(__name__)

#: Bytes that are allocated once, to see whether it can be done.
MEMORY_PROBE_BYTES = 8192


class PynqFabric:
    """The programmable logic of this board. One fabric a board, whatever folder or process it has.

    `floorplans` are the shells it knows; those without addresses, or for another part, are left out. `phases` says how
    long the parts of the last load or run took.
    """

    def __init__(
        self,
        chip: Chip,
        state_dir: Path,
        *,
        floorplans: Mapping[str, Floorplan],
        paths: SystemPaths | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        known = {name: plan for name, plan in floorplans.items() if plan.addresses and plan.part == XC7Z020}
        if not known:
            raise FabricError(f"fabric pynq needs the floorplan of a shell for {XC7Z020.name}, with addresses")
        self._chip = chip
        self._floorplans = known
        self._waiting = waiting or Waiting()
        paths = paths or SystemPaths()
        self._loader = ImageLoader(paths)
        self._keeper = RecordKeeper(state_dir, paths.boot_id)
        # The workbench has compared CRCs, and the chip will: here the structure, since nobody below looks at it.
        self._admission = Admission(XC7Z020.name, known, with_crc=False)
        self._lock = threading.Lock()
        self.phases = Phases()
        self._runner = Runner(chip, self._waiting, self.phases)
        self._design: Design | None = None
        #: What each slot holds that may be run now.
        self._kinds: dict[str, Kind] = {}
        self._claim = Claim(paths.lock)
        try:
            state_dir.mkdir(parents=True, exist_ok=True)
            self._loader.clean()
            self._attach()
        except BaseException:
            self._claim.release()
            raise

    # What is there ---------------------------------------------------------------------------------------------------

    @property
    def facts(self) -> FabricFacts:
        """See `Fabric`."""
        plans = list(self._floorplans.values())
        return FabricFacts(
            name="pynq",
            part=XC7Z020.name,
            shells=tuple(sorted(self._floorplans)),
            partitions=tuple(Partition(place.name, plan.kinds) for plan in plans for place in plan.partitions),
            clock_hz=min(plan.clock_hz for plan in plans),
            memory_bytes=min(plan.usable_bytes for plan in plans),
        )

    @property
    def versions(self) -> Mapping[str, str]:
        """What a report about this board should name."""
        return self._chip.versions

    def shell(self) -> str:
        """See `Fabric`."""
        return self._record.shell if self._record else ""

    def partitions(self) -> tuple[PartitionReport, ...]:
        """See `Fabric`."""
        if self._record is None:
            return ()
        return tuple(
            PartitionReport(
                place.name, self._kinds.get(place.name), place.name in self._kinds, place.name in self._record.degraded
            )
            for place in self._plan.partitions
        )

    def runs(self, kind: Kind) -> bool:
        """See `Fabric`."""
        return kind in self._kinds.values()

    # Loads -----------------------------------------------------------------------------------------------------------

    def load_shell(self, image: bytes) -> None:
        """See `Fabric`. An image that is refused leaves everything as it was."""
        with self._lock:
            self._load_shell(image)

    def _load_shell(self, image: bytes) -> None:
        self.phases.clear()
        with self.phases.phase("verify"):
            plan = self._plan_of(shell_of(image))
            self._admission.check_shell(digest_of(image), image)
        with self.phases.phase("quiesce"):
            # If they stand still cannot matter any more: they are about to be replaced, and must be if they are stuck.
            with contextlib.suppress(FabricError):
                self._quiesce()
            self._forget()
        digest = digest_of(image)
        file = self._keeper.keep_shell(image, digest)
        with self.phases.phase("load"), self._loader.staged(image) as firmware:
            self._chip.download(file, firmware)
        with self.phases.phase("state"):
            self._loader.expect_operating()
        with self.phases.phase("clock"):
            self._set_clock(plan)
        design = self._design_of(plan)
        design.open_memory_port()
        with self.phases.phase("decouple"):
            for place in plan.partitions:
                design.slots[place.name].decouple()
        with self.phases.phase("identity"):
            kinds = {} if plan.partitions else _identified(design, plan)
        self._keeper.loaded(plan.shell, digest)
        self._design, self._kinds = design, kinds

    def configure(self, partition: str, kind: Kind, image: bytes) -> None:
        """See `Fabric`: one transaction, after which the partition is coupled and holds `kind`, or is cut off."""
        with self._lock:
            self.phases.clear()
            design = self._require()
            plan = self._plan
            if partition not in plan.regions:
                known = ", ".join(plan.regions) or "none"
                raise FabricError(
                    f"shell {plan.shell} has no partition {partition!r}; it has {known}", partition=partition
                )
            slot = design.slots[partition]
            self._kinds.pop(partition, None)
            try:
                self._replace(design, slot, kind, image)
            except BaseException as error:
                self._cut_off(slot, error)
                raise
            self._kinds[partition] = kind
            self._keeper.degraded(partition, False)

    def _replace(self, design: Design, slot: Slot, kind: Kind, image: bytes) -> None:
        phase = self.phases.phase
        with phase("verify"):
            self._admission.check_module(slot.name, digest_of(image), image)
        with phase("quiesce"):
            design.quiesce()
            # Turning a switch also clears what an abandoned run left in it.
            design.disconnect()
            self._runner.forget(slot)
        with phase("decouple"):
            slot.decouple()
        with phase("load"), self._loader.staged(image) as firmware:
            self._loader.load_partial(firmware)
        with phase("state"):
            self._loader.expect_operating()
        with phase("identity"):
            if slot.registers_decoupler is not None:
                slot.registers_decoupler.couple()
            slot.kernel.expect(kind)
        with phase("recouple"):
            if slot.streams_decoupler is not None:
                slot.streams_decoupler.couple()

    def _cut_off(self, slot: Slot, reason: BaseException) -> None:
        """Whatever it holds: nothing reaches it until a load has gone well."""
        self._kinds.pop(slot.name, None)
        try:
            slot.decouple()
        except FabricError as error:
            log.error("%s: after %s it could not be decoupled: %s", slot.name, reason, error)
        try:
            self._keeper.degraded(slot.name, True)
        except FabricError as error:
            log.error("%s: that it is degraded could not be noted: %s", slot.name, error)

    # Runs ------------------------------------------------------------------------------------------------------------

    def run(self, work: Runnable, inputs: Sequence[NDArray[np.int8]]) -> NDArray[np.int8]:
        """See `Fabric`; a layer that exceeds the kernel's limits is a `LayerRefusedError`.

        After a failure a module's partition is cut off and degraded; a shell of fixed kernels is loaded anew first.
        """
        with self._lock:
            self.phases.clear()
            design = self._require()
            slot = self._slot_of(design, work)
            try:
                return self._runner.run(design, slot, work, inputs, self._plan.clock_hz)
            except FabricError as error:
                self._give_up(design, slot, error)
                raise

    def _slot_for(self, design: Design, layer: Prepared) -> Slot:
        names = [name for name, kind in self._kinds.items() if kind is layer.kind]
        if not names:
            raise FabricError(self._absence(layer.kind), layer=layer.layer.name, kind=layer.kind.value)
        limits = next(kernel for kernel in self._plan.kernels if kernel.kind is layer.kind)
        refusal = limits.refusal(layer.layer, layer.inputs, layer.output)
        if refusal:
            raise LayerRefusedError(f"layer {layer.layer.name} cannot run here: {refusal}", layer=layer.layer.name)
        return design.slots[names[0]]

    def _slot_of(self, design: Design, work: Runnable) -> Slot:
        if not isinstance(work, PreparedNetwork):
            return self._slot_for(design, work)
        if NETWORK not in design.slots:
            raise FabricError(f"network {work.name} cannot run as a whole: shell {self.shell()} is loaded")
        return design.slots[NETWORK]

    def _absence(self, kind: Kind) -> str:
        if NETWORK in self._require().slots:
            return f"a {kind.value} cannot run alone: shell {self.shell()} computes its network as a whole"
        return f"a {kind.value} cannot run: shell {self.shell()} has no such kernel or coupled module now"

    def _give_up(self, design: Design, slot: Slot, error: FabricError) -> None:
        """A run failed: DMA is stopped, and its kernel may wait for words that never come."""
        self._runner.forget(slot)
        try:
            design.activations.reset()
            design.parameters.reset()
        except FabricError as stuck:
            log.error("after %s: %s", error, stuck)
        if slot.streams_decoupler is not None:
            self._cut_off(slot, error)
        else:
            log.error("shell %s is loaded anew before the next layer runs: %s", self.shell(), error)
            self._design = None

    def loop_back(self, content: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Send bytes through the activation DMA and straight back, past every kernel: the self-test measures it."""
        with self._lock:
            self.phases.clear()
            return self._runner.loop_back(self._require(), content)

    def quiesce(self) -> None:
        """See `Fabric`."""
        with self._lock:
            self._quiesce()

    def _quiesce(self) -> None:
        if self._design is not None:
            self._design.quiesce()

    def probe(self) -> None:
        """See `Fabric`: every kernel that may be run says what it is. What is cut off is left alone."""
        with self._lock:
            if self._design is None:
                return
            if NETWORK in self._design.slots:
                self._design.slots[NETWORK].kernel.expect(None)
            for name, kind in self._kinds.items():
                self._design.slots[name].kernel.expect(kind)

    def close(self) -> None:
        """See `Fabric`."""
        with self._lock:
            with contextlib.suppress(FabricError):
                self._quiesce()
            self._runner.close()
            self._claim.release()

    @property
    def _record(self) -> Record | None:
        return self._keeper.record

    # State -----------------------------------------------------------------------------------------------------------

    def _attach(self) -> None:
        """Take over what an earlier daemon loaded, if nobody has configured the chip since."""
        record = self._keeper.recall()
        if record is None:
            return
        if record.shell not in self._floorplans:
            self._keeper.forget()
            return
        if self._loader.state() != OPERATING or not self._chip.holds(self._keeper.shell_file(record.image)):
            log.info("shell %s was loaded here, and something else has been since: it is loaded anew", record.shell)
            self._keeper.forget()
            return
        self._design = design = self._design_of(self._plan)
        try:
            design.quiesce()
            # Whether a process that configured nothing itself is given memory, the package leaves open.
            self._chip.allocate(MEMORY_PROBE_BYTES).free()
            if not self._plan.partitions:
                self._kinds = _identified(design, self._plan)
        except FabricError as error:
            log.warning("shell %s does not answer as it should and is loaded anew: %s", record.shell, error)
            self._forget()
            return
        for place in self._plan.partitions:
            self._attach_partition(design.slots[place.name])

    def _attach_partition(self, slot: Slot) -> None:
        try:
            kind = kind_of(slot.kernel.identify()) if slot.is_coupled else None
        except FabricError as error:
            self._cut_off(slot, error)
            return
        if kind is not None:
            self._kinds[slot.name] = kind
        else:
            slot.decouple()

    def _require(self) -> Design:
        """The loaded shell's drivers; loads it anew where a run has left it unusable."""
        if self._record is None:
            raise FabricError("no shell is loaded: load one before anything else")
        if self._design is None:
            file = self._keeper.shell_file(self._record.image)
            try:
                image = file.read_bytes()
            except OSError as error:
                self._forget()
                raise FabricError(f"the shell must be loaded anew, and {file} cannot be read: {error}") from error
            self._load_shell(image)
        assert self._design is not None
        return self._design

    @property
    def _plan(self) -> Floorplan:
        if self._record is None:
            raise FabricError("no shell is loaded: load one before anything else")
        return self._floorplans[self._record.shell]

    def _plan_of(self, shell: str) -> Floorplan:
        if shell not in self._floorplans:
            known = ", ".join(sorted(self._floorplans))
            raise FabricError(f"the image is of shell {shell!r}; this board knows {known}", shell=shell)
        return self._floorplans[shell]

    def _design_of(self, plan: Floorplan) -> Design:
        assert plan.addresses is not None
        return Design(self._chip, plan.addresses, self._waiting)

    def _set_clock(self, plan: Floorplan) -> None:
        really_hz = self._chip.set_clock(plan.clock_hz)
        if not 0 < really_hz <= plan.clock_hz * 1.001:
            raise FabricError(
                f"shell {plan.shell} is made for {plan.clock_hz / 1e6:g} MHz, its clock runs at {really_hz / 1e6:g}"
            )

    def _forget(self) -> None:
        self._runner.close()
        self._design, self._kinds = None, {}
        self._keeper.forget()


def _identified(design: Design, plan: Floorplan) -> dict[str, Kind]:
    """Kernels of the static design, each after it has said that it is what the floorplan calls it."""
    if NETWORK in design.slots:
        design.slots[NETWORK].kernel.expect(None)
        return {}
    kinds = {kind.value: kind for kind in plan.kinds}
    for name, kind in kinds.items():
        design.slots[name].kernel.expect(kind)
    return kinds
