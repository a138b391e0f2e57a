"""Why there is no plan, by board, need and have."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from convoy_controller.errors import PlanError
from convoy_controller.planning.instance import BoardKind, Instance
from convoy_controller.planning.prices import shortest
from convoy_controller.planning.segments import Segments, memory


def no_board(have: int) -> PlanError:
    """Nobody can take part."""
    return PlanError("no board can take part: at least one is needed", need=1, have=have)


def not_found(have: int) -> PlanError:
    """Too many boards of too many kinds to look at every plan, and none met that fits."""
    return PlanError(
        f"no plan was found for {have} boards, which does not prove that there is none: plan for fewer boards or kinds",
        have=have,
    )


def refusal(instance: Instance, costs: Sequence[Segments], most: int) -> PlanError:
    """The first layer that no board can have, or too few boards for all of them together."""
    possible = np.any(np.stack([np.isfinite(cost.period) for cost in costs]), axis=0)
    for at in range(len(instance.layers)):
        if not possible[: at + 1, at + 1 :].any():
            return _of_layer(instance, at)
    fewest, runs = shortest(np.where(possible, 1.0, np.inf))
    whole = int(memory(instance)[0, -1])
    kinds = ", ".join(_described(kind) for kind in instance.kinds)
    if not runs:
        return PlanError(
            f"{instance.name} cannot be cut so that every stage fits a board and every cut a frame ({kinds}): add "
            "boards with more memory, or lower the batch",
            need=whole,
            have=max(kind.memory_bytes for kind in instance.kinds),
            board=kinds,
        )
    # Enough of them may be of the wrong kind; then at least one more is needed.
    needed = max(int(fewest), most + 1)
    return PlanError(
        f"{instance.name} needs {whole} bytes; {most} of {kinds} cannot hold it in contiguous stages, at least "
        f"{needed} boards are needed: add boards or lower the batch",
        need=needed,
        have=most,
        board=kinds,
    )


def _of_layer(instance: Instance, at: int) -> PlanError:
    layer = instance.layers[at]
    able = [kind for kind in instance.kinds if math.isfinite(min(_seconds(kind, at)))]
    if not able:
        kind = instance.kinds[0]
        return PlanError(
            f"layer {layer.name} cannot run on board {kind.name}: {kind.limits.get(at, 'it has no such kernel')}",
            layer=layer.name,
            board=kind.name,
        )
    # Of the runs that hold the layer and may be cut at both ends, the smallest.
    may_cut = np.isfinite(instance.crossing)
    sizes = np.where(may_cut[:, None] & may_cut[None, :], memory(instance), np.inf)
    need = int(sizes[: at + 1, at + 1 :].min())
    kind = max(able, key=lambda kind: kind.memory_bytes)
    if need <= kind.memory_bytes:
        return PlanError(
            f"layer {layer.name} cannot be cut from its neighbours, since the tensors between them exceed a frame, and "
            f"no board can run them together, {kind.name} with {kind.memory_bytes} bytes included",
            need=need,
            have=kind.memory_bytes,
            layer=layer.name,
            board=kind.name,
        )
    return PlanError(
        f"layer {layer.name} needs {need} bytes on board {kind.name} that has {kind.memory_bytes}{_left(kind)}: lower "
        f"the batch, or {'undeploy what is there, or ' if kind.held else ''}use a board with more memory",
        need=need,
        have=kind.memory_bytes,
        layer=layer.name,
        board=kind.name,
    )


def _seconds(kind: BoardKind, at: int) -> tuple[float, ...]:
    return (kind.seconds[at], *kind.processor[at : at + 1])


def _described(kind: BoardKind) -> str:
    return f"{kind.count} {kind.name} of {kind.memory_bytes} bytes{_left(kind)}"


def _left(kind: BoardKind) -> str:
    """Why a board has no more than that."""
    return f" left ({kind.held})" if kind.held else ""
