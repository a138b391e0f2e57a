"""Cuts a network into stages over boards: what the reconciler and the benches ask, in terms of topologies and boards.

Pure arithmetic, no fleet and no clock. The search itself is `convoy_controller.planning`, which knows neither; exact or
bounded, and which of the two, is said in the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from convoy_schema.bundle import Method
from convoy_schema.layers import cost
from convoy_schema.messages.boards import Capability
from convoy_schema.messages.desired import Cut, Objective
from convoy_schema.topology import Topology

from convoy_controller.errors import PlanError
from convoy_controller.planning.costing import HOP_S, LINK_BYTES_PER_S, SWAP_S, BoardModel, batch_rows, instance_of
from convoy_controller.planning.instance import QUEUE_FRAMES, Wish
from convoy_controller.planning.profiles import kernels_of
from convoy_controller.planning.segments import memory, placed_seconds
from convoy_controller.planning.solution import Solution as Plan
from convoy_controller.planning.solution import Stage as StagePlan
from convoy_controller.planning.solver import solve

__all__ = [
    "HOP_S",
    "LINK_BYTES_PER_S",
    "QUEUE_FRAMES",
    "SWAP_S",
    "BoardModel",
    "Plan",
    "StagePlan",
    "batch_rows",
    "board_model",
    "may_share",
    "model_of",
    "parameter_bytes",
    "plan",
    "plan_fleet",
    "stage_needs",
    "whole",
    "whole_bytes",
]

#: What boards that are all alike are called.
BOARD = "board"


def board_model(boards: Sequence[Capability], method: Method) -> BoardModel:
    """The one kind of board that stands for all of them: of each figure the least."""
    regions = [len(board.partitions) for board in boards if board.fabric != "processor"]
    return BoardModel(
        clock_hz=min(board.clock_hz for board in boards),
        memory_bytes=min(board.memory_bytes for board in boards),
        partitions=min(regions) if regions and method is Method.LIBRARY else None,
        queue_frames=min(QUEUE_FRAMES, *(board.queue_frames for board in boards)),
        is_network=method is Method.STREAM and len(regions) == len(boards),
    )


def parameter_bytes(topology: Topology) -> list[int]:
    """Bytes of each layer's parameters."""
    return [cost(layer, topology).parameter_bytes for layer in topology.layers]


def model_of(board: Capability, method: Method) -> BoardModel:
    """What the planner takes one board for, its processor and the limits of its kernels included."""
    model = board_model([board], method)
    if board.fabric == "processor":
        return model
    processor = board.processor if method is not Method.STREAM else None  # whose chain is the whole network
    return replace(model, kernels=kernels_of(board.part, method), processor=processor)


def stage_needs(
    topology: Topology,
    first: int,
    last: int,
    model: BoardModel,
    rows: int,
    queue_frames: int,
    processor: frozenset[int] = frozenset(),
) -> tuple[int, float]:
    """Memory in bytes, and seconds a sample, of layers [first, last) on one board in batches of `rows`.

    Just the layers `processor` run on the board's own. What cannot begin there, since too much crosses the cut for a
    frame, takes all of the memory.
    """
    instance = replace(instance_of(topology, [(BOARD, model, 1)], rows), queue_frames=queue_frames)
    size = min(float(memory(instance)[first, last]), float(model.memory_bytes))
    return int(size), placed_seconds(instance, instance.kinds[0], first, last, processor)


def plan(
    topology: Topology,
    boards: int,
    model: BoardModel,
    *,
    cut: Cut = Cut.PIPELINE,
    objective: Objective = Objective.THROUGHPUT,
    batch: int = 32,
    exactly: bool = False,
) -> Plan:
    """The best cut of `topology` over at most `boards` identical boards; raises `PlanError` with need and have.

    `exactly` asks for every board to be used, as far as there are layers for them (a pipeline has one layer a board at
    least). Throughput minimises the slowest of stages and links; latency the sum.
    """
    kinds = [(BOARD, model, boards)]
    return plan_fleet(topology, kinds, cut=cut, objective=objective, batch=batch, exactly=exactly)


def plan_fleet(
    topology: Topology,
    kinds: Sequence[tuple[str, BoardModel, int]],
    *,
    most: int | None = None,
    cut: Cut = Cut.PIPELINE,
    replicas: int = 0,
    objective: Objective = Objective.THROUGHPUT,
    batch: int = 32,
    exactly: bool = False,
) -> Plan:
    """The same over boards of several kinds, (name, model, count) each, of which at most `most` take part.

    At most `replicas` boards share a stage; 0: one in a pipeline, else as many as help.
    """
    instance = instance_of(topology, kinds, batch)
    return solve(instance, Wish(objective, may_share(cut, replicas), replicas, most, exactly=exactly))


def may_share(cut: Cut, replicas: int) -> bool:
    """Whether several boards may share a stage: a number of them says so by itself."""
    return cut is Cut.REPLICATED or replicas > 1


def whole_bytes(topology: Topology, model: BoardModel, *, batch: int = 32) -> int:
    """Bytes of memory that the whole network needs on one board."""
    return int(memory(instance_of(topology, [(BOARD, model, 1)], batch, cuts=False))[0, -1])


def whole(topology: Topology, boards: int, model: BoardModel, *, batch: int = 32, name: str = "one board") -> Plan:
    """The whole network on each of `boards` boards, which are replicas; raises `PlanError` when it does not fit `name`.

    That is the board with least room.
    """
    instance = instance_of(topology, [(BOARD, model, boards)], batch, cuts=False)
    need = whole_bytes(topology, model, batch=batch)
    if boards > 0 and need > model.memory_bytes:
        left = f" left ({model.held})" if model.held else ""
        raise PlanError(
            f"{topology.name} needs {need} bytes on {name} that has {model.memory_bytes}{left}: "
            "choose a method that cuts it (allocate, library), or lower the batch",
            need=need,
            have=model.memory_bytes,
            board=name,
        )
    return solve(instance, Wish(replicate=True, exactly=True))
