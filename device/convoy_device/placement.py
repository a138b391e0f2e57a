"""Which modules go into which partitions when an assignment is brought up. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from convoy_schema.messages.boards import PartitionReport

from convoy_device.effects import ModuleLoad
from convoy_device.verification import StagePlan


def held(plans: Iterable[StagePlan], reports: Collection[PartitionReport]) -> frozenset[str]:
    """Partitions that hold what a live stage has its slot for."""
    slots = {(slot.partition, slot.kind) for plan in plans for slot in plan.assignment.slots}
    return frozenset(report.partition for report in reports if (report.partition, report.module) in slots)


def module_loads(
    plan: StagePlan, reports: Collection[PartitionReport], taken: Collection[str]
) -> tuple[ModuleLoad, ...]:
    """Loads that give the stage its slots, but for those that others hold.

    A partition in `taken` is left alone: the stage then shares it over time, and the executor swaps modules as frames
    come. That is slower and just as right, and it is the controller's to avoid.
    """
    there = {(report.partition, report.module) for report in reports if report.coupled and not report.degraded}
    return tuple(
        ModuleLoad(slot.partition, slot.kind, plan.images[slot.partition, slot.kind])
        for slot in plan.assignment.slots
        if (slot.partition, slot.kind) in plan.images
        and (slot.partition, slot.kind) not in there
        and slot.partition not in taken
    )
