"""What the fleet's own counts say of the model: how many times as long a board takes, and what a hop costs.

Pure. Pulses count frames, rows and busy time of each stage; the modelled time of that stage's layers on that board
stands beside them. A stage's busy time holds its module swaps, so those are part of what is compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from convoy_schema.messages.boards import StagePulse
from convoy_schema.messages.desired import Assignment
from convoy_schema.topology import Topology

from convoy_controller.planning.costing import BoardModel, crossing_bytes, instance_of
from convoy_controller.planning.segments import placed_seconds

#: Frames of a stage before its figures count: the first ones load modules and warm caches.
LEAST_FRAMES = 8

#: A stage that a board runs, and what its latest pulse counts of it.
Work = tuple[Assignment, StagePulse]


@dataclass(frozen=True)
class Speed:
    """A board takes `factor` times what the model says, over `rows` rows."""

    factor: float
    rows: int


def speed(works: Sequence[Work], topologies: Mapping[str, Topology], board: BoardModel) -> Speed | None:
    """How a board does beside its model, over all its stages; None while nothing can be said.

    `topologies` are by bundle digest; a stage of another network, of few frames, or that the model has no time for
    does not count.
    """
    busy_s = modelled_s = 0.0
    rows = 0
    for assignment, pulse in works:
        topology = topologies.get(assignment.bundle)
        if topology is None or pulse.frames < LEAST_FRAMES or pulse.rows < pulse.frames or not pulse.busy_us:
            continue
        row_s = modelled_seconds(assignment, topology, board, pulse.rows / pulse.frames)
        if not 0 < row_s < math.inf:
            continue
        busy_s += pulse.busy_us / 1e6
        modelled_s += row_s * pulse.rows
        rows += pulse.rows
    return Speed(busy_s / modelled_s, rows) if rows else None


def modelled_seconds(assignment: Assignment, topology: Topology, board: BoardModel, frame_rows: float) -> float:
    """What the model says that a row of the stage takes on `board`, in frames of about `frame_rows` rows.

    Infinite where it has no time for a layer, and for layers that `topology` does not have.
    """
    names = [layer.name for layer in topology.layers]
    if not assignment.layers or not set(assignment.layers) <= set(names):
        return math.inf
    first = names.index(assignment.layers[0])
    instance = instance_of(topology, [("", board, 1)], max(1, round(frame_rows)))
    processor = frozenset(names.index(name) for name in assignment.processor)
    return placed_seconds(instance, instance.kinds[0], first, first + len(assignment.layers), processor)


def hop_seconds(hop_s: float, topology: Topology, cuts: Sequence[int], frame_rows: float, bytes_per_s: float) -> float:
    """What a hop costs whatever its size, when one took `hop_s` on average in a pipeline with its ends at `cuts`.

    The rest is the time that the frame's bytes take at the link's rate, which plans count on their own.
    """
    crossing = crossing_bytes(topology)
    mean = sum(crossing[cut] for cut in cuts) / len(cuts)
    return max(0.0, hop_s - mean * frame_rows / bytes_per_s)
