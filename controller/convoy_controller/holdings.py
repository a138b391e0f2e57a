"""What boards hold for other deployments, and what that leaves of them: memory, partitions and time.

Pure. A deployment is planned with what the others hold taken into account, whether they serve already or are still
being staged; its own generations do not count, since a new one takes their place.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from convoy_schema.bundle import Method
from convoy_schema.messages.boards import Capability
from convoy_schema.messages.desired import Slot
from convoy_schema.topology import Kind, Topology

from convoy_controller import planner
from convoy_controller.placement import Placement, StagePlacement


@dataclass(frozen=True)
class Tenant:
    """What a board holds of one generation: modules, memory in bytes, and the share of its time at most, 0 to 1."""

    deployment: str
    slots: tuple[Slot, ...]
    memory_bytes: int
    load: float


@dataclass(frozen=True)
class Holding:
    """Everything that one board holds for others."""

    tenants: tuple[Tenant, ...] = ()

    @property
    def memory_bytes(self) -> int:
        """Parameters, buffers and queues together."""
        return sum(tenant.memory_bytes for tenant in self.tenants)

    @property
    def taken(self) -> dict[str, Kind]:
        """Modules by partition."""
        return {slot.partition: slot.kind for tenant in self.tenants for slot in tenant.slots}

    @property
    def share(self) -> float:
        """Of the board's time, what is left for one more: what the others leave idle, a fair part at least."""
        loads: dict[str, float] = {}
        for tenant in self.tenants:  # of two generations of one deployment, one is fed
            loads[tenant.deployment] = max(loads.get(tenant.deployment, 0.0), tenant.load)
        return max(1.0 - sum(loads.values()), 1.0 / (1 + len(loads)))

    def sentence(self, memory_bytes: int) -> str:
        """What is held of so many bytes, and for whom; '' when nothing is."""
        if not self.tenants:
            return ""
        names = ", ".join(sorted({tenant.deployment for tenant in self.tenants}))
        modules = len(self.taken)
        partitions = f" and {modules} partition{'s' if modules > 1 else ''}" if modules else ""
        return f"{self.memory_bytes} of {memory_bytes} bytes{partitions} held for {names}"


def holdings(
    others: Sequence[Placement], capabilities: Mapping[str, Capability], topologies: Mapping[str, Topology]
) -> dict[str, Holding]:
    """By board, what it holds of `others`; `topologies` are by bundle. Of an unknown one only the modules are known."""
    found: dict[str, list[Tenant]] = {}
    for placement in others:
        for stage in placement.stages:
            for board, slots in zip(stage.boards, stage.slots, strict=True):
                capability = capabilities.get(board)
                if capability is not None:
                    size, load = _needs(placement, stage, capability, topologies.get(placement.bundle))
                    found.setdefault(board, []).append(Tenant(placement.intent.deployment, slots, size, load))
    return {board: Holding(tuple(tenants)) for board, tenants in found.items()}


def _needs(
    placement: Placement, stage: StagePlacement, capability: Capability, topology: Topology | None
) -> tuple[int, float]:
    """Memory in bytes and share of time of a stage on one of its boards."""
    if topology is None or not stage.layers:
        return 0, 1.0
    names = tuple(layer.name for layer in topology.layers)
    first = names.index(stage.layers[0]) if stage.layers[0] in names else 0
    last = first + len(stage.layers)
    if names[first:last] != stage.layers:
        return 0, 1.0  # adopted from a board that says so, and no stage of that network
    model = planner.model_of(capability, placement.intent.method)
    own = frozenset(names.index(name) for name in stage.processor)
    size, seconds = planner.stage_needs(topology, first, last, model, placement.batch_rows, placement.queue_frames, own)
    period = placement.period_s * len(stage.boards)
    return size, min(1.0, seconds / period) if period > 0 else 1.0


def left(capability: Capability, method: Method, holding: Holding, kinds: Collection[Kind]) -> planner.BoardModel:
    """The board as the planner sees it, beside what it holds: for a network of layers of `kinds`."""
    model = planner.model_of(capability, method)
    if not holding.tenants:
        return model
    taken = holding.taken
    free = [p for p in capability.partitions if p.name not in taken and (not p.kinds or set(p.kinds) & set(kinds))]
    return replace(
        model,
        memory_bytes=max(0, model.memory_bytes - holding.memory_bytes),
        partitions=None if model.partitions is None else len(free),
        resident=frozenset(taken.values()) & frozenset(kinds) if model.partitions is not None else frozenset(),
        share=holding.share,
        held=holding.sentence(model.memory_bytes),
    )
