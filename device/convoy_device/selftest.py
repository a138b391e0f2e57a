"""Runs everything a fabric promises once, and reports what came of it with the milliseconds of each phase.

`convoy-device selftest` calls it, on a board or on an emulated one: shells, every module in every partition, a layer of
each kind compared with the exact arithmetic, an image that must be refused, DMA there and back. A step that fails is
written down and the next one begins. It owns the fabric while it runs; no daemon may.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
from convoy_bitstreams import Catalogue
from convoy_schema.errors import BitstreamError, ConvoyError
from convoy_schema.names import digest_of
from convoy_schema.topology import Kind
from numpy.typing import NDArray

from convoy_device.admission import Admission
from convoy_device.errors import ImageRefusedError, SelfTestError
from convoy_device.fabric import Fabric
from convoy_device.fabric.pynq.phases import Phases
from convoy_device.sample_layers import sample

log = logging.getLogger(__name__)

#: Bytes that DMA moves there and back.
LOOPS = (4 << 10, 64 << 10, 1 << 20, 8 << 20)


@runtime_checkable
class Measured(Protocol):
    """A fabric that says how long the phases of its last load or run took, and what it runs on."""

    @property
    def phases(self) -> Phases:
        """Of the last load or run."""
        ...

    @property
    def versions(self) -> Mapping[str, str]:
        """What a report should name."""
        ...


@runtime_checkable
class _LoopsBack(Protocol):
    """A fabric whose DMA can be led past every kernel."""

    def loop_back(self, content: NDArray[np.uint8]) -> NDArray[np.uint8]: ...


@dataclass(frozen=True)
class Step:
    """One thing that was tried: `outcome` is passed, failed or skipped, `detail` says why or what was found."""

    name: str
    outcome: str
    detail: str
    milliseconds: Mapping[str, float] = field(default_factory=dict)


class SelfTest:
    """The steps on one fabric with the images of a catalogue; `tell` hears of each as it ends."""

    def __init__(
        self,
        fabric: Fabric,
        images: Catalogue,
        tell: Callable[[Step], None] = lambda step: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._fabric = fabric
        self._images = images
        self._admission = Admission(fabric.facts.part, images.floorplans)
        self._tell = tell
        self._clock = clock
        self._steps: list[Step] = []

    def run(self) -> tuple[Step, ...]:
        """Every step, in order; raises nothing that a fabric raises."""
        self._steps.clear()
        facts = self._fabric.facts
        self._try("quiesce", self._quiesce)
        for shell in facts.shells:
            self._shell(shell)
        if not facts.shells:
            self._kernels(list(Kind))
        return tuple(self._steps)

    # Steps -----------------------------------------------------------------------------------------------------------

    def _quiesce(self) -> str:
        self._fabric.quiesce()
        return f"shell {self._fabric.shell() or 'none'} was loaded before"

    def _shell(self, shell: str) -> None:
        name = f"shell {shell}"
        try:
            image = self._images.read(self._images.shell(shell, self._fabric.facts.part).digest)
        except BitstreamError as error:
            self._note(Step(name, "skipped", f"{error}: make bitstreams builds it, --images names its folder"))
            return
        if not self._try(name, lambda: self._load_shell(shell, image)):
            return
        if isinstance(self._fabric, _LoopsBack):
            for size in LOOPS:
                self._try(f"DMA, {size >> 10} KiB there and back", partial(self._loop_back, size))
        if self._fabric.partitions():
            self._partitions(shell)
        else:
            self._kernels([kind for kind in Kind if self._fabric.runs(kind)])

    def _load_shell(self, shell: str, image: bytes) -> str:
        self._admission.check_shell(digest_of(image), image)
        self._fabric.load_shell(image)
        if self._fabric.shell() != shell:
            raise SelfTestError(f"shell {shell} was loaded, {self._fabric.shell()!r} is there")
        return f"{len(image)} bytes"

    def _partitions(self, shell: str) -> None:
        part = self._fabric.facts.part
        modules = [image for image in self._images.modules if (image.shell, image.part) == (shell, part)]
        offered = [report.partition for report in self._fabric.partitions()]
        if not modules:
            self._note(Step(f"modules of {shell}", "skipped", f"there is no module image for part {part}"))
        for module in modules:
            if module.partition not in offered:
                continue
            content = self._images.read(module.digest)
            name = f"{module.kind.value} into {module.partition}"
            if self._try(name, partial(self._configure, module.partition, module.kind, content)):
                self._kernels([module.kind], f" in {module.partition}")
            others = [other for other in offered if other != module.partition]
            if module.kind is modules[0].kind and others:
                self._try(f"{name}'s image is refused in {others[0]}", partial(self._refuse, others[0], content))

    def _configure(self, partition: str, kind: Kind, image: bytes) -> str:
        self._admission.check_module(partition, digest_of(image), image)
        self._fabric.configure(partition, kind, image)
        report = next(report for report in self._fabric.partitions() if report.partition == partition)
        if (report.module, report.coupled, report.degraded) != (kind, True, False):
            raise SelfTestError(f"{partition} should hold a coupled {kind.value}, it reports {report}")
        return f"{len(image)} bytes"

    def _refuse(self, partition: str, image: bytes) -> str:
        try:
            self._admission.check_module(partition, digest_of(image), image)
        except ImageRefusedError as error:
            return str(error)
        raise SelfTestError(f"the image of another partition was admitted into {partition}")

    def _kernels(self, kinds: Sequence[Kind], where: str = "") -> None:
        for kind in kinds:
            for turn, seed in (("first", 1), ("again", 1), ("with new parameters", 2)):
                self._try(f"layer {kind.value}{where}, {turn}", partial(self._run, kind, seed))

    def _run(self, kind: Kind, seed: int) -> str:
        one = sample(kind, seed)
        expected = one.layer.run(one.inputs)
        found = self._fabric.run(one.layer, one.inputs)
        wrong = int(np.count_nonzero(found != expected))
        if wrong:
            raise SelfTestError(f"{wrong} of {expected.size} elements differ from the exact arithmetic")
        modelled = 1000 * one.layer.run_cycles(len(expected)) / self._fabric.facts.clock_hz
        return f"{expected.size} elements equal, {modelled:.3f} ms by the cycle model"

    def _loop_back(self, size: int) -> str:
        assert isinstance(self._fabric, _LoopsBack)
        content = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
        if not np.array_equal(self._fabric.loop_back(content), content):
            raise SelfTestError("other bytes came back than were sent")
        spent = self._phases().get("loop back", 0.0)
        return f"{size / 1000 / spent:.1f} MB/s each way" if spent else "equal"

    # Notes -----------------------------------------------------------------------------------------------------------

    def _phases(self) -> dict[str, float]:
        return dict(self._fabric.phases.milliseconds) if isinstance(self._fabric, Measured) else {}

    def _try(self, name: str, work: Callable[[], str]) -> bool:
        began = self._clock()
        if isinstance(self._fabric, Measured):
            self._fabric.phases.clear()
        try:
            outcome, detail = "passed", work()
        except ConvoyError as error:
            outcome, detail = "failed", f"{error.code}: {error}"
        except Exception as error:
            log.exception("%s", name)
            outcome, detail = "failed", f"{type(error).__name__}: {error}"
        whole = 1000 * (self._clock() - began)
        self._note(Step(name, outcome, detail, {**self._phases(), "whole": whole}))
        return outcome == "passed"

    def _note(self, step: Step) -> None:
        self._steps.append(step)
        self._tell(step)
