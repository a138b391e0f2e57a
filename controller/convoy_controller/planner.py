"""Cuts a chain of layers into stages over boards: pure arithmetic, no fleet and no clock.

Exact for identical boards: dynamic programming over (layers done, boards used) minimises the slowest of stages and
links, with or without replication. Cycles come from `convoy_schema.layers`, a model until hardware has said it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from convoy_schema.bundle import Method
from convoy_schema.frames import FRAME_OVERHEAD, MAX_FRAME
from convoy_schema.layers import cost
from convoy_schema.messages.boards import Capability
from convoy_schema.messages.desired import Cut, Objective
from convoy_schema.topology import Kind, Topology

from convoy_controller.errors import PlanError

#: Bytes a second that a board's 100 Mb/s of usable Ethernet carries.
LINK_BYTES_PER_S = 12.5e6
#: Seconds that a hop costs whatever its size, measured on loopback with NODELAY on both ends.
HOP_S = 100e-6
#: Seconds to swap a module: a clock region's partial bitstream through PCAP at 145 MB/s.
SWAP_S = 4.1e-3
#: Frames that a stage may hold queued; the window of all gateways together.
QUEUE_FRAMES = 64


@dataclass(frozen=True)
class BoardModel:
    """What the planner must know of a board: clock in Hz, memory in bytes, and its partitions (None: fixed kernels)."""

    clock_hz: float
    memory_bytes: int
    partitions: int | None
    queue_frames: int = QUEUE_FRAMES


@dataclass(frozen=True)
class StagePlan:
    """Layers [first, last) on `replicas` boards; `seconds` a sample on one of them, `link_s` for what leaves it."""

    first: int
    last: int
    replicas: int
    seconds: float
    link_s: float


@dataclass(frozen=True)
class Plan:
    """A cut of the whole chain. `period_s` is the slowest of stages and links; `bound_s` what no plan can beat."""

    stages: tuple[StagePlan, ...]
    period_s: float
    latency_s: float
    bound_s: float
    batch_rows: int
    bottleneck: str

    @property
    def boards(self) -> int:
        """Boards used."""
        return sum(stage.replicas for stage in self.stages)


def board_model(boards: Sequence[Capability], method: Method) -> BoardModel:
    """The one kind of board that stands for all of them: of each figure the least."""
    regions = [len(board.partitions) for board in boards if board.fabric != "processor"]
    return BoardModel(
        clock_hz=min(board.clock_hz for board in boards),
        memory_bytes=min(board.memory_bytes for board in boards),
        partitions=min(regions) if regions and method is Method.LIBRARY else None,
        queue_frames=min(QUEUE_FRAMES, *(board.queue_frames for board in boards)),
    )


class _Chain:
    """Costs of every contiguous run of layers on one kind of board."""

    def __init__(self, topology: Topology, board: BoardModel, batch_rows: int) -> None:
        self.topology = topology
        self.board = board
        self.batch_rows = batch_rows
        costs = [cost(layer, topology) for layer in topology.layers]
        self._cycles = _running(c.cycles for c in costs)
        self._parameters = _running(c.parameter_bytes for c in costs)
        self._buffers = _running(c.buffer_bytes for c in costs)
        self._kinds = [layer.kind for layer in topology.layers]

    def __len__(self) -> int:
        return len(self._kinds)

    def stage_s(self, first: int, last: int) -> float:
        """Seconds a sample of layers [first, last), module swaps shared by the batch; infinite when it does not fit."""
        if self.memory(first, last) > self.board.memory_bytes:
            return math.inf
        seconds = (self._cycles[last] - self._cycles[first]) / self.board.clock_hz
        return seconds + self.swaps(first, last) * SWAP_S / self.batch_rows

    def memory(self, first: int, last: int) -> int:
        """Bytes of parameters and of every buffer, for a batch."""
        parameters = self._parameters[last] - self._parameters[first]
        buffers = (self._buffers[last] - self._buffers[first]) * self.batch_rows
        queue = self.crossing_bytes(first) * self.batch_rows * self.board.queue_frames
        return parameters + buffers + queue

    def crossing_bytes(self, cut: int) -> int:
        """Bytes a sample of all tensors that cross before layer `cut`."""
        return sum(self.topology.tensor(name).size for name in self.topology.crossing(cut))

    def swaps(self, first: int, last: int) -> int:
        """Modules loaded anew for each batch, when the run's kinds outnumber the partitions."""
        return swaps_per_batch(self._kinds[first:last], self.board.partitions)

    def link_s(self, cut: int) -> float:
        """Seconds a sample of what crosses before layer `cut`."""
        return self.crossing_bytes(cut) / LINK_BYTES_PER_S + HOP_S / self.batch_rows


def swaps_per_batch(kinds: Sequence[Kind], partitions: int | None) -> int:
    """Loads that each batch needs in the steady state, with `partitions` regions; the least recently used one goes."""
    distinct = list(dict.fromkeys(kinds))
    if partitions is None or len(distinct) <= partitions:
        return 0
    held: list[Kind] = []
    loads = 0
    for _ in range(2):  # the first turn fills the partitions, the second is the steady state
        loads = 0
        for kind in kinds:
            if kind in held:
                held.remove(kind)
            else:
                loads += 1
                held = held[max(0, len(held) - partitions + 1) :]
            held.append(kind)
    return loads


def batch_rows(topology: Topology, wanted: int) -> int:
    """The largest batch up to `wanted` that every cut's frame can hold; `PlanError` when not even one row fits."""
    room = MAX_FRAME - FRAME_OVERHEAD
    largest = max(
        sum(topology.tensor(name).size for name in topology.crossing(cut)) for cut in range(len(topology.layers) + 1)
    )
    if largest > room:
        raise PlanError(
            f"{topology.name}: a cut of {largest} bytes a sample exceeds the frame bound of {room}; "
            "only plans without that cut could work",
            need=largest,
            have=room,
        )
    return max(1, min(wanted, room // largest))


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
    least). Throughput minimises the slowest of stages and links; latency the sum, which one board always wins.
    """
    if boards < 1:
        raise PlanError("no board can take part: at least one is needed", need=1, have=boards)
    rows = batch_rows(topology, batch)
    chain = _Chain(topology, model, rows)
    if cut is Cut.PIPELINE:
        boards = min(boards, len(chain))
    if objective is Objective.LATENCY and not exactly:
        boards = 1
    best = _search(chain, boards, replicate=cut is Cut.REPLICATED, exactly=exactly)
    if best is None:
        raise _refusal(chain, boards)
    return _describe(chain, best, boards)


def whole(topology: Topology, boards: int, model: BoardModel, *, batch: int = 32) -> Plan:
    """The whole network on each of `boards` boards, which are replicas; raises `PlanError` when it does not fit one."""
    if boards < 1:
        raise PlanError("no board can take part: at least one is needed", need=1, have=boards)
    chain = _Chain(topology, model, batch_rows(topology, batch))
    if math.isinf(chain.stage_s(0, len(chain))):
        need = chain.memory(0, len(chain))
        raise PlanError(
            f"{topology.name} needs {need} bytes on one board that has {model.memory_bytes}: "
            "choose a method that cuts it (allocate, library), or lower the batch",
            need=need,
            have=model.memory_bytes,
        )
    return _describe(chain, ((0, len(chain), boards),), boards)


_Stages = tuple[tuple[int, int, int], ...]
_Best = tuple[float, float, _Stages]


def _search(chain: _Chain, boards: int, *, replicate: bool, exactly: bool) -> _Stages | None:
    """Dynamic programming: best[(layers, boards)] = (period, sum of squares, stages), fewer boards at equal period."""
    length = len(chain)
    seconds = {(i, j): chain.stage_s(i, j) for i in range(length) for j in range(i + 1, length + 1)}
    links = [chain.link_s(at) for at in range(length + 1)]
    best: dict[tuple[int, int], _Best] = {(0, 0): (0.0, 0.0, ())}
    for last in range(1, length + 1):
        for used in range(1, boards + 1):
            found: _Best | None = None
            for replicas in range(1, (used if replicate else 1) + 1):
                for first in range(last):
                    before = best.get((first, used - replicas))
                    if before is None or math.isinf(seconds[first, last]):
                        continue
                    share = seconds[first, last] / replicas
                    option = (
                        max(before[0], share, links[first] if first else 0.0),
                        before[1] + share * share * replicas,
                        (*before[2], (first, last, replicas)),
                    )
                    if found is None or option[:2] < found[:2]:
                        found = option
            if found is not None:
                best[last, used] = found
    finished = [(best[length, used], used) for used in range(1, boards + 1) if (length, used) in best]
    if not finished:
        return None
    if exactly:
        return max(finished, key=lambda item: item[1])[0][2]
    # A board more must buy at least a percent, or it is better kept as a spare.
    chosen, _ = finished[0]
    for candidate, _ in finished[1:]:
        if candidate[0] < chosen[0] * 0.99:
            chosen = candidate
    return chosen[2]


def _describe(chain: _Chain, stages: _Stages, boards: int) -> Plan:
    plans = tuple(
        StagePlan(first, last, replicas, chain.stage_s(first, last), chain.link_s(last))
        for first, last, replicas in stages
    )
    candidates = [(stage.seconds / stage.replicas, f"stage {i}") for i, stage in enumerate(plans)]
    candidates += [(stage.link_s, f"link after stage {i}") for i, stage in enumerate(plans[:-1])]
    period, bottleneck = max(candidates)
    total = sum(chain.stage_s(i, i + 1) for i in range(len(chain)))
    latency = sum(stage.seconds + stage.link_s for stage in plans)
    return Plan(plans, period, latency, total / boards, chain.batch_rows, bottleneck)


def _refusal(chain: _Chain, boards: int) -> PlanError:
    worst = max(range(len(chain)), key=lambda i: chain.memory(i, i + 1))
    need = chain.memory(worst, worst + 1)
    name = chain.topology.layers[worst].name
    if need > chain.board.memory_bytes:
        return PlanError(
            f"layer {name} needs {need} bytes on a board that has {chain.board.memory_bytes}",
            need=need,
            have=chain.board.memory_bytes,
        )
    whole = chain.memory(0, len(chain))
    return PlanError(
        f"{chain.topology.name} needs {whole} bytes, {boards} boards of {chain.board.memory_bytes} cannot hold it in "
        "contiguous stages: add boards or lower the batch",
        need=whole,
        have=boards * chain.board.memory_bytes,
    )


def _running(values: Iterable[int]) -> list[int]:
    return list(itertools.accumulate(values, initial=0))
