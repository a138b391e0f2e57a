"""Turns a plan into a candidate generation on named boards: who can take part, who gets which stage and modules.

Pure: it reads what boards last said of themselves and what they hold already. Called by the reconciler.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from convoy_schema.bundle import Bundle, Method, VerifiedModel
from convoy_schema.messages.boards import Capability
from convoy_schema.messages.desired import Intent, Slot
from convoy_schema.names import Generation
from convoy_schema.topology import Kind, Topology

from convoy_controller import planner
from convoy_controller.database.records import BoardPresence, GenerationState
from convoy_controller.errors import PlanError
from convoy_controller.holdings import Holding, holdings, left
from convoy_controller.placement import Placement, StagePlacement, place_modules
from convoy_controller.planning.naming import name_boards
from convoy_controller.registry import Registry

#: A fabric that computes on the CPU and takes any method without configuring anything.
PROCESSOR = "processor"


def usable(registry: Registry, intent: Intent, present: Sequence[str], excluded: Iterable[str]) -> list[str]:
    """Names of boards that could take part, those in `present` first and in that order, then by name."""
    known = _named(registry, intent)
    first = [name for name in dict.fromkeys(present) if name in known]
    left_out = set(excluded)
    return [
        name
        for name in (*first, *sorted(known - set(first)))
        if name not in left_out
        and registry.boards[name].presence is BoardPresence.ONLINE
        and _suits(registry, name, intent)
    ]


def _named(registry: Registry, intent: Intent) -> Set[str]:
    """Boards that are known, and that the owner left to choose from: of a fleet's thousands he may have named a few."""
    if not intent.board_names:
        return registry.boards.keys()
    return {name for name in intent.board_names if name in registry.boards}


def _suits(registry: Registry, name: str, intent: Intent) -> bool:
    """Whether one that may be chosen says what it is, and could load what the method needs."""
    capability = registry.boards[name].capability
    if capability is None:
        return False
    return not capability.shells or intent.method.shell in capability.shells  # none: nothing to load


def missing(registry: Registry, intent: Intent, names: Collection[str]) -> list[str]:
    """Of the boards that `intent` names, those that are not in `names`, each with why."""
    found, there = [], frozenset(names)
    for name in intent.board_names:
        record = registry.boards.get(name)
        if name in there:
            continue
        if record is None or record.presence is not BoardPresence.ONLINE:
            why = "offline" if record is None else record.presence.value
        elif record.capability is not None and not _suits(registry, name, intent):
            why = f"without shell {intent.method.shell}"
        else:
            why = "left out" if record.capability is not None else "not described yet"
        found.append(f"{name} ({why})")
    return found


def spare(registry: Registry, intent: Intent, excluded: Collection[str]) -> int:
    """Boards to keep out of a plan: one that is away or left out has had a spare one take over from it."""
    gone = [
        name
        for name in _named(registry, intent)
        if _suits(registry, name, intent)
        and (registry.boards[name].presence is BoardPresence.OFFLINE or name in excluded)
    ]
    return max(0, intent.spare - len(gone))


@dataclass(frozen=True)
class BoardView:
    """A board that could take part, as it was when a plan was asked for; it has parameters of the layers in `has`."""

    name: str
    capability: Capability
    has: frozenset[str]


@dataclass(frozen=True)
class PlanRequest:
    """All that a plan rests upon, unchanging, so that it can be made in another thread: equal requests, equal plans.

    `boards` come in order of preference, and `kept` of them stay spare. `own` are the deployment's generations,
    `others` those of the rest that these boards hold, and `topologies` the networks of them all, by bundle.
    """

    intent: Intent
    model: VerifiedModel
    boards: tuple[BoardView, ...]
    kept: int
    own: tuple[Placement, ...]
    others: tuple[Placement, ...]
    topologies: tuple[tuple[str, Topology], ...]

    @property
    def names(self) -> list[str]:
        """Of the boards."""
        return [board.name for board in self.boards]


@dataclass(frozen=True)
class Candidate:
    """What a plan came to, on named boards; it becomes a generation when it is given a number.

    `crowded` are boards without room for it beside the deployment's present generations: these must leave first.
    """

    request: PlanRequest
    stages: tuple[StagePlacement, ...]
    batch_rows: int
    queue_frames: int
    period_s: float
    crowded: tuple[str, ...] = ()
    bound_s: float = 0.0

    def placed(self, generation: Generation, reason: str) -> Placement:
        """As that generation."""
        return Placement(
            generation=generation,
            intent=self.request.intent,
            bundle=self.request.model.digest,
            stages=self.stages,
            batch_rows=self.batch_rows,
            queue_frames=self.queue_frames,
            period_s=self.period_s,
            state=GenerationState.STAGED,
            reason=reason,
            bound_s=self.bound_s,
        )


@dataclass(frozen=True)
class PlanAnswer:
    """What came of a request: a candidate, or why there is none."""

    request: PlanRequest
    candidate: Candidate | None
    error: str = ""

    def still_holds(self, request: PlanRequest) -> bool:
        """Whether the candidate could be placed as well if `request` had been asked: other boards may have changed."""
        if self.candidate is None or replace(self.request, boards=()) != replace(request, boards=()):
            return False
        used = {board for stage in self.candidate.stages for board in stage.boards}
        before = {board.name: board.capability for board in self.request.boards}
        now = {board.name: board.capability for board in request.boards}
        return all(now.get(name) == before[name] for name in used)


def answered(request: PlanRequest) -> PlanAnswer:
    """Plan it; takes up to seconds, and touches nothing but the request."""
    try:
        return PlanAnswer(request, candidate(request))
    except PlanError as error:
        return PlanAnswer(request, None, str(error))


def misfits(registry: Registry, bundle: Bundle, names: Sequence[str]) -> dict[str, str]:
    """Those of the boards `names` for whose part the bundle has no image although it has some, and a sentence each."""
    found = {}
    for name in names:
        capability = registry.boards[name].capability
        if capability is not None and capability.shells and bundle.parts and capability.part not in bundle.parts:
            found[name] = (
                f"{name} is a {capability.part}, the images of {bundle.model} {bundle.version} are for "
                f"{', '.join(sorted(bundle.parts))}: publish it again with images for that part"
            )
    return found


def request_of(
    registry: Registry,
    intent: Intent,
    model: VerifiedModel,
    names: Sequence[str],
    live: Sequence[Placement],
    topologies: Mapping[str, Topology] | None = None,
    kept: int = 0,
) -> PlanRequest:
    """Ask for a plan of `model` on the boards `names`; `live` is everything that boards hold, of any deployment."""
    # What other boards hold changes no plan; with it each new generation would make every plan under way stale.
    there = frozenset(names)
    held = [
        # How far a generation is changes all the time, and nothing of what it holds.
        replace(placement, state=GenerationState.STAGED, reason="")
        for placement in live
        if placement.intent.deployment == intent.deployment or not there.isdisjoint(placement.boards)
    ]
    others = tuple(placement for placement in held if placement.intent.deployment != intent.deployment)
    bundles = sorted({placement.bundle for placement in held} & set(topologies or ()))
    return PlanRequest(
        intent=intent,
        model=model,
        boards=tuple(_view(registry, name, model) for name in names),
        kept=kept,
        own=tuple(placement for placement in held if placement.intent.deployment == intent.deployment),
        others=others,
        topologies=tuple((bundle, (topologies or {})[bundle]) for bundle in bundles),
    )


def _view(registry: Registry, name: str, model: VerifiedModel) -> BoardView:
    record = registry.board(name)
    assert record.capability is not None, f"{name} was taken for usable without a capability"
    held = record.reported.held if record.reported is not None else ()
    has = frozenset(layer for each in held if each.bundle == model.digest for layer in each.layers)
    return BoardView(name, record.capability, has)


def candidate(request: PlanRequest) -> Candidate:
    """The best placement on at most the wanted number of boards; raises `PlanError` with board, need and have."""
    there, intent = len(request.boards), request.intent
    count = min(intent.boards or there, there - request.kept)
    if count < 1:
        raise PlanError(
            f"{there} boards can take part and {request.kept} are to stay spare: keep fewer, or add boards",
            need=request.kept + 1,
            have=there,
        )
    topology = request.model.topology
    capabilities = {board.name: board.capability for board in request.boards}
    beside = holdings(request.others, capabilities, dict(request.topologies))
    kinds = {layer.kind for layer in topology.layers}
    models = {
        board.name: left(board.capability, intent.method, beside.get(board.name, Holding()), kinds)
        for board in request.boards
    }
    # Boards that nobody else uses come first; of equals, those that are preferred.
    names = sorted(request.names, key=lambda name: len(beside[name].tenants) if name in beside else 0)
    plan, named = _plan(request, models, names, count)
    before = holdings(request.own, capabilities, dict(request.topologies))
    stages, crowded = [], []
    for stage, boards in zip(plan.stages, named, strict=True):
        room = {name: models[name].memory_bytes - stage.memory_bytes for name in boards}
        crowded += [name for name in boards if name in before and before[name].memory_bytes > room[name]]
        layers = topology.layers[stage.first : stage.last]
        kinds_here = [layer.kind for layer in layers if layer.name not in stage.processor]
        slots = tuple(_slots(request, board, kinds_here) for board in boards)
        stages.append(StagePlacement(tuple(layer.name for layer in layers), boards, slots, stage.processor))
    queue = planner.board_model([board.capability for board in request.boards], intent.method).queue_frames
    return Candidate(request, tuple(stages), plan.batch_rows, queue, plan.period_s, tuple(crowded), plan.bound_s)


def _plan(
    request: PlanRequest, models: Mapping[str, planner.BoardModel], names: Sequence[str], count: int
) -> tuple[planner.Plan, tuple[tuple[str, ...], ...]]:
    """The plan, and the boards of each of its stages."""
    intent, topology = request.intent, request.model.topology
    if intent.method is Method.STREAM:  # a shell with the whole network: boards can only be replicas
        return _replicas(request, models, names, min(count, intent.replicas or count))
    alike: dict[planner.BoardModel, list[str]] = {}
    for name in names:
        alike.setdefault(models[name], []).append(name)
    plan = planner.plan_fleet(
        topology,
        [(_called(boards), board, len(boards)) for board, boards in alike.items()],
        most=count,
        cut=intent.cut,
        replicas=intent.replicas,
        objective=intent.objective,
        batch=intent.batch,
        exactly=intent.boards > 0,
    )
    layers, sizes = [layer.name for layer in topology.layers], planner.parameter_bytes(topology)
    named = {_called(boards): boards for boards in alike.values()}
    has = {board.name: board.has for board in request.boards}
    return plan, name_boards(plan.stages, layers, sizes, named, has)


def _replicas(
    request: PlanRequest, models: Mapping[str, planner.BoardModel], names: Sequence[str], count: int
) -> tuple[planner.Plan, tuple[tuple[str, ...], ...]]:
    """The whole network on `count` boards, or on as many as have room for it beside what they hold."""
    topology, batch = request.model.topology, request.intent.batch
    capabilities = {board.name: board.capability for board in request.boards}
    need = planner.whole_bytes(topology, models[names[0]], batch=batch)
    chosen = [name for name in names if models[name].memory_bytes >= need][:count] or list(names[:count])
    fewest = min(chosen, key=lambda name: models[name].memory_bytes)
    weakest = replace(
        planner.board_model([capabilities[name] for name in chosen], request.intent.method),
        memory_bytes=models[fewest].memory_bytes,
        share=min(models[name].share for name in chosen),
        held=models[fewest].held,
    )
    return planner.whole(topology, len(chosen), weakest, batch=batch, name=fewest), (tuple(chosen),)


def _called(boards: Sequence[str]) -> str:
    """What boards of one kind are called in a refusal."""
    return boards[0] if len(boards) == 1 else f"{boards[0]} (and {len(boards) - 1} like it)"


def _slots(request: PlanRequest, name: str, kinds: Sequence[Kind]) -> tuple[Slot, ...]:
    capability = next(board.capability for board in request.boards if board.name == name)
    if request.intent.method is not Method.LIBRARY or capability.fabric == PROCESSOR:
        return ()
    taken: dict[str, Kind] = {}
    for placement in (*request.others, *request.own):
        assignment = placement.assignments().get(name)
        if assignment is not None:
            taken |= {slot.partition: slot.kind for slot in assignment.slots}
    return place_modules(kinds, capability.partitions, taken)


def occupied(registry: Registry, intent: Intent, live: Sequence[Placement]) -> dict[str, str]:
    """Boards that other deployments keep on another shell, by name, each with why it cannot be taken."""
    found = {}
    for placement in live:
        other = placement.intent
        if other.deployment == intent.deployment or other.method.shell == intent.method.shell:
            continue
        for name in placement.boards:
            capability = registry.board(name).capability
            if capability is not None and capability.shells:
                found[name] = f"board {name} holds shell {other.method.shell} for {other.deployment}"
    return found


def must_pause(registry: Registry, old: Placement, new: Placement) -> bool:
    """Whether the old generation must leave first: two shells cannot share a board's fabric."""
    if old.intent.method.shell == new.intent.method.shell:
        return False
    for board in set(old.boards) & set(new.boards):
        capability = registry.board(board).capability
        if capability is not None and capability.fabric != PROCESSOR:
            return True
    return False
