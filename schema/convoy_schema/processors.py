"""How fast a board's processor runs layers: what boards say, the planner weighs, and a paced emulation keeps to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from convoy_schema.bounds import Range
from convoy_schema.costs import Cost

_Rate = Annotated[float, Range(1, 1e15)]


@dataclass(frozen=True)
class ProcessorRate:
    """Multiply-accumulates and bytes a second, of which the slower decides; each call takes `call_s` more."""

    macs_per_s: _Rate
    bytes_per_s: _Rate
    call_s: Annotated[float, Range(0, 60)] = 0.0

    def seconds(self, cost: Cost, rows: int = 1) -> float:
        """Seconds that a layer of that cost takes over a batch of `rows` samples."""
        moved = cost.buffer_bytes + cost.parameter_bytes
        return self.call_s + rows * max(cost.macs / self.macs_per_s, moved / self.bytes_per_s)
