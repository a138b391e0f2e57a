"""The answer: stages on kinds of boards, what decides the speed, and what is proved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from convoy_schema.messages.desired import Objective

from convoy_controller.planning.found import Found
from convoy_controller.planning.instance import Instance, Wish
from convoy_controller.planning.multisets import Cut
from convoy_controller.planning.segments import Segments, memory, on_processor


@dataclass(frozen=True)
class Stage:
    """Layers [first, last) on `replicas` boards of a kind, each taking `seconds` a sample of its own.

    `receive_s` and `send_s` are its link's. `memory_bytes` is what it needs of a board, and `ready_s` how long modules
    and parameters take to get there. `processor` names the layers that run on the processor.
    """

    first: int
    last: int
    kind: str
    replicas: int
    seconds: float
    receive_s: float
    send_s: float
    memory_bytes: int
    ready_s: float
    processor: tuple[str, ...] = ()


@dataclass(frozen=True)
class Solution:
    """A plan of the whole network. `period_s` is between two samples, `latency_s` of one; seconds a sample.

    No plan is better than `bound_s` in the objective; `exact` says that one reaches it.
    """

    objective: Objective
    stages: tuple[Stage, ...]
    period_s: float
    latency_s: float
    bound_s: float
    exact: bool
    method: str
    bottleneck: str
    batch_rows: int

    @property
    def value_s(self) -> float:
        """What was to be made least."""
        return self.latency_s if self.objective is Objective.LATENCY else self.period_s

    @property
    def gap(self) -> float:
        """How much worse than the bound, as a share of it; 0 when nothing is better."""
        if self.value_s <= self.bound_s:
            return 0.0
        return self.value_s / self.bound_s - 1.0 if self.bound_s > 0 else math.inf

    @property
    def boards(self) -> int:
        """Boards used."""
        return sum(stage.replicas for stage in self.stages)

    @property
    def ready_s(self) -> float:
        """How long modules and parameters take to get to the slowest board."""
        return max(stage.ready_s for stage in self.stages)


def solution(instance: Instance, wish: Wish, costs: Sequence[Segments], found: Found) -> Solution:
    """What `found` means."""
    stages = tuple(_stage(instance, costs, cut) for cut in found.cuts)
    period, bottleneck = _slowest(stages)
    return Solution(
        objective=wish.objective,
        stages=stages,
        period_s=period,
        latency_s=sum(stage.seconds + stage.send_s for stage in stages),
        bound_s=found.bound,
        exact=found.exact,
        method=found.method,
        bottleneck=bottleneck,
        batch_rows=instance.batch_rows,
    )


def _stage(instance: Instance, costs: Sequence[Segments], cut: Cut) -> Stage:
    first, last, index, replicas = cut
    kind, cost = instance.kinds[index], costs[index]
    processor = on_processor(instance, kind, first, last)
    needed = {instance.layers[at].module for at in range(first, last) if at not in processor} - kind.resident
    modules = 0 if kind.partitions is None else min(max(kind.partitions, 1), len(needed))
    parameters = sum(layer.parameter_bytes for layer in instance.layers[first:last])
    return Stage(
        first=first,
        last=last,
        kind=kind.name,
        replicas=replicas,
        seconds=float(cost.compute[first, last]),
        receive_s=float(cost.receive[first]),
        send_s=float(cost.send[last]),
        memory_bytes=int(memory(instance)[first, last]),
        ready_s=kind.shell_s + modules * kind.swap_s + parameters / kind.load_bytes_per_s,
        processor=tuple(instance.layers[at].name for at in processor),
    )


def _slowest(stages: Sequence[Stage]) -> tuple[float, str]:
    """The period and what decides it: of equals, computing rather than a link, and the first."""
    shares: list[tuple[float, str]] = []
    for number, stage in enumerate(stages):
        shares.append((stage.seconds / stage.replicas, f"stage {number}"))
    for number, stage in enumerate(stages):
        shares.append((stage.send_s / stage.replicas, f"link after stage {number}"))
        shares.append((stage.receive_s / stage.replicas, f"link before stage {number}"))
    period = max(share for share, _ in shares)
    return next((share, name) for share, name in shares if share >= period)
