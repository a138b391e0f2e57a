"""What runs, put together again from what boards and gateways say of it: for a controller that cannot prove continuity.

Pure. Boards are the truth of what runs; each holds its own stage, and the stages of one generation make the whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from convoy_schema.messages.desired import Assignment, Role
from convoy_schema.messages.gateways import GatewayReported
from convoy_schema.names import Generation

from convoy_controller.database.records import GenerationState
from convoy_controller.placement import Placement, StagePlacement

#: (deployment, generation)
Key = tuple[str, Generation]


def adopt(
    held: Mapping[str, tuple[Assignment, ...]], gateways: Mapping[str, GatewayReported | None]
) -> tuple[Placement, ...]:
    """Generations that boards hold whole (`held` by board): what gateways feed serves, what is older drains.

    A generation that lacks a stage, or was still being staged, is not adopted: its deployment
    is planned anew.
    """
    members: dict[Key, dict[str, Assignment]] = defaultdict(dict)
    for board, assignments in sorted(held.items()):
        for assignment in assignments:
            members[assignment.key][board] = assignment
    fed = {
        (feed.deployment, feed.serving)
        for reported in gateways.values()
        for feed in (reported.feeds if reported is not None else ())
        if feed.serving is not None
    }
    found: list[Placement] = []
    for deployment in sorted({key[0] for key in members}):
        whole = {key: placement for key in members if key[0] == deployment and (placement := _whole(members[key]))}
        serving = _serving(whole, members, fed)
        for key, placement in sorted(whole.items()):
            if key == serving:
                found.append(_as(placement, GenerationState.SERVING))
            elif serving is not None and key[1] < serving[1]:
                found.append(_as(placement, GenerationState.DRAINING))
    return tuple(found)


def _serving(
    whole: Mapping[Key, Placement], members: Mapping[Key, Mapping[str, Assignment]], fed: set[Key]
) -> Key | None:
    """The generation that gateways feed; without their word, the newest of which a board says that it serves."""
    if candidates := [key for key in whole if key in fed]:
        return max(candidates)
    serves = [key for key in whole if any(a.role is Role.SERVING for a in members[key].values())]
    return max(serves, default=None)


def _whole(members: Mapping[str, Assignment]) -> Placement | None:
    """The placement that these assignments make, if they agree and none of its stages or boards is missing."""
    first = next(iter(members.values()))
    by_stage: dict[int, list[str]] = defaultdict(list)
    for board, assignment in sorted(members.items()):
        by_stage[assignment.stage].append(board)
    stages: list[StagePlacement] = []
    for index in range(first.stages):
        boards = _in_order(index, by_stage, members)
        if not boards or set(boards) != set(by_stage[index]):
            return None
        told = [members[board] for board in boards]
        agreed = first.intent, first.bundle, told[0].layers, told[0].processor
        if any((a.intent, a.bundle, a.layers, a.processor) != agreed for a in told):
            return None
        stages.append(StagePlacement(told[0].layers, tuple(boards), tuple(a.slots for a in told), told[0].processor))
    return Placement(
        generation=first.generation,
        intent=first.intent,
        bundle=first.bundle,
        stages=tuple(stages),
        batch_rows=first.batch_rows,
        queue_frames=first.queue_frames,
        period_s=0.0,
        state=GenerationState.SERVING,
        reason="adopted from the fleet",
    )


def _in_order(index: int, by_stage: Mapping[int, list[str]], members: Mapping[str, Assignment]) -> list[str]:
    """Boards of a stage as their neighbours name them: routing counts on the order."""
    if before := by_stage.get(index - 1):
        return [hop.board for hop in members[before[0]].next]
    if after := by_stage.get(index + 1):
        return list(members[after[0]].previous)
    return by_stage.get(index, [])


def _as(placement: Placement, state: GenerationState) -> Placement:
    return replace(placement, state=state)


def highest_counter(held: Mapping[str, tuple[Assignment, ...]]) -> int:
    """The highest generation counter that any board knows of; the next one must be above it."""
    return max((a.generation.counter for assignments in held.values() for a in assignments), default=0)
