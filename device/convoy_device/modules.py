"""Layers onto kernels: runs each layer where its kind is, and swaps modules when kinds outnumber partitions.

Called by the thread that owns the fabric. A stage says which images it may load where; nothing here fetches any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from convoy_schema.messages.boards import PartitionReport
from convoy_schema.network import PreparedNetwork
from convoy_schema.topology import Kind
from numpy.typing import NDArray

from convoy_device.errors import FabricError
from convoy_device.fabric import Fabric, Runnable

#: Where an image of a kind may go: digests by (partition, kind).
Images = Mapping[tuple[str, Kind], str]


class Modules:
    """The modules of one fabric, shared over time by every stage of the board.

    `read` gives the image of a digest that may go into a partition: (partition, digest).
    """

    def __init__(self, fabric: Fabric, read: Callable[[str, str], bytes]) -> None:
        self._fabric = fabric
        self._read = read
        #: Kinds that live stages use, by stage: another stage's module is the last to go.
        self._in_use: dict[object, frozenset[Kind]] = {}
        #: Swaps begun since the start: when it grows, the fabric is worth another look.
        self.swaps = 0

    def use(self, stage: object, kinds: Sequence[Kind]) -> None:
        """A stage is live."""
        self._in_use[stage] = frozenset(kinds)

    def release(self, stage: object) -> None:
        """A stage is gone."""
        self._in_use.pop(stage, None)

    def run(
        self, work: Runnable, inputs: Sequence[NDArray[np.int8]], images: Images, upcoming: Sequence[Kind]
    ) -> NDArray[np.int8]:
        """One layer over a batch; `upcoming` are the kinds that its stage needs after it, in order, round and round."""
        if images and not isinstance(work, PreparedNetwork) and not self._fabric.runs(work.kind):
            self._swap_in(work.kind, images, upcoming)
        return self._fabric.run(work, inputs)

    def run_in_place(
        self, work: Runnable, inputs: Sequence[NDArray[np.int8]], upcoming: Sequence[Kind]
    ) -> NDArray[np.int8]:
        """A layer over a batch, or a whole network, on a shell whose kernels are fixed."""
        return self._fabric.run(work, inputs)

    def _swap_in(self, kind: Kind, images: Images, upcoming: Sequence[Kind]) -> None:
        places = [partition for partition, placed in images if placed is kind]
        reports = [report for report in self._fabric.partitions() if report.partition in places]
        if not reports:
            raise FabricError(f"no partition may hold module {kind.value}", kind=kind.value)
        elsewhere = frozenset[Kind]().union(*self._in_use.values()) - set(upcoming)

        def cost_of_losing(report: PartitionReport) -> tuple[bool, bool, int]:
            module = report.module
            if module is None:
                return report.degraded, False, -len(upcoming) - 1
            # What is needed furthest in the future goes first: for a known order nothing swaps less.
            next_use = upcoming.index(module) if module in upcoming else len(upcoming)
            return report.degraded, module in elsewhere, -next_use

        victim = min(reports, key=cost_of_losing).partition
        self.swaps += 1
        self._fabric.configure(victim, kind, self._read(victim, images[victim, kind]))
