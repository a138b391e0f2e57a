"""A generation: one plan of one deployment on named boards, and what each of them and the gateways are told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from convoy_schema.messages.boards import Partition
from convoy_schema.messages.desired import Assignment, Hop, Intent, Role, Slot
from convoy_schema.messages.gateways import ModelRef, Route
from convoy_schema.names import Generation
from convoy_schema.topology import Kind

from convoy_controller.database.records import GenerationState, SavedGeneration
from convoy_controller.errors import ControllerError

_ROLES = {
    GenerationState.QUEUED: Role.STAGED,
    GenerationState.STAGED: Role.STAGED,
    GenerationState.PROBING: Role.STAGED,
    GenerationState.SERVING: Role.SERVING,
    GenerationState.DRAINING: Role.DRAINING,
    GenerationState.RETIRED: Role.DRAINING,
    GenerationState.ABANDONED: Role.DRAINING,
}


@dataclass(frozen=True)
class StagePlacement:
    """Layers that run on each of `boards`; `slots` names the modules for each board, in the same order.

    `processor` are those of the layers that run on the boards' processors.
    """

    layers: tuple[str, ...]
    boards: tuple[str, ...]
    slots: tuple[tuple[Slot, ...], ...]
    processor: tuple[str, ...] = ()


@dataclass(frozen=True)
class Placement:
    """One generation. `queue_frames` bounds what a stage holds, and so the windows of all gateways together.

    `bound_s` is what the planner proved: no plan over those boards was better in the intent's objective. 0: not known.
    """

    generation: Generation
    intent: Intent
    bundle: str
    stages: tuple[StagePlacement, ...]
    batch_rows: int
    queue_frames: int
    period_s: float
    state: GenerationState
    reason: str = ""
    bound_s: float = 0.0

    @property
    def key(self) -> tuple[str, Generation]:
        """What names it on boards."""
        return self.intent.deployment, self.generation

    @property
    def model(self) -> ModelRef:
        """What it runs."""
        return ModelRef(self.intent.model, self.intent.version, self.bundle)

    @cached_property
    def boards(self) -> tuple[str, ...]:
        """Every board that takes part, in the order of the stages."""
        return tuple(board for stage in self.stages for board in stage.boards)

    def assignments(self) -> Mapping[str, Assignment]:
        """What each board is told; of a generation that has ended, what it was told last."""
        return self._assignments

    @cached_property
    def _assignments(self) -> dict[str, Assignment]:
        return {
            board: self._assignment(index, stage, slots)
            for index, stage in enumerate(self.stages)
            for board, slots in zip(stage.boards, stage.slots, strict=True)
        }

    def _assignment(self, index: int, stage: StagePlacement, slots: tuple[Slot, ...]) -> Assignment:
        following = self.stages[index + 1].boards if index + 1 < len(self.stages) else ()
        return Assignment(
            intent=self.intent,
            generation=self.generation,
            role=_ROLES[self.state],
            bundle=self.bundle,
            stage=index,
            stages=len(self.stages),
            layers=stage.layers,
            slots=slots,
            next=tuple(Hop(board) for board in following),
            previous=self.stages[index - 1].boards if index else (),
            queue_frames=self.queue_frames,
            batch_rows=self.batch_rows,
            processor=stage.processor,
        )

    def route(self, gateways: int) -> Route:
        """How one of `gateways` gateways feeds it: they share the queue, so that it can never overflow."""
        return Route(
            generation=self.generation,
            model=self.model,
            entry=tuple(Hop(board) for board in self.stages[0].boards),
            stages=len(self.stages),
            window=max(1, self.queue_frames // max(1, gateways)),
            batch_rows=self.batch_rows,
        )


def place_modules(kinds: Sequence[Kind], partitions: Sequence[Partition], taken: dict[str, Kind]) -> tuple[Slot, ...]:
    """Partitions for the modules of a stage: one that holds the kind already, else a free one that can hold it.

    Kinds for which there is none are left out: their modules are swapped in at run time. `taken` is what other
    generations on the board hold, by partition. A stage for which nothing is left shares their partitions over time.
    """
    return _own_or_free(kinds, partitions, taken) or _own_or_free(kinds, partitions, {})


def _own_or_free(kinds: Sequence[Kind], partitions: Sequence[Partition], taken: dict[str, Kind]) -> tuple[Slot, ...]:
    slots: list[Slot] = []
    held = dict(taken)
    for kind in dict.fromkeys(kinds):
        shared = next((name for name, other in held.items() if other is kind), None)
        free = next((p.name for p in partitions if p.name not in held and (not p.kinds or kind in p.kinds)), None)
        partition = shared or free
        if partition is not None:
            held[partition] = kind
            slots.append(Slot(partition, kind))
    return tuple(slots)


def saved(placement: Placement) -> SavedGeneration:
    """As the database keeps it."""
    plan: dict[str, object] = {
        "period_s": placement.period_s,
        "bound_s": placement.bound_s,
        "objective": placement.intent.objective.value,
        "batch_rows": placement.batch_rows,
        "stages": [{"layers": list(stage.layers), "boards": list(stage.boards)} for stage in placement.stages],
    }
    deployment, generation = placement.key
    assignments = dict(placement.assignments())
    return SavedGeneration(deployment, generation, placement.state, assignments, {}, placement.reason, plan)


def restored(generation: SavedGeneration) -> Placement:
    """What `saved` kept, rebuilt from the assignments alone; raises `ControllerError` when there are none."""
    found = sorted(generation.assignments.items(), key=lambda item: (item[1].stage, item[0]))
    if not found:
        raise ControllerError(
            f"generation {generation.generation} of {generation.deployment} was saved without a stage"
        )
    first = found[0][1]
    stages = []
    for index in range(first.stages):
        members = [(board, assignment) for board, assignment in found if assignment.stage == index]
        if not members:
            raise ControllerError(f"generation {generation.generation} of {generation.deployment} lacks stage {index}")
        stages.append(
            StagePlacement(
                members[0][1].layers,
                tuple(board for board, _ in members),
                tuple(assignment.slots for _, assignment in members),
                members[0][1].processor,
            )
        )
    return Placement(
        generation=generation.generation,
        intent=first.intent,
        bundle=first.bundle,
        stages=tuple(stages),
        batch_rows=first.batch_rows,
        queue_frames=first.queue_frames,
        period_s=float(generation.plan.get("period_s", 0.0)),
        state=generation.state,
        reason=generation.reason,
        bound_s=float(generation.plan.get("bound_s", 0.0)),
    )
