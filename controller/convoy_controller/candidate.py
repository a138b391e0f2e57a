"""Turns a plan into a candidate generation on named boards: who can take part, who gets which stage and modules.

Pure: it reads what boards last said of themselves and what they hold already. Called by the reconciler.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from convoy_schema.bundle import Method, VerifiedModel
from convoy_schema.messages.boards import Capability
from convoy_schema.messages.desired import Intent, Slot
from convoy_schema.names import Generation
from convoy_schema.topology import Kind

from convoy_controller import planner
from convoy_controller.database.records import BoardPresence, GenerationState
from convoy_controller.errors import PlanError
from convoy_controller.placement import Placement, StagePlacement, place_modules
from convoy_controller.planning.naming import name_boards
from convoy_controller.registry import Registry

#: A fabric that computes on the CPU and takes any method without configuring anything.
PROCESSOR = "processor"


def usable(registry: Registry, intent: Intent, present: Sequence[str], excluded: Iterable[str]) -> list[str]:
    """Names of boards that could take part, those in `present` first and in that order, then by name."""
    order = {name: index for index, name in enumerate(present)}
    names = sorted(registry.boards, key=lambda name: (order.get(name, len(order)), name))
    left_out = set(excluded)
    return [
        name
        for name in names
        if name not in left_out
        and registry.boards[name].presence is BoardPresence.ONLINE
        and _suits(registry, name, intent)
    ]


def _suits(registry: Registry, name: str, intent: Intent) -> bool:
    """Whether it may take part, and could load what the method needs."""
    capability = registry.boards[name].capability
    if capability is None or (intent.board_names and name not in intent.board_names):
        return False
    return not capability.shells or intent.method.shell in capability.shells  # none: nothing to load


def missing(registry: Registry, intent: Intent, names: Collection[str]) -> list[str]:
    """Of the boards that `intent` names, those that are not in `names`, each with why."""
    found = []
    for name in intent.board_names:
        record = registry.boards.get(name)
        if name in names:
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
        for name, record in registry.boards.items()
        if _suits(registry, name, intent) and (record.presence is BoardPresence.OFFLINE or name in excluded)
    ]
    return max(0, intent.spare - len(gone))


def candidate(
    registry: Registry,
    intent: Intent,
    model: VerifiedModel,
    names: Sequence[str],
    live: Sequence[Placement],
    generation: Generation,
    reason: str,
    kept: int = 0,
) -> Placement:
    """The best placement of `model` on at most the wanted number of the boards `names`, in that order of preference.

    `live` is everything that boards hold already, of any deployment; `kept` boards stay spare. Raises `PlanError` with
    need and have.
    """
    count = min(intent.boards or len(names), len(names) - kept)
    if count < 1:
        raise PlanError(
            f"{len(names)} boards can take part and {kept} are to stay spare: keep fewer, or add boards",
            need=kept + 1,
            have=len(names),
        )
    plan, named = _plan(registry, intent, model, names, count)
    stages = []
    for stage, boards in zip(plan.stages, named, strict=True):
        layers = model.topology.layers[stage.first : stage.last]
        kinds = [layer.kind for layer in layers if layer.name not in stage.processor]
        slots = tuple(_slots(registry, board, intent, kinds, live) for board in boards)
        stages.append(StagePlacement(tuple(layer.name for layer in layers), boards, slots, stage.processor))
    return Placement(
        generation=generation,
        intent=intent,
        bundle=model.digest,
        stages=tuple(stages),
        batch_rows=plan.batch_rows,
        queue_frames=planner.board_model(_capabilities(registry, names), intent.method).queue_frames,
        period_s=plan.period_s,
        state=GenerationState.STAGED,
        reason=reason,
    )


def _capabilities(registry: Registry, names: Sequence[str]) -> list[Capability]:
    return [capability for name in names if (capability := registry.board(name).capability) is not None]


def _plan(
    registry: Registry, intent: Intent, model: VerifiedModel, names: Sequence[str], count: int
) -> tuple[planner.Plan, tuple[tuple[str, ...], ...]]:
    """The plan, and the boards of each of its stages."""
    if intent.method is Method.STREAM:  # a shell with the whole network: boards can only be replicas
        weakest = planner.board_model(_capabilities(registry, names), intent.method)
        count = min(count, intent.replicas or count)
        plan = planner.whole(model.topology, count, weakest, batch=intent.batch)
        return plan, (tuple(names[:count]),)
    alike = _alike(registry, intent.method, names)
    plan = planner.plan_fleet(
        model.topology,
        [(_called(boards), board, len(boards)) for board, boards in alike.items()],
        most=count,
        cut=intent.cut,
        replicas=intent.replicas,
        objective=intent.objective,
        batch=intent.batch,
        exactly=intent.boards > 0,
    )
    layers, sizes = [layer.name for layer in model.topology.layers], planner.parameter_bytes(model.topology)
    named = {_called(boards): boards for boards in alike.values()}
    return plan, name_boards(plan.stages, layers, sizes, named, _held(registry, model, names))


def _alike(registry: Registry, method: Method, names: Sequence[str]) -> dict[planner.BoardModel, list[str]]:
    """The boards `names` by what they are to the planner, in order."""
    found: dict[planner.BoardModel, list[str]] = {}
    for name in names:
        for capability in _capabilities(registry, [name]):
            found.setdefault(planner.model_of(capability, method), []).append(name)
    return found


def _called(boards: Sequence[str]) -> str:
    """What boards of one kind are called in a refusal."""
    return boards[0] if len(boards) == 1 else f"{boards[0]} (and {len(boards) - 1} like it)"


def _held(registry: Registry, model: VerifiedModel, names: Sequence[str]) -> dict[str, frozenset[str]]:
    """Layers whose parameters each board has, as far as its assignments say."""
    found = {}
    for name in names:
        reported = registry.board(name).reported
        held = [] if reported is None else [each for each in reported.held if each.bundle == model.digest]
        found[name] = frozenset(layer for assignment in held for layer in assignment.layers)
    return found


def _slots(
    registry: Registry, board: str, intent: Intent, kinds: Sequence[Kind], live: Sequence[Placement]
) -> tuple[Slot, ...]:
    capability = registry.board(board).capability
    if capability is None or intent.method is not Method.LIBRARY or capability.fabric == PROCESSOR:
        return ()
    taken: dict[str, Kind] = {}
    for placement in live:
        assignment = placement.assignments().get(board)
        if assignment is not None:
            taken |= {slot.partition: slot.kind for slot in assignment.slots}
    return place_modules(kinds, capability.partitions, taken)


def must_pause(registry: Registry, old: Placement, new: Placement) -> bool:
    """Whether the old generation must leave first: two shells cannot share a board's fabric."""
    if old.intent.method.shell == new.intent.method.shell:
        return False
    for board in set(old.boards) & set(new.boards):
        capability = registry.board(board).capability
        if capability is not None and capability.fabric != PROCESSOR:
            return True
    return False
