"""Activations in flight: one frame holds one batch on its way from one holder to the next.

This is the hot path: a frame of one tensor is encoded and decoded in about 15 us.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from convoy_schema.bounds import Range, Size
from convoy_schema.messages.desired import Hop
from convoy_schema.names import Count, Generation, Label, Name

#: A frame's bound; a cut whose smallest batch does not fit is infeasible to the planner.
MAX_FRAME = 256 * 1024
#: What a frame takes beside its tensors, at most.
FRAME_OVERHEAD = 2 * 1024


@dataclass(frozen=True)
class TensorData:
    """One int8 tensor of a batch; `shape` begins with the batch's rows."""

    name: Label
    shape: Annotated[tuple[Annotated[int, Range(1, 65536)], ...], Size(4)]
    data: Annotated[bytes, Size(MAX_FRAME)]
    dtype: Annotated[str, Size(8)] = "int8"


@dataclass(frozen=True)
class Frame:
    """holder -> next holder. `batch` is (gateway session, counter); `budget_ms` the time left when it was sent.

    `residence_us` grows by one entry a stage: the time the batch spent there, so that hop times come out by difference.
    """

    MAX_BYTES: ClassVar[int] = MAX_FRAME

    deployment: Name
    generation: Generation
    stage: Annotated[int, Range(0, 2048)]
    gateway: Name
    batch: tuple[Count, Count]
    requests: Annotated[tuple[Count, ...], Size(4096)]
    budget_ms: Annotated[float, Range(0, 3.6e6)]
    tensors: Annotated[tuple[TensorData, ...], Size(64)]
    residence_us: Annotated[tuple[Count, ...], Size(2048)] = ()


def choose(batch: tuple[int, int], hops: tuple[Hop, ...]) -> Hop:
    """The replica that serves `batch`: the same one for every branch, in turn by weight.

    A pure function of the batch id and the weights, so that nobody has to ask anybody.
    """
    if len(hops) == 1:
        return hops[0]
    position = batch[1] % sum(hop.weight for hop in hops)
    for hop in hops:
        position -= hop.weight
        if position < 0:
            return hop
    raise AssertionError("weights are positive, so some hop was reached")
